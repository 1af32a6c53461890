"""English words with their forms, for the `baby` and `stories` grammars.

Word lists are strings: "_" is a space, "hop+" doubles its last letter (hopped, hopping), and
irregular forms follow after slashes: "child/children", "go/goes/went/going/gone".
"""

from __future__ import annotations

from collections.abc import Sequence

from services.trainer.corpus.builtin.grammar import Word

VOWELS = "aeiou"


def _with_s(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ies"
    return word + "s"


def _split(words: str) -> list[list[str]]:
    return [entry.replace("_", " ").split("/") for entry in words.split()]


def nouns(words: str) -> list[Word]:
    """Forms: "" (one), "plural"."""
    return [
        {"": entry[0], "plural": entry[1] if len(entry) > 1 else _with_s(entry[0])}
        for entry in _split(words)
    ]


def verbs(words: str) -> list[Word]:
    """Forms: "" (go), "third" (goes), "past" (went), "ing" (going), "done" (gone)."""
    return [_verb(entry) for entry in _split(words)]


def _verb(entry: list[str]) -> Word:
    if len(entry) == 5:
        return dict(zip(("", "third", "past", "ing", "done"), entry, strict=True))
    plain, _, rest = entry[0].partition(" ")  # of "pick up" only the first word is inflected
    tail = f" {rest}" if rest else ""
    if plain.endswith("+"):
        plain = plain[:-1]
        past, ing = f"{plain}{plain[-1]}ed", f"{plain}{plain[-1]}ing"
    elif plain.endswith("e") and not plain.endswith("ee"):
        past, ing = f"{plain}d", f"{plain[:-1]}ing"
    elif plain.endswith("y") and plain[-2] not in VOWELS:
        past, ing = f"{plain[:-1]}ied", f"{plain}ing"
    else:
        past, ing = f"{plain}{'d' if plain.endswith('e') else 'ed'}", f"{plain}ing"
    if len(entry) == 3:  # past and participle are irregular
        past, done = entry[1], entry[2]
    else:
        done = past
    return {
        "": plain + tail,
        "third": _with_s(plain) + tail,
        "past": past + tail,
        "ing": ing + tail,
        "done": done + tail,
    }


def plain(words: str) -> list[Word]:
    """Words without forms."""
    return [{"": entry[0]} for entry in _split(words)]


def adjectives(words: str) -> list[Word]:
    """Forms: "" (big), "more" (bigger), "most" (biggest)."""
    forms: list[Word] = []
    for (entry,) in _split(words):
        word = entry.rstrip("+")
        stem = word + word[-1] if entry.endswith("+") else word
        if stem.endswith("e"):
            stem = stem[:-1]
        elif stem.endswith("y") and stem[-2] not in VOWELS:
            stem = stem[:-1] + "i"
        forms.append({"": word, "more": stem + "er", "most": stem + "est"})
    return forms


def people(names: str, they: Sequence[str]) -> list[Word]:
    """Forms: "" (the name), "they" (she), "them", "their", "self" (herself), "child" (girl)."""
    forms = ("they", "them", "their", "self", "child")
    return [{"": name, **dict(zip(forms, they, strict=True))} for name in names.split()]


GIRLS = people(
    """Ada Alice Amy Anna Bella Beth Clara Daisy Dora Ella Emma Eva Fiona Flora Grace Hanna Hazel
    Ida Iris Ivy Jane Jill Julia Kate Kitty Lena Lily Lisa Lola Lucy Luna Maya Mia Mila
    Molly Nina Nora Olive Pam Pearl Penny Rosa Rose Ruby Ruth Sally Sara Sofia Stella Sue
    Tess Tina Vera Wendy Willa Zoe Abby Carla Edith Gwen""",
    ("she", "her", "her", "herself", "girl"),
)
BOYS = people(
    """Adam Alfie Andy Arthur Ben Billy Bobby Caleb Carl Charlie Danny David Dylan Eddie Eli Emil
    Ethan Felix Finn Frank Fred George Gus Hank Harry Henry Hugo Ian Jack Jake James Jim Joe
    John Jonas Leo Liam Louis Lucas Mark Max Mike Milo Ned Nick Noah Oscar Otto Owen Paul
    Peter Ralph Ray Robin Ryan Sam Simon Ted Theo Tim Tom Toby Victor Walter Will""",
    ("he", "him", "his", "himself", "boy"),
)
PEOPLE = GIRLS + BOYS

RELATIVES = [
    {"": name, "they": they, "them": them, "their": their}
    for name, they, them, their in (
        ("mom", "she", "her", "her"),
        ("mother", "she", "her", "her"),
        ("grandma", "she", "her", "her"),
        ("aunt", "she", "her", "her"),
        ("big sister", "she", "her", "her"),
        ("teacher", "she", "her", "her"),
        ("dad", "he", "him", "his"),
        ("father", "he", "him", "his"),
        ("grandpa", "he", "him", "his"),
        ("uncle", "he", "him", "his"),
        ("big brother", "he", "him", "his"),
        ("neighbor", "he", "him", "his"),
    )
]

_ANIMALS = nouns(
    """ant badger bat bear beaver bee beetle bird bunny butterfly calf/calves camel cat caterpillar
    chick chicken cow crab cricket crow deer/deer dog dolphin donkey dove dragonfly duck
    duckling eagle elephant fish/fish fly fox frog giraffe goat goose/geese hamster hare
    hedgehog hen hippo horse kangaroo kitten koala ladybug lamb lion lizard lobster mole
    monkey moose/moose mouse/mice octopus otter owl panda parrot peacock penguin pig pigeon
    piglet pony puppy rabbit raccoon rat robin rooster seal shark sheep/sheep skunk snail
    snake sparrow spider squirrel swan tiger toad turkey turtle walrus whale wolf/wolves
    woodpecker worm zebra"""
)
_CRIES = {
    "moo": "cow calf moose deer",
    "baa": "sheep lamb goat",
    "woof": "dog puppy seal",
    "meow": "cat kitten peacock",
    "quack": "duck duckling swan goose",
    "neigh": "horse pony donkey zebra",
    "oink": "pig piglet hippo walrus",
    "buzz": "bee fly beetle dragonfly ladybug",
    "hiss": "snake lizard skunk turtle",
    "roar": "lion tiger bear panda elephant",
    "tweet": "bird chick chicken robin sparrow hen parrot",
    "squeak": "mouse rat hamster mole bat hedgehog dolphin",
    "chirp": "cricket squirrel lobster crab penguin",
    "ribbit": "frog toad",
    "hoot": "owl pigeon dove crow eagle turkey rooster",
}
_CRY_OF = {animal: cry for cry, some in _CRIES.items() for animal in some.split()}
# One more form: "cry", what the animal says.
ANIMALS = [{**animal, "cry": _CRY_OF.get(animal[""], "growl")} for animal in _ANIMALS]
TOYS = nouns(
    """airplane ball balloon basket bell bike blanket block boat book bubble bucket bus car card
    cart castle crayon crown doll doll_house drum fire_truck flute game hammer hat
    helicopter horn jump_rope kite lamp lantern marble mask mirror music_box necklace
    paint_brush pencil piano picture pillow pinwheel pirate_ship puppet puzzle rattle ring
    robot rocket sand_castle scarf/scarves scooter shovel skateboard sled spinning_top stick
    sticker sword swing teddy_bear telephone tent toy_car tractor train trumpet truck
    umbrella wagon whistle wooden_horse"""
)
FOODS = nouns(
    """apple banana bean berry/berries biscuit bun cake candy carrot cheese_sandwich cherry cookie
    corn_cob cracker cupcake donut egg fig grape ice_cream jam_tart lemon lollipop melon
    muffin mushroom noodle nut olive onion orange pancake pea peach pear pie pickle
    pineapple pizza plum potato/potatoes pretzel pumpkin radish raisin sandwich sausage
    strawberry tomato/tomatoes turnip waffle walnut"""
)
CLOTHES = nouns(
    """apron belt boot button cap coat diaper dress glove hood jacket jumper mitten nightgown
    pajama pocket raincoat sandal shirt shoe skirt slipper sock sweater vest zipper"""
)
BODY = nouns(
    """arm back belly cheek chin ear elbow eye face finger foot/feet hand head heel knee leg lip
    neck nose shoulder thumb toe tongue tooth/teeth tummy"""
)
HOME = nouns(
    """armchair bathtub bed bench bottle bowl box broom brush candle carpet ceiling chair clock
    closet comb couch cradle crib cup cupboard curtain cushion desk dish door drawer faucet
    fence floor fork fridge gate jar key kettle knife/knives ladder mat mop mug napkin oven
    pan plate pot potty rug shelf/shelves sink soap_dish spoon sponge stair stool stove
    table teapot towel tray tub vase wall washcloth window"""
)
NATURE = nouns(
    """acorn branch bush cloud daisy feather fern flower hill leaf/leaves log meadow moon moss_bed
    mountain nest oak path pebble pine_cone pond puddle rainbow river rock root rose seed
    shell snowflake snowman/snowmen star stone stream sunflower tree tulip twig vine wave
    web well"""
)
PLACES = nouns(
    """attic backyard bakery barn beach bridge cabin castle cave cottage farm field fair forest
    garden harbor hill hospital island kitchen lake library lighthouse market meadow mill
    museum orchard park playground pond porch river school shed shop stable station street
    tower town tree_house valley village windmill yard zoo"""
)
JOBS = nouns(
    """baker barber bus_driver carpenter clown cook dancer doctor farmer firefighter/firefighters
    fisherman/fishermen gardener giant gnome goblin guard hunter juggler king knight
    mail_carrier miller miner nurse painter pilot pirate prince princess queen sailor
    shepherd shoemaker singer tailor troll wizard witch wood_cutter"""
)

MOVES = verbs(
    """climb come/comes/came/coming/come crawl creep/creeps/crept/creeping/crept dance dash
    fly/flies/flew/flying/flown gallop go/goes/went/going/gone hike hop+ hurry jump leap
    march paddle race roll run/runs/ran/running/run rush sail skate skip+
    slide/slides/slid/sliding/slid sneak splash stumble swim/swims/swam/swimming/swum
    tiptoe/tiptoes/tiptoed/tiptoeing/tiptoed trot+ tumble waddle walk wander"""
)
TAKES = verbs(
    """bring/brings/brought/bringing/brought build/builds/built/building/built
    buy/buys/bought/buying/bought carry catch/catches/caught/catching/caught
    choose/chooses/chose/choosing/chosen clean cover drag+ drop+
    find/finds/found/finding/found fix fold follow grab+ hide/hides/hid/hiding/hidden
    hold/holds/held/holding/held hug+ kick kiss lift lose/loses/lost/losing/lost love
    make/makes/made/making/made move notice open paint pat+ pick_up point_at poke polish
    pull push reach remember rescue save scrub+ see/sees/saw/seeing/seen share
    shake/shakes/shook/shaking/shaken squeeze take/takes/took/taking/taken
    throw/throws/threw/throwing/thrown tickle touch trade wash watch wipe wrap+"""
)
FEELS = verbs(
    """blush cheer cry frown giggle grin+ laugh nod+ pout shiver shout sigh smile sob+ sniff stare
    tremble wait whimper whistle yawn sleep/sleeps/slept/sleeping/slept
    sing/sings/sang/singing/sung"""
)
SAYS = verbs(
    """answer ask beg+ call cry explain laugh reply say/says/said/saying/said shout sigh
    sing/sings/sang/singing/sung whisper yell"""
)
CRIES = [{"": cry} for cry in (*_CRIES, "growl")]

SIZES = adjectives("big+ tiny small huge tall short long little large wide thin+ fat+ round")
LOOKS = adjectives(
    """bright brown clean cold cool curly dark dirty dusty fluffy fresh furry fuzzy gray green hard
    heavy hot+ light muddy new noisy old pale pink pretty quick quiet red+ rough rusty sharp
    shiny silly slow smooth soft sticky strong sunny sweet warm wet+ white yellow young"""
)
MOODS = adjectives(
    """angry brave busy calm clever cross glad+ gentle greedy grumpy happy hungry jolly kind lazy
    lonely lucky mean merry nice proud sad+ scary shy sick sleepy strange wise"""
)
COLORS = plain("red blue green yellow orange purple pink brown black white gray golden silver")
NUMBERS = plain("two three four five six seven eight nine ten eleven twelve")
TIMES = plain(
    """one_day one_morning one_afternoon one_evening one_sunny_day one_rainy_day one_night
    early_one_morning last_summer on_a_cold_winter_day on_a_windy_day after_breakfast"""
)
MANNERS = plain(
    """slowly quickly quietly loudly gently carefully happily sadly proudly bravely softly eagerly
    nervously politely kindly angrily suddenly together again"""
)
