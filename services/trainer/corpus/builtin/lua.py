"""Lua programs: classes, modules of functions, scripts, games, data files and tests.

Labels: `assignment` (the `=` of an assignment statement), `table-field` (the `=` of a field in a
table), `function-definition` (the keyword), `comment`, `string`, `loop` (for, while, repeat,
until), `conditional` (if, elseif, else), `return`. The `=` of a numeric `for` has no label. Labels
that Python source has too carry the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from services.trainer.corpus.builtin.grammar import Dice, Document
from services.trainer.corpus.builtin.lua_blocks import body, statement
from services.trainer.corpus.builtin.lua_code import (
    FIELD,
    FUNCTION_KIND,
    KINDS,
    LIST_KIND,
    NUMBER_KIND,
    OBJECT_KIND,
    RETURN,
    TEXT_KIND,
    Coder,
)

ARGUMENTS = (  # what a function takes: a word for the name's source, and what it holds
    ("field", NUMBER_KIND),
    ("thing", OBJECT_KIND),
    ("list", LIST_KIND),
    ("label", TEXT_KIND),
    ("callback", FUNCTION_KIND),
)


def _arguments(coder: Coder) -> list[tuple[str, str]]:
    arguments: dict[str, str] = {}
    for _ in range(coder.dice.number(0, 3)):
        source, kind = coder.dice.pick(ARGUMENTS)
        if source == "field":
            name = coder.name(coder.field())
        elif source == "thing":
            name = coder.name(coder.thing())
        elif source == "list":
            name = coder.things()
        else:
            name = source
        arguments[name] = kind
    return list(arguments.items())


def _head(coder: Coder) -> None:
    """A comment on top and what is required."""
    if coder.dice.chance(0.5):
        for _ in range(coder.dice.number(1, 3)):
            coder.comment()
        coder.write("\n")
    for _ in range(coder.dice.pick((0, 1, 1, 2, 3))):
        library = coder.library()
        name = library.rpartition(".")[2]
        coder.start(f"local {name}")
        coder.equals()
        opening, closing = coder.dice.pick((("(", ")"), (" ", "")))
        coder.write(f"require{opening}")
        coder.literal(library)
        coder.end(closing)
        coder.declare(name, OBJECT_KIND)
    coder.write("\n")


def _constants(coder: Coder) -> None:
    for _ in range(coder.dice.number(0, 3)):
        name = f"{coder.field()}_{coder.dice.pick(('max', 'limit', 'default'))}".upper()
        kind = coder.dice.pick((NUMBER_KIND, NUMBER_KIND, TEXT_KIND))
        coder.start(f"local {name}")
        coder.equals()
        if kind == NUMBER_KIND:
            coder.write(str(coder.dice.number(1, 500)))
        else:
            coder.literal()
        coder.end()
        coder.declare(name, kind)
        coder.fixed.add(name)
    coder.write("\n")


def _local_function(coder: Coder) -> None:
    name = coder.new_name(FUNCTION_KIND)
    arguments = _arguments(coder)
    if coder.dice.chance(0.4):
        coder.comment()
    coder.start()
    if coder.dice.chance(0.8):
        coder.write("local ")
        coder.function(name, [argument for argument, _ in arguments])
    else:
        coder.write(f"local {name}")
        coder.equals()
        coder.function("", [argument for argument, _ in arguments])
    coder.write("\n")
    body(coder, *arguments)
    coder.line("end")
    coder.write("\n")
    coder.declare(name, FUNCTION_KIND)


def _method(coder: Coder, owner: str, act: str, dot: str = ":") -> None:
    arguments = _arguments(coder)
    if coder.dice.chance(0.35):
        coder.comment()
    coder.start()
    coder.function(f"{owner}{dot}{act}", [argument for argument, _ in arguments])
    coder.write("\n")
    own = [("self", OBJECT_KIND)] if dot == ":" else []
    body(coder, *own, *arguments)
    coder.line("end")
    coder.write("\n")
    coder.declare(f"{owner}.{act}", FUNCTION_KIND)


def _constructor(coder: Coder, owner: str) -> None:
    names = coder.dice.some(coder.theme.fields, coder.dice.number(1, 4))
    arguments = [coder.name(name) for name in names]
    coder.start()
    coder.function(f"{owner}.new", arguments)
    coder.write("\n")
    with coder.block(*((name, NUMBER_KIND) for name in arguments)):
        coder.start("local self")
        coder.equals()
        coder.end(f"setmetatable({{}}, {owner})")
        for name in arguments:
            coder.start(f"self.{name}")
            coder.equals()
            coder.end(name + coder.dice.pick(("", f" or {coder.dice.number(0, 100)}")))
        coder.start(f"self.{coder.things()}")
        coder.equals()
        coder.end("{}")
        coder.start("return", RETURN)
        coder.end(" self")
    coder.line("end")
    coder.write("\n")
    coder.declare(f"{owner}.new", FUNCTION_KIND)


def _metamethod(coder: Coder, owner: str) -> None:
    coder.start()
    if coder.dice.chance(0.5):
        coder.function(f"{owner}.__{coder.dice.pick(('add', 'sub', 'eq', 'lt', 'concat'))}", "ab")
        own = (("a", OBJECT_KIND), ("b", OBJECT_KIND))
    else:
        coder.function(f"{owner}:__{coder.dice.pick(('tostring', 'len', 'call'))}", [])
        own = (("self", OBJECT_KIND), ("self", OBJECT_KIND))
    coder.write("\n")
    with coder.block(*own):
        coder.start("return", RETURN)
        coder.write(" ")
        coder.expression(coder.dice.pick((NUMBER_KIND, TEXT_KIND)))
        coder.end()
    coder.line("end")
    coder.write("\n")


def _class(coder: Coder) -> None:
    owner = coder.theme.kind.capitalize()
    _head(coder)
    coder.start(f"local {owner}")
    coder.equals()
    coder.end("{}")
    coder.start(f"{owner}.__index")
    coder.equals()
    coder.end(owner)
    _constants(coder)
    _constructor(coder, owner)
    for act in coder.dice.some(coder.theme.acts, coder.dice.number(2, 6)):
        _method(coder, owner, coder.name(act))
    if coder.dice.chance(0.5):
        _metamethod(coder, owner)
    coder.start("return", RETURN)
    coder.end(f" {owner}")


def _module(coder: Coder) -> None:
    owner = coder.dice.pick(("M", "M", "_M", coder.theme.kind))
    _head(coder)
    coder.start(f"local {owner}")
    coder.equals()
    coder.end("{}")
    _constants(coder)
    for _ in range(coder.dice.number(0, 2)):
        _local_function(coder)
    for act in coder.dice.some(coder.theme.acts, coder.dice.number(2, 5)):
        _method(coder, owner, coder.name(act, coder.thing()), ".")
    coder.start("return", RETURN)
    coder.end(f" {owner}")


def _script(coder: Coder) -> None:
    _head(coder)
    _constants(coder)
    for _ in range(coder.dice.number(1, 4)):
        _local_function(coder)
    for _ in range(coder.dice.number(3, 10)):
        statement(coder)


def _game(coder: Coder) -> None:
    owner = coder.dice.pick(("love", "app", "game", "scene"))
    _constants(coder)
    for _ in range(coder.dice.number(2, 4)):
        statement(coder)
    coder.write("\n")
    for event, arguments in (
        ("load", ()),
        ("update", (("dt", NUMBER_KIND),)),
        ("draw", ()),
        ("keypressed", (("key", TEXT_KIND),)),
    ):
        coder.start()
        coder.function(f"{owner}.{event}", [name for name, _ in arguments])
        coder.write("\n")
        body(coder, *arguments)
        coder.line("end")
        coder.write("\n")


def _rows(coder: Coder, depth: int) -> None:
    """Fields of a data file, nested."""
    for name in coder.dice.some(coder.theme.fields + coder.theme.things, coder.dice.number(2, 6)):
        coder.start(coder.name(name))
        coder.equals(FIELD)
        if depth < 2 and coder.dice.chance(0.35):
            coder.write("{\n")
            with coder.block():
                _rows(coder, depth + 1)
            coder.start("}")
        else:
            coder.expression(coder.dice.pick(KINDS[:4]), 2)
        coder.end(",")


def _data(coder: Coder) -> None:
    for _ in range(coder.dice.number(0, 2)):
        coder.comment()
    name = coder.dice.pick(("", coder.theme.kind))
    coder.start()
    if name:
        coder.write(f"local {name}")
        coder.equals()
    else:
        coder.write("return", RETURN)
        coder.write(" ")
    coder.write("{\n")
    with coder.block():
        _rows(coder, 0)
    coder.line("}")
    if name:
        coder.write("\n")
        coder.start("return", RETURN)
        coder.end(f" {name}")


def _test(coder: Coder) -> None:
    _head(coder)
    for _ in range(coder.dice.number(2, 4)):
        coder.start("describe(")
        coder.literal(f"{coder.theme.kind} {coder.act()}")
        coder.write(", ")
        coder.function("", [])
        coder.write("\n")
        body(coder)
        coder.line("end)")
        coder.write("\n")


SHAPES: tuple[Callable[[Coder], None], ...] = (
    *(_class,) * 4,
    *(_module,) * 4,
    *(_script,) * 3,
    _game,
    _data,
    _test,
)


def documents(seed: int) -> Iterator[Document]:
    """Programs without end; number n depends on nothing but the seed and n."""
    number = 0
    while True:
        dice = Dice(f"lua/{seed}/{number}")
        coder = Coder(dice)
        dice.pick(SHAPES)(coder)
        yield coder.document()
        number += 1
