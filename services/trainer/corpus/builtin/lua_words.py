"""Names that Lua programs are about, by theme, and the small talk of their comments and strings."""

from __future__ import annotations

from typing import NamedTuple


class Theme(NamedTuple):
    """What one program is about."""

    kind: str  # the class or module
    things: tuple[str, ...]
    fields: tuple[str, ...]
    acts: tuple[str, ...]


def names(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


def _theme(kind: str, things: str, fields: str, acts: str) -> Theme:
    return Theme(kind, names(things), names(fields), names(acts))


THEMES = (
    _theme(
        "inventory",
        "item slot stack bag chest weapon armor potion recipe reward owner stock",
        "count weight price rarity level name capacity durability quality stackable",
        "add remove equip drop sort find merge split sell craft",
    ),
    _theme(
        "queue",
        "job task worker message entry node head tail batch priority handler ticket",
        "size length first last pending done delay attempts limit id",
        "push pop peek enqueue drain clear retry schedule process wait",
    ),
    _theme(
        "vector",
        "point axis angle matrix row column scale offset normal plane origin segment",
        "x y z w length norm dot theta radius determinant",
        "add subtract rotate normalize project scale clamp lerp cross reflect",
    ),
    _theme(
        "parser",
        "token node line buffer symbol rule state grammar lexer stream tree literal",
        "position kind value start finish depth column source name error_count",
        "parse read expect skip match advance peek accept reduce report",
    ),
    _theme(
        "config",
        "option section key setting profile path default override file schema entry flag",
        "name value version debug timeout verbose root locale mode theme",
        "load save get set merge validate reset read apply export",
    ),
    _theme(
        "logger",
        "message level sink record formatter file prefix stream context target event line",
        "name time level enabled count path width color format buffer_size",
        "log write flush format open close rotate filter attach trace",
    ),
    _theme(
        "player",
        "enemy bullet weapon target map tile shield team wave spawn boss camera",
        "x y health speed damage score armor ammo lives energy",
        "move update draw shoot hit heal jump spawn respawn collide",
    ),
    _theme(
        "cache",
        "entry key bucket page record block hash store index value session shard",
        "size hits misses ttl age limit expires last_used weight dirty",
        "get put evict touch expire lookup invalidate resize warm dump",
    ),
    _theme(
        "account",
        "user order payment invoice customer cart product discount bank transfer ledger tax",
        "balance total amount currency rate owner due paid number status",
        "deposit withdraw charge refund close open audit transfer approve settle",
    ),
    _theme(
        "socket",
        "packet client server host request response header peer channel session route payload",
        "port address status timeout bytes sent received closed backlog keepalive",
        "connect send receive close listen accept bind reconnect encode decode",
    ),
    _theme(
        "timer",
        "clock callback tick event interval task frame alarm delta phase tween loop",
        "elapsed duration repeats running speed started paused remaining rate step",
        "start stop pause resume update reset schedule cancel fire wait",
    ),
    _theme(
        "sprite",
        "image frame animation layer texture shader canvas quad atlas color batch font",
        "width height alpha scale angle visible depth speed tint index",
        "draw load play stop flip resize tint blend animate crop",
    ),
    _theme(
        "graph",
        "vertex edge path neighbor cost root parent child cluster distance label queue",
        "weight degree visited color depth rank size directed flow name",
        "connect visit search relax insert delete contract traverse paint count",
    ),
    _theme(
        "garden",
        "plant seed flower tree leaf pot soil season bed harvest fruit row",
        "water sunlight height age growth health yield stage ripe moisture",
        "plant water prune grow harvest feed weed trim move sow",
    ),
    _theme(
        "scanner",
        "device port network address sensor reading signal node probe channel report range",
        "frequency power strength gain noise mask timeout online count baud",
        "scan probe read calibrate detect enable disable sample filter ping",
    ),
    _theme(
        "story",
        "scene actor dialog choice quest chapter hero villain item place rumor ending",
        "title text mood chance seen length tone visits trust order",
        "tell begin choose unlock finish remember travel speak reveal replay",
    ),
)

RESULTS = names("result total sum output acc copy list found best current value data temp ret")
COUNTERS = names("i j k n idx count step pos")
LIBRARIES = names(
    "class util json lfs inspect vec socket log events config.defaults "
    "lib.table lib.strings core.math"
)
MATHS = names("floor ceil abs sqrt max min sin cos random")
TEXTS = (
    "invalid {thing}",
    "missing {field} for {thing}",
    "cannot {act} {thing}: %s",
    "{thing} not found",
    "{kind}: %d {things}",
    "expected {thing}, got %s",
    "no {field}",
    "{act} failed",
    "{thing}",
    "{field}",
    "{kind}.{field}",
    "{thing}_{field}",
    "{act} %s",
    "done",
    "ok",
    "unknown {field} '%s'",
    "%s = %d",
    "  ",
    ", ",
    "[{kind}] ",
    "",
)
COMMENTS = (
    "{act} the {thing} and return its {field}",
    "returns the {field} of a {thing}",
    "check that the {thing} has a {field}",
    "the {field} is kept between calls to {act}",
    "every {thing} has one {field} and one {other}",
    "make sure we never {act} twice",
    "note: {act} must be called before {verb}",
    "{things} without {field} are ignored",
    "{act} a {thing}",
    "is the {thing} still in use?",
    "default {field}",
    "@param {thing} the {thing} to {act}",
    "@return the new {field}",
    "helper for {act}",
    "fast path: no {thing}",
    "see {kind}.{act}",
)
