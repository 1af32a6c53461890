"""Statements and expressions of Lua with labels, over the variables that are in scope.

A `Coder` writes one program: it keeps the programmer's habits (indentation, quotes, names), the
variables that can be seen with what they hold, and never leaves a block open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from services.trainer.corpus.builtin.grammar import Dice, Document, Writer
from services.trainer.corpus.builtin.lua_words import (
    COMMENTS,
    COUNTERS,
    LIBRARIES,
    MATHS,
    RESULTS,
    TEXTS,
    THEMES,
    names,
)

ASSIGNMENT, FIELD, FUNCTION = "assignment", "table-field", "function-definition"
COMMENT, STRING, LOOP = "comment", "string", "loop"
CONDITIONAL, RETURN = "conditional", "return"
NUMBER_KIND, TEXT_KIND, LIST_KIND, OBJECT_KIND, FUNCTION_KIND = "nstlf"
KINDS = (NUMBER_KIND, NUMBER_KIND, TEXT_KIND, LIST_KIND, OBJECT_KIND)
RESERVED = names(
    "and break do else elseif end false for function goto if in local nil not or repeat return "
    "then true until while"
)


class Coder:
    """One program while it is written."""

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.writer = Writer()
        self.theme = dice.pick(THEMES)
        self.indent = dice.pick(("  ", "  ", "    ", "\t"))
        self.quote = dice.pick('""\'')
        self.camel = dice.chance(0.4)
        self.level = 0
        self.depth = 0  # nested statements, which bounds the program
        self.scopes: list[list[tuple[str, str]]] = [[]]
        self.fixed: set[str] = set()  # names that nobody assigns to: constants, loop variables
        self.write = self.writer.write

    # -- words

    def name(self, *parts: str) -> str:
        """One identifier in this programmer's style."""
        words = "_".join(parts).split("_")
        if self.camel:
            joined = words[0] + "".join(word.capitalize() for word in words[1:])
        else:
            joined = "_".join(words)
        return joined + "_" if joined in RESERVED else joined

    def thing(self) -> str:
        """A noun of the theme."""
        return self.dice.pick(self.theme.things)

    def things(self) -> str:
        """The name of a list."""
        noun = self.thing()
        if noun.endswith("y") and noun[-2] not in "aeiou":
            return self.name(noun[:-1] + "ies")
        return self.name(noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s"))

    def field(self) -> str:
        """A property of the theme."""
        return self.dice.pick(self.theme.fields)

    def act(self) -> str:
        """A verb of the theme."""
        return self.dice.pick(self.theme.acts)

    def phrase(self, patterns: Sequence[str]) -> str:
        """A comment or a string about the theme."""
        return self.dice.pick(patterns).format(
            thing=self.thing(),
            things=self.things(),
            field=self.field(),
            other=self.field(),
            act=self.act(),
            verb=self.act(),
            kind=self.theme.kind,
        )

    def new_name(self, kind: str) -> str:
        """A name for a variable of that kind; it may hide another one."""
        if kind == FUNCTION_KIND:
            return self.name(self.act(), self.thing())
        if self.dice.chance(0.25):
            return self.dice.pick(RESULTS)
        if kind == LIST_KIND:
            return self.things()
        if kind == OBJECT_KIND:
            return self.name(self.thing())
        if self.dice.chance(0.5):
            return self.name(self.field())
        return self.name(self.thing(), self.field())

    # -- scopes

    @contextmanager
    def block(self, *variables: tuple[str, str]) -> Iterator[None]:
        """A deeper level of indentation in which these variables can be seen too."""
        self.scopes.append(list(variables))
        self.level += 1
        yield
        self.level -= 1
        self.scopes.pop()

    def declare(self, name: str, kind: str) -> None:
        """The variable can be seen from here to the end of the block."""
        self.scopes[-1].append((name, kind))

    def variable(self, kind: str, assigned: bool = False) -> str | None:
        """A variable of that kind in scope, preferably a recent one; None when there is none.

        With `assigned`, only one whose value may change.
        """
        names = [name for scope in self.scopes for name, held in scope if held == kind]
        if assigned:
            names = [name for name in names if name not in self.fixed]
        return self.dice.pick(names[-6:] if self.dice.chance(0.7) else names) if names else None

    # -- layout

    def start(self, text: str = "", *labels: str) -> None:
        """Begin a line."""
        self.write(self.indent * self.level)
        self.write(text, *labels)

    def end(self, text: str = "") -> None:
        """Finish a line, now and then with a remark."""
        self.write(text)
        if self.dice.chance(0.02):
            self.write(" ")
            self.write(f"-- {self.phrase(COMMENTS)}", COMMENT)
        self.write("\n")

    def line(self, text: str) -> None:
        """A whole line without labels."""
        self.start(text)
        self.write("\n")

    def comment(self) -> None:
        """A line that is a comment."""
        self.start(f"{self.dice.pick(('--', '--', '---'))} {self.phrase(COMMENTS)}", COMMENT)
        self.write("\n")

    def equals(self, label: str = ASSIGNMENT) -> None:
        """The equals sign, labelled."""
        self.write(" ")
        self.write("=", label)
        self.write(" ")

    def function(self, head: str, arguments: Sequence[str]) -> None:
        """`function head(arguments)`."""
        self.write("function", FUNCTION)
        self.write(f"{' ' if head else ''}{head}({', '.join(arguments)})")

    # -- expressions

    def expression(self, kind: str, depth: int = 0) -> None:
        """An expression that holds that kind of value."""
        variable = self.variable(kind)
        if variable and self.dice.chance(0.35 + 0.2 * depth):
            self.write(variable)
        elif kind == NUMBER_KIND:
            self.number(depth)
        elif kind == TEXT_KIND:
            self.text(depth)
        elif kind == LIST_KIND:
            self.list(depth)
        elif kind == OBJECT_KIND:
            self.record(depth)
        else:
            self.callback()

    def member(self) -> str:
        """`object.field`; of the module itself when no object is in scope."""
        return f"{self.variable(OBJECT_KIND) or self.theme.kind}.{self.name(self.field())}"

    def literal(self, text: str | None = None) -> None:
        """A string in this programmer's quotes."""
        text = self.phrase(TEXTS) if text is None else text
        inner = text.replace("'", "\\'") if self.quote == "'" else text
        self.write(f"{self.quote}{inner}{self.quote}", STRING)

    def number(self, depth: int) -> None:
        """Arithmetic."""
        choice = self.dice.number(0, 9 if depth < 2 else 3)
        items = self.variable(LIST_KIND)
        if choice <= 1 or (choice == 2 and items is None):
            self.write(
                f"{self.dice.random() * 10:.{self.dice.number(1, 2)}f}"
                if self.dice.chance(0.2)
                else str(self.dice.number(0, 10 ** self.dice.number(1, 3)))
            )
        elif choice == 2:
            self.write(f"#{items}")
        elif choice == 3:
            self.write(self.member())
        elif choice <= 6:
            self.expression(NUMBER_KIND, depth + 1)
            self.write(self.dice.pick((" + ", " - ", " * ", " / ", " % ")))
            self.expression(NUMBER_KIND, depth + 1)
        elif choice == 7:
            self.write("(")
            self.expression(NUMBER_KIND, depth + 1)
            self.write(self.dice.pick((" + ", " - ")))
            self.expression(NUMBER_KIND, depth + 1)
            self.write(") * ")
            self.expression(NUMBER_KIND, depth + 2)
        elif choice == 8:
            self.write(f"math.{self.dice.pick(MATHS)}(")
            self.expression(NUMBER_KIND, depth + 1)
            self.write(")")
        else:
            self.call(depth)

    def text(self, depth: int) -> None:
        """A string expression."""
        choice = self.dice.number(0, 8 if depth < 2 else 2)
        if choice <= 2:
            self.literal()
        elif choice <= 4:
            self.expression(TEXT_KIND, depth + 1)
            self.write(" .. ")
            self.expression(TEXT_KIND, depth + 1)
        elif choice == 5:
            self.write("tostring(")
            self.expression(NUMBER_KIND, depth + 1)
            self.write(")")
        elif choice == 6:
            self.write("string.format(")
            self.literal(self.phrase(TEXTS[2:4]) if self.dice.chance(0.5) else "%s: %d")
            self.write(", ")
            self.expression(TEXT_KIND, depth + 1)
            self.write(")")
        elif choice == 7:
            self.write(
                f"{self.variable(TEXT_KIND) or 'arg[0]'}:{self.dice.pick(('upper', 'lower'))}()"
            )
        else:
            self.write(f"table.concat({self.variable(LIST_KIND) or 'arg'}, ")
            self.literal(self.dice.pick((", ", " ", "\\n", "")))
            self.write(")")

    def list(self, depth: int) -> None:
        """A table with numbered entries, often empty."""
        kind = self.dice.pick((NUMBER_KIND, TEXT_KIND))
        self.write("{")
        for number in range(self.dice.pick((0, 0, 2, 3, 4)) if depth < 2 else 0):
            if number:
                self.write(", ")
            self.expression(kind, depth + 2)
        self.write("}")

    def record(self, depth: int) -> None:
        """A table with named fields, on one line or on several."""
        names = self.dice.some(self.theme.fields, self.dice.number(1, 4) if depth < 2 else 0)
        tall = len(names) > 2 and depth == 0
        self.write("{" if tall or not names else "{ ")
        for number, name in enumerate(names):
            if tall:
                self.write("\n" + self.indent * (self.level + 1))
            elif number:
                self.write(", ")
            self.write(self.name(name))
            self.equals(FIELD)
            self.expression(self.dice.pick(KINDS[:3]), depth + 1)
            self.write("," if tall else "")
        if tall:
            self.write("\n" + self.indent * self.level)
        self.write("}" if tall or not names else " }")

    def call(self, depth: int) -> None:
        """A call of a function or of a method, with a few arguments."""
        function = self.variable(FUNCTION_KIND)
        if function is None or self.dice.chance(0.4):
            function = f"{self.variable(OBJECT_KIND) or self.theme.kind}:{self.name(self.act())}"
        self.write(f"{function}(")
        for number in range(self.dice.number(0, 2)):
            if number:
                self.write(", ")
            self.expression(self.dice.pick(KINDS[:3]), depth + 1)
        self.write(")")

    def callback(self) -> None:
        """A function without a name that returns an expression of its argument."""
        argument = self.thing()
        self.function("", [argument])
        with self.block((argument, OBJECT_KIND)):
            self.write(" ")
            self.write("return", RETURN)
            self.write(f" {argument}.{self.name(self.field())}")
            if self.dice.chance(0.5):
                self.write(self.dice.pick((" + ", " * ", " == ", " > ")))
                self.expression(NUMBER_KIND, 2)
        self.write(" end")

    def condition(self, depth: int = 0) -> None:
        """Something that is true or false."""
        choice = self.dice.number(0, 7 if depth < 1 else 5)
        if choice <= 1:
            self.expression(NUMBER_KIND, 1)
            self.write(self.dice.pick((" == ", " < ", " > ", " <= ", " >= ", " ~= ")))
            self.expression(NUMBER_KIND, 1)
        elif choice == 2:
            self.write(self.variable(TEXT_KIND) or self.member())
            self.write(self.dice.pick((" == ", " ~= ")))
            self.literal()
        elif choice == 3:
            self.write(f"not {self.variable(OBJECT_KIND) or self.member()}")
        elif choice == 4:
            self.write(f"type({self.variable(OBJECT_KIND) or self.member()}) ~= ")
            self.literal(self.dice.pick(("table", "number", "string", "function")))
        elif choice == 5:
            self.write(f"{self.member()}{self.dice.pick(('', ' == nil', ' ~= nil'))}")
        else:
            self.condition(1)
            self.write(self.dice.pick((" and ", " or ")))
            self.condition(1)

    def document(self) -> Document:
        """The program."""
        return self.writer.document()

    def library(self) -> str:
        """Something that can be required."""
        return self.dice.pick(LIBRARIES)

    def counter(self) -> str:
        """The variable of a numeric loop."""
        return self.dice.pick(COUNTERS)


Statement = Callable[[Coder], None]
