"""The source files of the running interpreter's library, cut into documents, with labels.

Labels, by the interpreter's own tokenizer: `assignment` (the `=` of an assignment statement),
`keyword-argument` (the `=` in a call, of a default or of a class keyword), `function-definition`
(def), `comment`, `string` (whole literals), and the keywords that begin a statement: `loop` (for,
while and their else), `conditional` (if, elif, else), `exception` (try, except, finally, raise and
the else of a try), `return`, `import` (import and the from that belongs to it). The `for` and `if`
of comprehensions and of conditional expressions have no label. A file that cannot be tokenised is
kept without labels.
"""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from services.trainer.corpus.builtin.grammar import Dice, Document, Span
from shared.resolve.standard_library import python_stdlib_files

PIECE = 8_000  # characters of a document, after which it ends at the next top-level blank line
LONGEST = 32_000  # characters after which it ends at the next line, whatever that is

STATEMENT_KEYWORDS = {
    "for": "loop",
    "while": "loop",
    "if": "conditional",
    "elif": "conditional",
    "try": "exception",
    "except": "exception",
    "finally": "exception",
    "raise": "exception",
    "return": "return",
    "import": "import",
    "from": "import",
}
ELSE_AFTER = {"loop", "conditional", "exception"}
OPENING, CLOSING = frozenset("([{"), frozenset(")]}")
LAYOUT = frozenset(
    (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING)
)
# Python 3.12 gave formatted strings tokens of their own; before, they are STRING.
FORMATTED_START = frozenset(
    getattr(tokenize, name)
    for name in ("FSTRING_START", "TSTRING_START")
    if hasattr(tokenize, name)
)
FORMATTED_END = frozenset(
    getattr(tokenize, name) for name in ("FSTRING_END", "TSTRING_END") if hasattr(tokenize, name)
)


class _Labeller:
    """Reads the tokens of one file in order and collects spans and places to cut."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.starts = list(accumulate(map(len, lines), initial=0))
        self.lines = lines
        self.spans: list[Span] = []
        self.cuts: list[int] = []  # offsets of top-level statements that follow a blank line
        self.depth = 0  # of brackets
        self.lambdas: list[int] = []  # bracket depths at which the arguments of a lambda stand
        self.formatted: list[int] = []  # offsets at which formatted strings began
        self.fresh = True  # the next token begins a statement
        self.importing = False  # inside `from .. import`
        self.heads: dict[int, str] = {}  # column -> label of the latest statement that began there

    def offset(self, place: tuple[int, int]) -> int:
        return self.starts[place[0] - 1] + place[1]

    def label(self, token: tokenize.TokenInfo, label: str) -> None:
        self.spans.append(Span(self.offset(token.start), self.offset(token.end), label))

    def read(self, token: tokenize.TokenInfo) -> None:
        if token.type in FORMATTED_START:
            self.formatted.append(self.offset(token.start))
        elif token.type in FORMATTED_END:
            self.spans.append(Span(self.formatted.pop(), self.offset(token.end), "string"))
        elif self.formatted:
            pass  # what stands inside is part of the string
        elif token.type in LAYOUT:
            self.fresh = self.fresh or token.type != tokenize.NL
            self.importing = self.importing and token.type != tokenize.NEWLINE
            return
        elif token.type == tokenize.COMMENT:
            self._cut(token)
            self.label(token, "comment")
            return
        elif token.type == tokenize.STRING:
            self.label(token, "string")
        elif token.type == tokenize.NAME:
            self._cut(token)
            self._name(token)
        elif token.type == tokenize.OP:
            self._cut(token)
            self._operator(token)
            return
        self.fresh = False

    def _cut(self, token: tokenize.TokenInfo) -> None:
        row, column = token.start
        if column == 0 and self.depth == 0 and row > 1 and not self.lines[row - 2].strip():
            self.cuts.append(self.starts[row - 1])

    def _name(self, token: tokenize.TokenInfo) -> None:
        word = token.string
        if word == "def":
            self.label(token, "function-definition")
        elif word == "lambda":
            self.lambdas.append(self.depth)
        elif word == "import" and self.importing:
            self.label(token, "import")
        if word == "async":  # `async for`: the statement is still to come
            return
        if not self.fresh and not (word in ("for", "with", "def") and self._after_async(token)):
            return
        label = STATEMENT_KEYWORDS.get(word)
        column = len(token.line) - len(token.line.lstrip())
        if word == "else" and self.depth == 0:
            label = self.heads.get(column)
            label = label if label in ELSE_AFTER else None
        if label:
            self.label(token, label)
        self.importing = word == "from"
        if token.line[: token.start[1]].strip() in ("", "async"):
            self.heads[column] = label or ""

    @staticmethod
    def _after_async(token: tokenize.TokenInfo) -> bool:
        return token.line[: token.start[1]].strip() == "async"

    def _operator(self, token: tokenize.TokenInfo) -> None:
        sign = token.string
        in_lambda = bool(self.lambdas) and self.lambdas[-1] == self.depth
        self.fresh = self.depth == 0 and (sign == ";" or (sign == ":" and not in_lambda))
        if sign in OPENING:
            self.depth += 1
        elif sign in CLOSING:
            self.depth = max(0, self.depth - 1)
        elif sign == ":" and in_lambda:
            self.lambdas.pop()
        elif sign == "=":
            inside = self.depth > 0 or in_lambda
            self.label(token, "keyword-argument" if inside else "assignment")


def label_python(text: str) -> tuple[list[Span], list[int]] | None:
    """Labelled spans of a Python source and the offsets at which it may be cut.

    Offsets count characters; spans come in the order of the source. None when the text is not
    Python that can be tokenised.
    """
    # Not splitlines: the tokenizer ends lines at "\n" only.
    lines = io.StringIO(text, newline="\n").readlines()
    labeller = _Labeller(lines)
    try:
        for token in tokenize.generate_tokens(iter([*lines, ""]).__next__):
            labeller.read(token)
    except (tokenize.TokenError, SyntaxError, StopIteration):
        return None
    return sorted(labeller.spans), labeller.cuts


def _ends(text: str, cuts: Sequence[int]) -> Iterator[int]:
    """Where documents end: at a cut once PIECE is reached, at a line once LONGEST is."""
    start = 0
    for place in [*cuts, len(text)]:
        while place - start > LONGEST:
            start = min(place, text.find("\n", start + LONGEST - 1000) + 1 or place)
            yield start
        if place - start >= PIECE or place == len(text) > start:
            yield place
            start = place


def cut_documents(text: str, spans: Sequence[Span], cuts: Sequence[int]) -> Iterator[Document]:
    """The text as documents; a span that crosses a border is divided. Joined they are the text."""
    waiting = list(reversed(spans))
    for start, end in pairwise([0, *_ends(text, cuts)]):
        pieces: list[Span] = []
        while waiting and waiting[-1].start < end:
            span = waiting.pop()
            pieces.append(Span(span.start - start, min(span.end, end) - start, span.label))
            if span.end > end:
                waiting.append(Span(end, span.end, span.label))
                break
        yield Document(text[start:end], tuple(pieces))


def documents(seed: int) -> Iterator[Document]:
    """Every file once, in a seeded order, so that a part of them is a fair sample of all."""
    files = python_stdlib_files()
    for path in Dice(f"python-stdlib/{seed}").some(files, len(files)):
        try:
            with tokenize.open(path) as file:
                text = file.read()
        except (SyntaxError, UnicodeDecodeError):
            continue  # no encoding that can be read
        labelled = label_python(text)
        yield from cut_documents(text, *(labelled or ([], [])))
