"""Statements of Lua: assignments, branches, loops, calls, protected calls."""

from __future__ import annotations

from collections.abc import Callable

from services.trainer.corpus.builtin.lua_code import (
    CONDITIONAL,
    FUNCTION_KIND,
    KINDS,
    LIST_KIND,
    LOOP,
    NUMBER_KIND,
    OBJECT_KIND,
    RETURN,
    TEXT_KIND,
    Coder,
)

DEEPEST = 3  # blocks inside blocks of one function


def local(coder: Coder) -> None:
    """`local x = ..`, now and then two at once."""
    kind = coder.dice.pick((*KINDS, FUNCTION_KIND))
    name = coder.new_name(kind)
    coder.start(f"local {name}")
    second = ""
    if kind == NUMBER_KIND and coder.dice.chance(0.15):
        second = coder.name(coder.thing(), coder.field())
        coder.write(f", {second}")
    coder.equals()
    coder.expression(kind)
    if second:
        coder.write(", ")
        coder.expression(NUMBER_KIND)
        coder.declare(second, NUMBER_KIND)
    coder.end()
    coder.declare(name, kind)


def assign(coder: Coder) -> None:
    """A variable gets another value; `x = x + 1` most of all."""
    kind = coder.dice.pick(KINDS[:4])
    name = coder.variable(kind, assigned=True)
    if name is None:
        local(coder)
        return
    coder.start(name)
    coder.equals()
    if kind == NUMBER_KIND and coder.dice.chance(0.5):
        coder.write(f"{name}{coder.dice.pick((' + ', ' - ', ' * '))}")
        coder.expression(kind, 1)
    elif kind == TEXT_KIND and coder.dice.chance(0.5):
        coder.write(f"{name} .. ")
        coder.expression(kind, 1)
    else:
        coder.expression(kind)
    coder.end()


def assign_field(coder: Coder) -> None:
    """`object.field = ..` or `list[i] = ..`."""
    items = coder.variable(LIST_KIND)
    if items and coder.dice.chance(0.35):
        index = coder.variable(NUMBER_KIND) or f"#{items} + 1"
        coder.start(f"{items}[{index}]")
    else:
        coder.start(coder.member())
    coder.equals()
    coder.expression(coder.dice.pick((*KINDS, FUNCTION_KIND)))
    coder.end()


def swap(coder: Coder) -> None:
    """Two variables change places."""
    first = coder.variable(NUMBER_KIND, assigned=True)
    second = coder.variable(NUMBER_KIND, assigned=True)
    if first is None or second is None or first == second:
        assign(coder)
        return
    coder.start(f"{first}, {second}")
    coder.equals()
    coder.end(f"{second}, {first}")


def call(coder: Coder) -> None:
    """A call whose value nobody wants."""
    choice = coder.dice.number(0, 3)
    items = coder.variable(LIST_KIND)
    coder.start()
    if choice == 0 and items:
        coder.write(f"table.insert({items}, ")
        coder.expression(coder.dice.pick((NUMBER_KIND, TEXT_KIND, OBJECT_KIND)), 1)
        coder.write(")")
    elif choice == 1 and items:
        coder.write(f"table.sort({items}, ")
        coder.function("", ["a", "b"])
        field = coder.name(coder.field())
        coder.write(" ")
        coder.write("return", RETURN)
        coder.write(f" a.{field} {coder.dice.pick('<>')} b.{field} end)")
    elif choice == 2:
        coder.write("print(")
        coder.expression(TEXT_KIND, 1)
        coder.write(")")
    else:
        coder.call(0)
    coder.end()


def complain(coder: Coder) -> None:
    """`error(..)` or `assert(..)`."""
    if coder.dice.chance(0.5):
        coder.start("assert(")
        coder.condition(1)
        coder.write(", ")
        coder.literal()
    else:
        coder.start("error(")
        coder.literal(f"{coder.theme.kind}: ")
        coder.write(" .. ")
        coder.expression(TEXT_KIND, 1)
    coder.end(")")


def give_back(coder: Coder) -> None:
    """`return ..`; always the last statement of its block."""
    coder.start("return", RETURN)
    choice = coder.dice.number(0, 6)
    if choice == 0:
        coder.write(coder.dice.pick((" true", " false", " nil", "")))
    elif choice == 1:
        coder.write(" nil, ")
        coder.expression(TEXT_KIND, 1)
    else:
        coder.write(" ")
        coder.expression(coder.dice.pick(KINDS), 1)
    coder.end()


