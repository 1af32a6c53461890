"""Built-in corpora: labels are exact, text is varied, and it cannot change unnoticed."""

from __future__ import annotations

import re
from itertools import islice

import pytest

from services.trainer.corpus.builtin import baby, documents, generated_digest, stories
from services.trainer.corpus.builtin.grammar import Dice, Document, Grammar, Span
from services.trainer.corpus.builtin.python_stdlib import (
    LONGEST,
    PIECE,
    cut_documents,
    label_python,
)
from shared.resolve.standard_library import python_stdlib_digest, python_stdlib_files
from shared.spec.builtins import BUILTINS

GENERATED = [name for name, declared in BUILTINS.items() if declared.generated]


def labelled(text: str, spans: list[Span] | tuple[Span, ...], label: str) -> list[str]:
    """The pieces of the text with that label."""
    return [text[span.start : span.end] for span in spans if span.label == label]


def sample(name: str, count: int, seed: int = 0) -> list[Document]:
    return list(islice(documents(name, seed), count))


@pytest.mark.parametrize("name", GENERATED)
def test_the_generated_text_is_the_one_whose_digest_is_declared(name: str) -> None:
    assert generated_digest(name) == BUILTINS[name].digest


@pytest.mark.parametrize("name", GENERATED)
def test_two_thousand_documents_are_all_different_and_so_are_other_seeds(name: str) -> None:
    texts = [document.text for document in sample(name, 1500) + sample(name, 500, seed=1)]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("name", GENERATED)
def test_few_runs_of_twelve_words_of_one_part_occur_in_another(name: str) -> None:
    def runs(found: list[Document]) -> set[tuple[str, ...]]:
        words = [re.findall(r"\w+|[^\w\s]", document.text) for document in found]
        return {tuple(text[i : i + 12]) for text in words for i in range(len(text) - 11)}

    seen = runs(sample(name, 500))
    fresh = runs(sample(name, 100, seed=1))
    assert len(seen) > 10_000
    assert len(fresh & seen) < 0.02 * len(fresh)


@pytest.mark.parametrize("name", [*GENERATED, "python-stdlib"])
def test_every_span_lies_inside_its_document_and_covers_something(name: str) -> None:
    for document in sample(name, 60):
        for span in document.spans:
            assert 0 <= span.start < span.end <= len(document.text)


def test_a_seed_gives_the_same_documents_however_many_are_taken() -> None:
    assert sample("lua", 5) == sample("lua", 20)[:5]


# ------------------------------------------------------------------------------- English


def test_grammars_name_only_rules_words_forms_and_slots_that_exist() -> None:
    stories.GRAMMAR.check(stories.SLOTS)
    baby.GRAMMAR.check(baby.SLOTS)
    with pytest.raises(ValueError, match="rule a: nothing fits"):
        Grammar({"a": "{b.past}"}, {"b": [{"": "go"}]}, {}).check()
    with pytest.raises(ValueError, match="not a template"):
        Grammar({"a": "{b"}, {}, {})


def test_a_template_knows_slots_articles_capitals_forms_and_labels() -> None:
    grammar = Grammar(
        {"all": "{^a thing=one} {act.past}. {^@one.plural}! {part}", "part": "so {thing}"},
        {
            "thing": [{"": "owl", "plural": "owls"}, {"": "cat", "plural": "cats"}],
            "act": [{"past": "ran"}],
        },
        {".past": "verb", "part": "part", "thing": "thing"},
    )
    telling = grammar.telling(Dice("a test"))
    telling.tell("all")
    document = telling.writer.document()
    one, other = ("owl", "cat") if "owls" in document.text.lower() else ("cat", "owl")
    del other
    article = "An" if one == "owl" else "A"
    assert document.text.startswith(f"{article} {one} ran. {one.capitalize()}s! so ")
    assert labelled(document.text, document.spans, "verb") == ["ran"]
    assert labelled(document.text, document.spans, "thing")[0] == one
    assert labelled(document.text, document.spans, "part")[0].startswith("so ")


def test_stories_label_quotations_names_and_keep_their_hero() -> None:
    for document in sample("stories", 50):
        quotes = labelled(document.text, document.spans, "dialogue")
        assert all(quote[0] == quote[-1] == '"' for quote in quotes)
        assert sum(quote.count('"') for quote in quotes) == document.text.count('"')
        names = labelled(document.text, document.spans, "name")
        assert all(name[0].isupper() for name in names)
        assert max(names.count(name) for name in names) >= 2


