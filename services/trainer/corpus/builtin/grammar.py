"""A small engine for text from grammars: weighted templates, word forms, slots, labelled spans.

A rule is a list of alternatives, one a line; "3| ..." gives an alternative three times the chance.
In an alternative, `{..}` stands for something to be expanded:

    {place}         another rule, or a word of the lexicon
    {animal.plural} a form of the word            {^place}  with a capital letter
    {animal=pet}    remembered in the slot `pet`  {a thing} with "a" or "an" before it
    {@pet.plural}   the word in a slot            {a @pet}, {^@pet} likewise

A slot takes a word that no other slot holds, so two characters never share a name; it lasts for the
whole document, which gives it long-range dependencies. Agreement is a matter of forms and rules.
"""

from __future__ import annotations

import random
import re
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, TypeVar

Word = Mapping[str, str]  # form -> text; the form "" is the plain word
T = TypeVar("T")


class Span(NamedTuple):
    """A labelled piece of a document: characters start .. end."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Document:
    """A text and its labelled spans, in the order of their ends."""

    text: str
    spans: tuple[Span, ...] = ()


Generator = Callable[[int], Iterator[Document]]  # seed -> documents without end


class Dice:
    """Random choices through `random()` alone: the only part of `random` that Python promises to
    keep the same in every version."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed).random  # noqa: S311

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return self.random() < probability

    def number(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return low + int(self.random() * (high - low + 1))

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[int(self.random() * len(items))]

    def some(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different items, or all in another order when there are fewer."""
        rest = list(items)
        return [rest.pop(int(self.random() * len(rest))) for _ in range(min(count, len(items)))]


class Writer:
    """Text that grows, with the spans that were labelled while it grew."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._spans: list[Span] = []
        self.length = 0
        self._article = False
        self._capital = False

    def write(self, text: str, *labels: str) -> None:
        """Append text; the labels cover exactly this text."""
        if not text:
            return
        if self._article:
            self._article = False
            self.write("an " if text[0].lower() in "aeiou" else "a ")
        if self._capital:
            self._capital = False
            text = text[0].upper() + text[1:]
        start = self.length
        self._parts.append(text)
        self.length += len(text)
        for label in labels:
            self._spans.append(Span(start, self.length, label))

    @contextmanager
    def span(self, *labels: str) -> Iterator[None]:
        """Everything written inside gets the labels."""
        start = self.length
        yield
        for label in labels:
            self._spans.append(Span(start, self.length, label))

    def begin(self, article: bool, capital: bool) -> None:
        """Ask for "a" or "an" before the next word, and for a capital at the start."""
        self._article = self._article or article
        self._capital = self._capital or capital

    def document(self) -> Document:
        """The document written so far."""
        return Document("".join(self._parts), tuple(self._spans))


class _Item(NamedTuple):
    """One `{..}` of a template."""

    capital: bool
    article: bool
    recall: bool
    name: str
    slot: str
    form: str


_ITEM = re.compile(r"\{(\^?)(a )?(@?)([a-z_]+[0-9]*)(?:=([a-z_]+[0-9]*))?(?:\.([a-z]+))?\}")
_Template = tuple["str | _Item", ...]


def _template(text: str) -> _Template:
    pieces: list[str | _Item] = []
    place = 0
    for match in _ITEM.finditer(text):
        pieces.append(text[place : match.start()])
        capital, article, recall, name, slot, form = match.groups()
        pieces.append(
            _Item(bool(capital), bool(article), bool(recall), name, slot or "", form or "")
        )
        place = match.end()
    pieces.append(text[place:])
    if any(isinstance(piece, str) and ("{" in piece or "}" in piece) for piece in pieces):
        raise ValueError(f"not a template: {text!r}")
    return tuple(piece for piece in pieces if piece)


class _Rule(NamedTuple):
    """Alternatives of a rule with the running sum of their weights."""

    templates: tuple[_Template, ...]
    sums: tuple[float, ...]


def _rule(text: str) -> _Rule:
    weights: list[float] = []
    templates: list[_Template] = []
    for line in filter(None, (" ".join(line.split()) for line in text.splitlines())):
        head, bar, rest = line.partition("|")
        weighted = bool(bar) and head.replace(".", "", 1).isdigit()
        weights.append(float(head) if weighted else 1.0)
        # "~" is a line break, so that a template of several lines stays one line of the rule.
        templates.append(_template((rest.strip() if weighted else line).replace("~", "\n")))
    return _Rule(tuple(templates), tuple(accumulate(weights)))


class Grammar:
    """Rules and a lexicon. `labels` names the rules ("quote"), words ("person") and forms (".past")
    whose text is labelled."""

    def __init__(
        self,
        rules: Mapping[str, str],
        lexicon: Mapping[str, Sequence[Word]],
        labels: Mapping[str, str],
    ) -> None:
        self.rules = {name: _rule(text) for name, text in rules.items()}
        self.lexicon = lexicon
        self.labels = labels

    def check(self, slots: Sequence[str] = ()) -> None:
        """Raise ValueError for a name or a form that does not exist; `slots` are set from outside.

        Kept apart from construction because it looks at every word.
        """
        items = [
            (name, item)
            for name, rule in self.rules.items()
            for template in rule.templates
            for item in template
            if isinstance(item, _Item)
        ]
        for name, item in items:
            if item.recall and item.name in slots:
                continue
            if item.recall:
                sources = {other.name for _, other in items if other.slot == item.name}
            else:
                sources = {item.name}
                if item.name in self.rules and not item.form and not item.slot:
                    continue
            words = [word for source in sources for word in self.lexicon.get(source, ())]
            if not words or any(item.form not in word for word in words):
                raise ValueError(f"rule {name}: nothing fits {item}")

    def telling(self, dice: Dice) -> Telling:
        """A new document of this grammar."""
        return Telling(self, dice)


class Telling:
    """One document being written: its dice, its slots, its text."""

    def __init__(self, grammar: Grammar, dice: Dice) -> None:
        self._grammar = grammar
        self.dice = dice
        self.slots: dict[str, tuple[str, Word]] = {}
        self.writer = Writer()

    def tell(self, rule: str) -> None:
        """Expand a rule into the text."""
        alternatives = self._grammar.rules[rule]
        draw = self.dice.random() * alternatives.sums[-1]
        template = alternatives.templates[bisect(alternatives.sums, draw)]
        label = self._grammar.labels.get(rule)
        if label is None:
            self._expand(template)
        else:
            with self.writer.span(label):
                self._expand(template)

    def choose(self, name: str, slot: str) -> Word:
        """Put a word of the lexicon that no slot holds into a slot."""
        taken = [word for _, word in self.slots.values()]
        words = self._grammar.lexicon[name]
        word = self.dice.pick(words)
        while word in taken:
            word = self.dice.pick(words)
        self.slots[slot] = (name, word)
        return word

    def _expand(self, template: _Template) -> None:
        for item in template:
            if isinstance(item, str):
                self.writer.write(item)
                continue
            self.writer.begin(item.article, item.capital)
            if not item.recall and item.name in self._grammar.rules:
                self.tell(item.name)
            else:
                self._word(item)

    def _word(self, item: _Item) -> None:
        if item.slot:
            self.choose(item.name, item.slot)
        if item.slot or item.recall:
            name, word = self.slots[item.slot or item.name]
        else:
            name, word = item.name, self.dice.pick(self._grammar.lexicon[item.name])
        labels = self._grammar.labels
        keys = (name + ("." + item.form if item.form else ""), "." + item.form)
        self.writer.write(word[item.form], *(labels[key] for key in keys if key in labels))