def branch(coder: Coder) -> None:
    """`if .. elseif .. else .. end`."""
    coder.start()
    for number in range(coder.dice.pick((1, 1, 1, 1, 2, 3))):
        if number:
            coder.start()
        coder.write("elseif" if number else "if", CONDITIONAL)
        coder.write(" ")
        coder.condition()
        coder.write(" then\n")
        inner(coder)
    if coder.dice.chance(0.3):
        coder.start("else", CONDITIONAL)
        coder.write("\n")
        inner(coder)
    coder.line("end")


def count(coder: Coder) -> None:
    """`for i = 1, n do`."""
    name = coder.counter()
    coder.fixed.add(name)
    coder.start("for", LOOP)
    coder.write(f" {name} = {coder.dice.number(0, 1)}, ")
    coder.expression(NUMBER_KIND, 1)
    coder.write(coder.dice.pick(("", "", "", ", 2")) + " do\n")
    inner(coder, (name, NUMBER_KIND))
    coder.line("end")


def each(coder: Coder) -> None:
    """`for _, item in ipairs(items) do` and its sister with pairs."""
    items = coder.variable(LIST_KIND)
    element = coder.name(coder.thing())
    coder.start("for", LOOP)
    if items and coder.dice.chance(0.6):
        index = coder.dice.pick(("_", "_", "i"))
        coder.fixed.add(element)
        coder.write(f" {index}, {element} in ipairs({items}) do\n")
        inner(coder, (element, OBJECT_KIND))
    else:
        source = coder.variable(OBJECT_KIND) or f"{coder.theme.kind}.{coder.things()}"
        key = coder.dice.pick(("key", "k", "name"))
        coder.fixed.update((key, element))
        coder.write(f" {key}, {element} in pairs({source}) do\n")
        inner(coder, (key, TEXT_KIND), (element, OBJECT_KIND))
    coder.line("end")


def loop(coder: Coder) -> None:
    """`while` or `repeat .. until`."""
    if coder.dice.chance(0.6):
        coder.start("while", LOOP)
        coder.write(" ")
        coder.condition()
        coder.write(" do\n")
        inner(coder)
        coder.line("end")
        return
    coder.start("repeat", LOOP)
    coder.write("\n")
    inner(coder, may_leave=False)
    coder.start("until", LOOP)
    coder.write(" ")
    coder.condition()
    coder.end()


def protect(coder: Coder) -> None:
    """`local ok, err = pcall(..)` and what happens when it is not ok."""
    ok, problem = coder.dice.pick((("ok", "err"), ("success", "message"), ("status", "result")))
    coder.start(f"local {ok}, {problem}")
    coder.equals()
    function = coder.variable(FUNCTION_KIND)
    if function and coder.dice.chance(0.5):
        coder.write(f"pcall({function}, ")
        coder.expression(coder.dice.pick(KINDS[:3]), 1)
        coder.end(")")
    else:
        coder.write("pcall(")
        coder.function("", [])
        coder.write("\n")
        inner(coder)
        coder.line("end)")
    coder.start("if", CONDITIONAL)
    coder.write(f" not {ok} then\n")
    with coder.block((problem, TEXT_KIND)):
        coder.start(coder.dice.pick(("print(", "error(", "io.stderr:write(")))
        coder.literal()
        coder.end(f" .. tostring({problem}))")
        if coder.dice.chance(0.5):
            coder.start("return", RETURN)
            coder.end(f" nil, {problem}")
    coder.line("end")


SIMPLE: tuple[Callable[[Coder], None], ...] = (
    *(local,) * 5,
    *(assign,) * 5,
    *(assign_field,) * 4,
    *(call,) * 3,
    swap,
)
NESTED: tuple[Callable[[Coder], None], ...] = (
    *(branch,) * 5,
    *(each,) * 3,
    *(count,) * 2,
    loop,
    protect,
    complain,
)


def statement(coder: Coder) -> None:
    """Any statement that may stand anywhere in a block."""
    if coder.dice.chance(0.06):
        coder.comment()
    nested = coder.depth < DEEPEST and coder.dice.chance(0.4 / (1 + coder.depth))
    coder.depth += 1
    coder.dice.pick(NESTED if nested else SIMPLE)(coder)
    coder.depth -= 1


def inner(coder: Coder, *variables: tuple[str, str], may_leave: bool = True) -> None:
    """The statements of a block inside a function; `may_leave` allows a return at its end."""
    with coder.block(*variables):
        for _ in range(coder.dice.number(1, 3 - min(2, coder.depth // 2))):
            statement(coder)
        if may_leave and coder.dice.chance(0.2):
            give_back(coder)


def body(coder: Coder, *variables: tuple[str, str]) -> None:
    """The statements of a function."""
    depth, coder.depth = coder.depth, 0
    with coder.block(*variables):
        for _ in range(coder.dice.number(1, 5)):
            statement(coder)
        if coder.dice.chance(0.6):
            give_back(coder)
    coder.depth = depth