def test_conversations_label_speakers_and_questions() -> None:
    kinds = set()
    for document in sample("baby", 100):
        questions = labelled(document.text, document.spans, "question")
        assert all(question.endswith("?") for question in questions)
        speakers = labelled(document.text, document.spans, "speaker")
        tags = re.findall(r"^\*?[A-Z]{3}:", document.text, flags=re.M)
        assert speakers == tags
        kinds.add((bool(speakers), document.text.startswith(("*", "@"))))
    assert kinds == {(False, False), (True, False), (True, True)}


def test_articles_agree_with_the_word_that_follows() -> None:
    text = " ".join(document.text for document in sample("stories", 200))
    assert not re.findall(r"\ba [aeio]\w+|\ban [^aeiou\W]\w+", text)


# ----------------------------------------------------------------------------------- Lua

LUA_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*)
      | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      | (?P<name>[A-Za-z_]\w*)
      | (?P<number>\d+(?:\.\d+)?)
      | (?P<sign>==|~=|<=|>=|\.\.|[-+*/%\#<>=(){}\[\];:,.])
      | (?P<blank>\s+)""",
    re.X,
)


def lua_tokens(text: str) -> list[tuple[str, str, int]]:
    """(kind, text, offset) of every token; fails where Lua could not read on."""
    found, place = [], 0
    while place < len(text):
        token = LUA_TOKEN.match(text, place)
        assert token is not None, text[place : place + 40]
        if token.lastgroup != "blank":
            assert token.lastgroup is not None
            found.append((token.lastgroup, token.group(), place))
        place = token.end()
    return found


def test_lua_blocks_and_brackets_are_balanced() -> None:
    pairs = {")": "(", "]": "[", "}": "{", "end": "block", "until": "repeat"}
    for document in sample("lua", 200):
        open_: list[str] = []
        for kind, text, _ in lua_tokens(document.text):
            if kind not in ("name", "sign"):
                continue
            if text in ("function", "if", "for", "while"):  # their `do` and `then` are inside
                open_.append("block")
            elif text in ("repeat", "(", "[", "{"):
                open_.append(text)
            elif text in pairs:
                assert open_.pop() == pairs[text]
        assert not open_


def test_lua_can_be_loaded_by_lua() -> None:
    lupa = pytest.importorskip("lupa")
    load = lupa.LuaRuntime().eval("function(s) local f, e = load(s); return f ~= nil, e end")
    for document in sample("lua", 500):
        fine, problem = load(document.text)
        assert fine, problem


def test_lua_labels_are_exactly_the_tokens_that_a_lexer_finds() -> None:
    keywords = {
        "function": "function-definition",
        "return": "return",
        **dict.fromkeys(("for", "while", "repeat", "until"), "loop"),
        **dict.fromkeys(("if", "elseif", "else"), "conditional"),
    }
    for document in sample("lua", 200):
        want: list[Span] = []
        braces = 0
        counting = False  # between `for` and `do`
        for kind, text, start in lua_tokens(document.text):
            label = keywords.get(text) if kind == "name" else None
            if kind in ("comment", "string"):
                label = kind
            if text in ("for", "do") and kind == "name":
                counting = text == "for"
            if kind == "sign":
                braces += (text == "{") - (text == "}")
                if text == "=" and not counting:
                    label = "table-field" if braces else "assignment"
            if label:
                want.append(Span(start, start + len(text), label))
        assert sorted(document.spans) == want


# -------------------------------------------------------------------------------- Python


def python(text: str, label: str) -> list[tuple[int, str]]:
    """(offset, piece) of what has that label."""
    found = label_python(text)
    assert found is not None
    return [(span.start, text[span.start : span.end]) for span in found[0] if span.label == label]


def test_only_the_first_equals_sign_of_an_assignment_from_a_call_is_an_assignment() -> None:
    text = "x = f(a=1)\n"
    assert python(text, "assignment") == [(2, "=")]
    assert python(text, "keyword-argument") == [(7, "=")]


def test_comparisons_and_augmented_assignments_are_no_assignments() -> None:
    text = "if x == 1 or x != 2 or x <= 3:\n    x += 1\n    (y := 2)\n"
    assert python(text, "assignment") == []
    assert python(text, "keyword-argument") == []


def test_chained_and_annotated_assignments_count_every_equals_sign() -> None:
    assert len(python("a = b = 1\nc: dict[str, int] = {}\n", "assignment")) == 3


def test_defaults_of_functions_lambdas_and_class_keywords_are_keyword_arguments() -> None:
    text = (
        "def f(a=1, *, b: int = 2): pass\ng = lambda x=1, y=(2): x\nclass C(metaclass=M): z = 1\n"
    )
    assert [place for place, _ in python(text, "assignment")] == [
        text.index("= lambda"),
        text.index("= 1\n"),
    ]
    assert len(python(text, "keyword-argument")) == 5


def test_what_stands_in_strings_and_comments_has_no_other_label() -> None:
    text = (
        's = \'x = 1\'  # y = 2 if z else return\nt = f\'{s!r:>{w}} = {f(a=1)}\' """for\nx = 1"""\n'
    )
    assert len(python(text, "assignment")) == 2
    assert python(text, "keyword-argument") == []
    assert [piece for _, piece in python(text, "string")] == [
        "'x = 1'",
        "f'{s!r:>{w}} = {f(a=1)}'",
        '"""for\nx = 1"""',
    ]
    assert python(text, "comment") == [(13, "# y = 2 if z else return")]
    assert python(text, "loop") == python(text, "conditional") == python(text, "return") == []


def test_else_belongs_to_the_statement_that_it_continues() -> None:
    text = (
        "for x in y:\n    if x: break\n    else: pass\nelse:\n    z = [a for a in b if a]\n"
        "try: pass\nexcept E: raise\nelse: pass\nfinally: pass\nwhile 1 if x else 2: return\n"
    )
    assert [piece for _, piece in python(text, "loop")] == ["for", "else", "while"]
    assert [piece for _, piece in python(text, "conditional")] == ["if", "else"]
    assert [piece for _, piece in python(text, "exception")] == [
        "try",
        "except",
        "raise",
        "else",
        "finally",
    ]
    assert [piece for _, piece in python(text, "return")] == ["return"]


def test_imports_and_generators_do_not_share_their_from() -> None:
    text = (
        "import a.b as c\nfrom d import (e,\n    f)\nasync def g():\n    yield from h\n"
        "    raise X from y\n    async for i in j: pass\n"
    )
    assert [piece for _, piece in python(text, "import")] == ["import", "from", "import"]
    assert [piece for _, piece in python(text, "function-definition")] == ["def"]
    assert [piece for _, piece in python(text, "loop")] == ["for"]


def test_offsets_count_characters_also_after_other_alphabets_and_form_feeds() -> None:
    text = "é = 'ü\x0c'\n\x0c\nλ = 2\r\nx = 3\n"
    assert [place for place, _ in python(text, "assignment")] == [
        match.start() for match in re.finditer("=", text)
    ]


@pytest.mark.parametrize("text", ["x = (\n", "'''\n", "if x:\n  y\n z\n"])
def test_text_that_is_not_python_has_no_labels(text: str) -> None:
    assert label_python(text) is None


def test_cut_documents_join_to_the_file_and_keep_every_label() -> None:
    for path in python_stdlib_files()[::40]:
        text = path.read_text(encoding="utf-8", errors="replace")
        found = label_python(text)
        assert found is not None
        pieces = list(cut_documents(text, *found))
        assert "".join(piece.text for piece in pieces) == text
        assert all(len(piece.text) <= LONGEST + 1000 for piece in pieces)
        whole = [text[span.start : span.end] for span in found[0] if span.label != "string"]
        parts = [
            piece.text[span.start : span.end]
            for piece in pieces
            for span in piece.spans
            if span.label != "string"
        ]
        assert parts == whole


def test_a_long_file_is_cut_before_top_level_statements() -> None:
    block = "def f():\n    a = '''\n\nx = 1\n\n'''\n\n    return a\n\n\n"
    text = block * (4 * PIECE // len(block))
    found = label_python(text)
    assert found is not None
    pieces = list(cut_documents(text, *found))
    assert len(pieces) >= 3
    assert all(piece.text.startswith("def f()") for piece in pieces)


def test_a_span_across_a_forced_cut_is_divided() -> None:
    text = "x = '''" + "line\n" * 10_000 + "'''\n"
    found = label_python(text)
    assert found is not None
    pieces = list(cut_documents(text, *found))
    assert len(pieces) > 1
    strings = [piece.text[s.start : s.end] for piece in pieces for s in piece.spans[-1:]]
    assert "".join(strings) == text[4:-1]


def test_the_library_is_the_interpreters_own_without_tests_and_packages() -> None:
    names = {path.name for path in python_stdlib_files()}
    assert {"argparse.py", "ast.py", "tokenize.py"} <= names
    assert not any("site-packages" in path.parts for path in python_stdlib_files())
    assert python_stdlib_digest() == python_stdlib_digest()
