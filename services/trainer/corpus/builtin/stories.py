"""Short stories for small children, in the past tense, with dialogue and often a moral.

Labels: `dialogue` (a quotation with its marks), `name` (a character's name), `past-verb`,
`negation`, `number`. A story keeps its hero, friend, elder, thing and place from the first sentence
to the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.trainer.corpus.builtin import words
from services.trainer.corpus.builtin.grammar import Dice, Document, Grammar, Word

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
    "job": words.JOBS,
    "move": words.MOVES,
    "take": words.TAKES,
    "feel": words.FEELS,
    "say": words.SAYS,
    "size": words.SIZES,
    "look": words.LOOKS,
    "mood": words.MOODS,
    "color": words.COLORS,
    "number": words.NUMBERS,
    "time": words.TIMES,
    "manner": words.MANNERS,
    "cry": words.CRIES,
}

LABELS = {
    "quote": "dialogue",
    "quote_comma": "dialogue",
    "quote_end": "dialogue",
    "person": "name",
    ".past": "past-verb",
    "was": "past-verb",
    "were": "past-verb",
    "had": "past-verb",
    "said": "past-verb",
    "not": "negation",
    "never": "negation",
    "number": "number",
}

RULES = {
    "was": "was",
    "were": "were",
    "said": "said",
    "had": "had",
    "not": "not",
    "never": """
        4| not
        3| never
        no longer
    """,
    "adj": """
        3| {size}
        4| {look}
        2| {color}
        {size}, {look}
        very {look}
        {size} {color}
    """,
    "sort": """
        3| {toy}
        2| {food}
        {wear}
        2| {nature}
        2| {home}
    """,
    "sorts": """
        3| {toy.plural}
        2| {food.plural}
        {wear.plural}
        2| {nature.plural}
    """,
    "a_thing": """
        4| {a adj} {sort}
        {a sort}
        {number} {sorts}
        some {adj} {sorts}
        {a sort} with {a adj} {home}
    """,
    "where": """
        3| in the {place}
        2| near the {place}
        under {a adj} {nature}
        behind the {home}
        next to {a nature}
        on top of the {home}
        by the {adj} {nature} in the {place}
    """,
    "who": """
        4| {@hero}
        3| {@hero.they}
    """,
    "kin": """
        2| {@hero.their} {@elder}
        {@hero}'s {@elder}
    """,
    "creature": """
        2| the {@beast}
        the {look} {@beast}
    """,
    "clause": """
        2| that {move.past} around the {place}
        that {had} {never} {done_thing} {a sort}
        who {was} {mood} because {@hero.they} {had} {never} seen {a animal} before
        that {feel.past} when the {home} {was} {look}
    """,
    "done_thing": """
        {take.done}
        2| been {take.done} by
        {feel.done} at
    """,
    # -- quotations
    "question": """
        2| where is my {@thing}
        can I {take} your {sort}
        why is the {@thing} so {look}
        who {take.past} the {sort}
        will you {move} to the {@site} with me
        do you want {a food} or {a food}
        how many {sorts} do you have, {@pal}
        did you see {a size} {@beast} {where}
        are you {mood} or {mood}
        what does the {@beast} want
    """,
    "line": """
        3| I want to {take} the {@thing}
        3| look at the {adj} {@thing}
        2| we can {take} it together
        2| I am so {mood}
        do {not} be {mood}
        I have {number} {sorts}, but I do {not} have {a @thing}
        you are {mood}, {@hero}
        please help me {take} the {@thing}
        my {body} hurts
        you must {not} {take} the {sort}
        let us {move} to the {@site}
        there is {a animal} {where}
        the {sort} is {look.more} than the {sort}
        this is the {look.most} {@thing} in the {@site}
        thank you for the {sort}
        if you {take} the {sort}, you will be {mood}
        I think the {@beast} wants {a food}
        {number} {animal.plural} are coming to the {@site}
    """,
    "quote": """
        5| "{^line}!"
        5| "{^line}."
        2| "{^line}. {^line}."
        "Oh no! {^line}!"
        2| "{^question}?"
        "{^question}? {^line}."
        "{@hero}, {line}."
        "{^cry}, {cry}!"
    """,
    "quote_comma": """
        4| "{^line},"
        2| "{^line}!"
        2| "{^question}?"
        "Yes, {line},"
        "No, {line},"
    """,
    "quote_end": """
        3| "{^line}."
        2| "{line}."
        "and {line}!"
    """,
    "speech": """
        5| {quote_comma} {say.past} {who}.
        3| {quote_comma} {say.past} {kin}.
        3| {quote_comma} {say.past} {creature}.
        2| {quote_comma} {say.past} {@pal}, and {@pal.they} {feel.past}.
        {^who} {say.past}, {quote}
        {^kin} {feel.past} and {say.past}, {quote}
        {quote_comma} {say.past} {@pal} {manner}. {quote_end}
        {^creature} {move.past} closer and {say.past}, {quote}
        {quote_comma} {say.past} {who}, {quote_end}
    """,
    # -- sentences
    "action": """
        4| {^who} {take.past} the {@thing} {manner}.
        3| {^who} {move.past} to the {@site} and {take.past} {a_thing}.
        2| {^who} and {@pal} {move.past} {where}.
        2| {^creature} {clause} {take.past} the {sort}.
        {^manner}, {who} {take.past} the {adj} {@thing}.
        When {who} {move.past} {where}, {@hero.they} {take.past} {a_thing}.
        {@pal} {was} {mood}, so {@pal.they} {take.past} {a_thing} for {@hero}.
        {^who} {was} {not} {mood} anymore.
        {^kin} {take.past} {@hero.them} by the {body}.
        The {@thing} {was} {look.more} than {a sort}.
        There {were} {number} {sorts} {where}.
        {^creature} {had} {a size} {body} and {a color} {body}.
        {^who} {feel.past} because the {@thing} {was} {look}.
        {@hero} and {@pal} {take.past} the {sort} until the {sort} {was} {look}.
        After that, {who} {take.past} {number} {sorts} and {move.past} home.
    """,
    "setup": """
        4| {^time}, {@hero} {move.past} to the {@site} with {@hero.their} {@elder}.
                3| Once upon a time, there {was} {a mood} {@hero.child} named {@hero}. {^who} \
            lived in {a size} {place} with {@hero.their} {@elder}.
                2| {@hero} {was} {a mood} {@hero.child} who {had} {a adj} {@thing}. Every day \
            {@hero.they} {take.past} it {where}.
        2| {^time}, {a mood} {@hero.child} named {@hero} {take.past} {a @thing} {where}.
                In {a size} {place}, there lived {a job} called {@hero} and {a @beast}. They \
            {were} best friends.
        {@hero} and {@pal} {were} friends. They liked to {move} {where} and {take} {sorts}.
    """,
    "wish": """
                3| {^who} loved {@hero.their} {@thing} very much. It {was} {adj} and {had} \
            {number} {sorts} on it.
        2| {^who} wanted to {take} {a_thing}, but {kin} {say.past} it {was} too {look}.
        2| {^who} wanted {a @thing} more than anything. {speech}
        More than {sorts}, {@hero} loved to {move} {where}.
        {^@hero.they} dreamed of {a adj} {@thing}. {action}
    """,
    "trouble": """
                3| But then the {@thing} {was} gone! {^who} looked {where} and {where}, but it \
            {was} {not} there.
                2| Suddenly, {a size} {@beast} {move.past} out of the {nature} and {take.past} \
            the {@thing}. {speech}
        2| But {@pal} {take.past} the {@thing} and did {not} want to give it back. {speech}
        One day, the {@thing} broke. {^who} {was} very {mood} and {feel.past}. {speech}
        Then it began to rain. The {@site} {was} {look} and {@hero}'s {body} {was} {look}.
        {^who} {move.past} too fast and hurt {@hero.their} {body}. {quote} {@hero.they} {feel.past}.
        There {was} a loud noise {where}. {@hero} {was} {mood}. {speech}
        {^who} got lost {where}. It {was} dark and {@hero.they} {feel.past} for {kin}.
    """,
    "attempt": """
        2| First, {who} {take.past} {a_thing}, but it did {not} help. {speech}
        2| {^who} asked {a mood} {job} for help. {quote_comma} {say.past} the {job}.
        Then {@pal} had an idea. {speech} {action}
        {^creature} {take.past} {number} {sorts} and {move.past} away. {speech}
                They {move.past} past {a adj} {nature}, {a adj} {nature} and {number} \
            {animal.plural}. {action}
        {action} {speech}
    """,
    "rescue": """
        2| At last, {who} saw something {look} {where}. It {was} the {@thing}! {speech}
        2| {^kin} came and {take.past} the {@thing} {manner}. {speech}
        {^creature} {was} {not} mean at all. {^creature} only wanted {a friend_food}. {speech}
        {@pal} {said} sorry and gave the {@thing} back. {speech}
        {@hero} and {@pal} worked together, and soon the {@thing} {was} {look.more} than before.
    """,
    "friend_food": """
        {look} {food}
        {food} and {a food}
    """,
    "ending": """
        3| {@hero} and {@pal} {were} {mood} and {take.past} {sorts} all day. {moral}
        2| {^who} {move.past} home with {kin}. {moral}
        2| From that day on, {who} always shared the {@thing} with {@pal}. {moral}
        {^kin} gave {@hero} a hug and {a food}. {speech} The end.
        That night, {who} slept with the {@thing} in {@hero.their} bed and dreamed of {sorts}.
        The {@beast} and {@hero} became best friends. {moral}
    """,
    "moral": """
        2| {@hero} learned that it is good to share {sorts}.
        2| {^who} learned {not} to {take} {sorts} without asking.
        {@hero} knew that being {mood} is better than having {number} {sorts}.
        And they all lived happily ever after.
        The moral is: always {take} your {sorts} and be {mood} to every {animal}.
        {@hero} promised {@hero.their} {@elder} that {@hero.they} would {not} be {mood} again.
        {speech}
    """,
}

GRAMMAR = Grammar(RULES, LEXICON, LABELS)
SLOTS = ("hero", "pal", "elder", "thing", "site", "beast")
THINGS = ("toy", "toy", "toy", "food", "wear", "nature", "home")


def _story(dice: Dice) -> Document:
    telling = GRAMMAR.telling(dice)
    telling.choose("person", "hero")
    telling.choose("person", "pal")
    telling.choose("elder", "elder")
    telling.choose(dice.pick(THINGS), "thing")
    telling.choose("place", "site")
    telling.choose("animal", "beast")
    parts = ["setup", "wish", *["action"] * dice.number(0, 2), "trouble"]
    for _ in range(dice.number(1, 3)):
        parts += ["attempt", *["speech"] * dice.number(0, 1), *["action"] * dice.number(0, 2)]
    parts += ["rescue", "ending"]
    for number, part in enumerate(parts):
        if number:
            telling.writer.write("\n\n" if dice.chance(0.25) else " ")
        telling.tell(part)
    telling.writer.write("\n")
    return telling.writer.document()


def documents(seed: int) -> Iterator[Document]:
    """Stories without end; number n depends on nothing but the seed and n."""
    number = 0
    while True:
        yield _story(Dice(f"stories/{seed}/{number}"))
        number += 1
