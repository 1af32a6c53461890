"""Child-directed English: conversations of a parent and a small child, and very simple narratives.

Conversations come in two spellings, as in a CHILDES transcript ("*MOT:\t.. ?" with a blank before
the mark) or as plain speech ("MOT: ..?"). Labels: `speaker` (the tag of a turn), `question` (a
sentence that asks), `negation`, `number`, `name`. A conversation keeps its child, its toy, its
animal and its food, and answers are about what was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from services.trainer.corpus.builtin import words
from services.trainer.corpus.builtin.grammar import Dice, Document, Grammar, Telling, Word

LEXICON: dict[str, Sequence[Word]] = {
    "person": words.PEOPLE,
    "elder": words.RELATIVES,
    "animal": words.ANIMALS,
    "toy": words.TOYS,
    "food": words.FOODS,
    "wear": words.CLOTHES,
    "body": words.BODY,
    "home": words.HOME,
    "nature": words.NATURE,
    "place": words.PLACES,
    "move": words.MOVES,
    "take": words.TAKES,
    "feel": words.FEELS,
    "size": words.SIZES,
    "look": words.LOOKS,
    "mood": words.MOODS,
    "color": words.COLORS,
    "number": words.NUMBERS,
    "cry": words.CRIES,
}

LABELS = {
    "ask": "question",
    "ask_number": "question",
    "ask_animal": "question",
    "ask_again": "question",
    "dont": "negation",
    "doesnt": "negation",
    "isnt": "negation",
    "cant": "negation",
    "no": "negation",
    "number": "number",
    "person": "name",
}

RULES = {
    "dont": """
        2| don't
        do not
    """,
    "doesnt": """
        2| doesn't
        does not
    """,
    "isnt": """
        isn't
        is not
    """,
    "cant": """
        2| can't
        can not
    """,
    "no": """
        3| no
        nope
        not
    """,
    "oh": """
        oh
        2| oh dear
        uhoh
        well
        3| yes
        2| yeah
        okay
        look
        hm
        wow
        there
        alright
        see
    """,
    "sort": """
        3| {toy}
        2| {food}
        2| {animal}
        {wear}
        {home}
        {nature}
    """,
    "adj": """
        3| {size}
        3| {color}
        3| {look}
        {size} {color}
        nice {look}
        {mood} little
    """,
    "where": """
        3| in the {home}
        2| on the {home}
        under the {home}
        behind the {home}
        on your {body}
        2| in the {place}
        next to the {@toy}
        over there
        beside your {wear}
    """,
    # -- what a parent asks, about the things that this conversation has
    "ask": """
        4| where is the {@toy}{@q}
        4| what is that{@q}
        3| what is the {@beast} doing{@q}
        3| do you want {a @food}{@q}
        2| do you want some more {food.plural}{@q}
        3| can you {take} the {@toy}{@q}
        2| can you say {sort}{@q}
        2| is that your {@toy}{@q}
        2| is that {a adj} {sort} or {a adj} {sort}{@q}
        2| who {take.past} the {@toy}{@q}
        2| where did the {@beast} {move}{@q}
        what did you {take} {where}{@q}
        what color is the {sort}{@q}
        2| are you {mood}, {@child}{@q}
        is {@child} {feel.ing}{@q}
        shall we {take} the {adj} {sort}{@q}
        shall we {move} to the {place}{@q}
        where is your {body}{@q}
        where are your {wear.plural}{@q}
        do you see the {adj} {sort} {where}{@q}
        did {@other} {take} your {@toy}{@q}
        why is the {@beast} {feel.ing}{@q}
        you {dont} want the {sort}, do you{@q}
        is the {sort} {look.more} than the {sort}{@q}
        does {@other} like {food.plural}{@q}
        is the {@beast} going to {move} {where}{@q}
    """,
    "ask_number": """
        2| how many {animal=counted.plural} are there{@q}
        how many {toy=counted.plural} can you see{@q}
        how many {food=counted.plural} do you have{@q}
        can you count the {toy=counted.plural}{@q}
    """,
    "ask_animal": """
        2| what does the {@beast} say{@q}
        what sound does {a @beast} make{@q}
    """,
    "ask_again": """
        3| the {@toy}{@q}
        2| {a @beast}{@q}
        what{@q}
        2| is it{@q}
        where{@q}
        you want the {@food}{@q}
        right{@q}
        do you{@q}
    """,
    # -- what a parent tells
    "tell": """
        3| {oh}, that is {a adj} {@toy}{@e}
        3| {oh}, that is {a @toy}{@e}
        2| the {@beast} is {feel.ing} {where}{@e}
        2| the {adj} {@beast} is going to {take} the {sort}{@e}
        2| let's {take} the {@toy}{@e}
        2| let us {move} {where}, {@child}{@e}
        2| you have {a adj} {sort} {where}{@e}
        {dont} {take} the {sort}, {@child}{@e}
        {dont} {move} {where}{@e}
        2| the {@toy} is {where}{@e}
        {@other} has {number} {sort_plural}{@e}
        here is {a adj} {sort} for {@child}{@e}
        we will {take} the {sort} after we {take} the {sort}{@e}
        {@child} is {a mood} {@child.child}{@e}
        your {elder} {take.past} {a sort} {where}{@e}
        that {isnt} {a sort}, that is {a sort}{@e}
        good {@child.child}, you {take.past} the {@toy}{@e}
        if you {take} the {sort}, the {@beast} will {feel}{@e}
        put the {sort} {where}{@e}
        I think the {@beast} wants {a @food}{@e}
        first the {wear}, then the {wear}{@e}
        there are {number} {sort_plural} and {number} {sort_plural}{@e}
        {@other} is {mood} because {@other.they} {cant} {take} {@other.their} {sort}{@e}
    """,
    "sort_plural": """
        2| {toy.plural}
        2| {food.plural}
        2| {animal.plural}
        {wear.plural}
    """,
    # -- what a child says
    "child_answer": """
        4| {@toy}{@e}
        3| {color} {@toy}{@e}
        3| my {@toy}{@e}
        2| {no}{@e}
        2| {no} {@toy}{@e}
        2| yeah{@e}
        2| {@beast} {feel.ing}{@e}
        2| {@beast} {move}{@e}
        want {@food}{@e}
        2| more {@food}{@e}
        I want {a @food}{@e}
        me {take} it{@e}
        that {a sort}{@e}
        {@toy} {where}{@e}
        {sort}, {sort}{@e}
        {@child} {take} {@toy}{@e}
        {@child} do it{@e}
        I {dont} want {sort}{@e}
        {size} {@beast} {where}{@e}
        {@other} {take.past} it{@e}
        two {sort_plural}{@e}
    """,
    "child_number": """
        4| {number=count}{@e}
        2| {number=count} {@counted.plural}{@e}
        one, two, {number=count}{@e}
    """,
    "child_cry": """
        3| {@beast.cry}{@e}
        2| {@beast.cry} {@beast.cry}{@e}
        {@beast} say {@beast.cry}{@e}
        {cry}{@e}
    """,
    # -- how a parent takes up an answer
    "echo": """
        3| {oh}, {a adj} {@toy}{@e}
        2| yes, the {@toy} is {where}{@e}
        2| that's right, {@child}{@e}
        {no}, that {isnt} the {@toy}{@e}
        you want to {take} the {@toy}{@e}
        yes, the {@beast} is {feel.ing}{@e}
        you want {a @food}, {ask_again}
        good {@child.child}{@e}
        {oh}, {@child} wants {a @food}{@e}
        the {color} {@toy}, {ask_again}
    """,
    "echo_number": """
        3| yes, {@count} {@counted.plural}{@e}
        {no}, there are {number} {@counted.plural}{@e}
        {@count}, that's right{@e}
    """,
    "echo_cry": """
        2| yes, the {@beast} says {@beast.cry} {@beast.cry}{@e}
        {oh}, {@beast.cry} says the {adj} {@beast}{@e}
        {no}, the {@beast} says {@beast.cry}{@e}
    """,
    # -- a simple narrative
    "narrative": """
        3| This is {@child}. {^@child} is {a mood} {@child.child}.
        2| {@child} has {a adj} {@toy}. The {@toy} is {color}.
        2| {@child} likes to {take} {sort_plural} and {sort_plural}.
        2| The {@beast} {take.third} the {@toy}. {^@child} {feel.third}.
        2| {@child} can {move}. Can you {move} too?
        {@child} and {@other} {move} {where}.
        "{^@beast.cry}, {@beast.cry}," says the {@beast}.
        Look at the {adj} {sort}! It is {look.more} than the {sort}.
        {@child} {doesnt} like {food.plural}.
        There are {number} {sort_plural} {where}. One is {color} and one is {color}.
        Where is the {@toy}? It is {where}.
        The {@beast} wants {a @food}, but the {@food} is all gone.
        Now {@other} {take.third} {@other.their} {wear} and {move.third} {where}.
        {@child} {take.third} the {@food} with {@child.their} {body}.
        Good night, {@toy}. Good night, {@beast}. Good night, {sort}.
    """,
}

GRAMMAR = Grammar(RULES, LEXICON, LABELS)
SLOTS = ("child", "other", "toy", "beast", "food", "q", "e")
EXCHANGES = (  # what the parent says, what the child answers, how the parent takes it up; a weight
    (("ask", "child_answer", "echo"), 5),
    (("tell", "child_answer", "echo"), 3),
    (("ask_number", "child_number", "echo_number"), 2),
    (("ask_animal", "child_cry", "echo_cry"), 2),
)
WEIGHTED = tuple(exchange for exchange, weight in EXCHANGES for _ in range(weight))
PARENTS = ("MOT", "MOT", "FAT", "GRA")


def _begin(dice: Dice) -> Telling:
    telling = GRAMMAR.telling(dice)
    for name, slot in (
        ("person", "child"),
        ("person", "other"),
        ("toy", "toy"),
        ("animal", "beast"),
        ("food", "food"),
    ):
        telling.choose(name, slot)
    return telling


def _conversation(dice: Dice) -> Document:
    telling = _begin(dice)
    transcript = dice.chance(0.6)  # CHILDES: an asterisk, a tab, a blank before the mark
    blank = " " if transcript else ""
    telling.slots["q"] = ("mark", {"": blank + "?"})
    telling.slots["e"] = ("mark", {"": blank + ("!" if dice.chance(0.1) else ".")})
    parent = dice.pick(PARENTS)
    if transcript and dice.chance(0.5):
        name = telling.slots["child"][1][""]
        telling.writer.write(f"@Participants:\tCHI {name} Child, {parent} Parent\n")

    def turn(speaker: str, rule: str) -> None:
        telling.writer.write(f"*{speaker}:" if transcript else f"{speaker}:", "speaker")
        telling.writer.write("\t" if transcript else " ")
        telling.tell(rule)
        telling.writer.write("\n")

    for _ in range(dice.number(4, 12)):
        opening, answer, echo = dice.pick(WEIGHTED)
        turn(parent, opening)
        if dice.chance(0.2):
            turn(parent, "ask_again")
        if dice.chance(0.85):
            turn("CHI", answer)
            if dice.chance(0.6) or opening == "ask_number":
                turn(parent, echo)
    return telling.writer.document()


def _narrative(dice: Dice) -> Document:
    telling = _begin(dice)
    telling.slots["q"] = ("mark", {"": "?"})
    telling.slots["e"] = ("mark", {"": "."})
    for number in range(dice.number(6, 14)):
        if number:
            telling.writer.write("\n" if dice.chance(0.3) else " ")
        telling.tell("narrative")
    telling.writer.write("\n")
    return telling.writer.document()


KINDS: tuple[Callable[[Dice], Document], ...] = (_conversation, _conversation, _narrative)


def documents(seed: int) -> Iterator[Document]:
    """Conversations and narratives without end; number n depends on the seed and n alone."""
    number = 0
    while True:
        dice = Dice(f"baby/{seed}/{number}")
        yield dice.pick(KINDS)(dice)
        number += 1
