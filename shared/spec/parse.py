"""Read the text of a spec, YAML or JSON, into plain values; no text can do harm.

YAML is read event by event from libyaml's parser: no anchors and aliases (a kilobyte of them can
stand for gigabytes), no tags, no recursion, every mapping key once. Unquoted words mean what they
mean in YAML 1.2: `2e-5` is a number and `no` a word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Never

import yaml

from shared.spec.errors import SpecError

SPEC_LIMIT = 1 << 20  # 1 MiB; the paper's spec has 4 KiB
MAX_DEPTH = 20  # levels; a spec has 6
MAX_NODES = 100_000  # scalars, lists and mappings
ROOT = "spec"  # the path in errors that belong to no field

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]{0,29})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]{1,4})?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def read_text(text: str | bytes) -> Any:
    """The values of a YAML or JSON document; SpecError when it is too large or not well-formed."""
    size = len(text) if isinstance(text, bytes) else len(text.encode(errors="surrogatepass"))
    if size > SPEC_LIMIT:
        raise SpecError(ROOT, f"is too large: {size:,} bytes, at most {SPEC_LIMIT:,} are read")
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        decoded.encode()
    except UnicodeError:
        raise SpecError(ROOT, "is not UTF-8 text") from None
    if decoded.lstrip().startswith("{"):
        try:
            return _read_json(decoded)
        except json.JSONDecodeError:
            pass  # it may be a flow mapping of YAML
    return _read_yaml(decoded)


def _read_json(text: str) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()  # an escape may be half of a character
        return _checked(value)
    except json.JSONDecodeError:
        raise
    except UnicodeEncodeError:
        raise SpecError(ROOT, "has half of a surrogate pair, which is not text") from None
    except RecursionError:
        raise SpecError(ROOT, f"is nested deeper than {MAX_DEPTH} levels") from None
    except SpecError:
        raise
    except ValueError:  # Python refuses to read numbers of thousands of digits
        raise SpecError(ROOT, "has a number of too many digits") from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        if key in mapping:
            raise SpecError(ROOT, f"has the field {key[:100]!r} twice in one place")
        mapping[key] = value
    return mapping


def _no_constant(word: str) -> Never:
    raise SpecError(ROOT, f"has {word}, which is not a number")


def _checked(value: Any) -> Any:
    """The value itself; SpecError when it is nested too deep or has too many nodes."""
    level, nodes = [value], 0
    for _ in range(MAX_DEPTH + 1):
        nodes += len(level)
        if nodes > MAX_NODES:
            raise SpecError(ROOT, f"has more than {MAX_NODES:,} values")
        level = [child for node in level for child in _children(node)]
        if not level:
            return value
    raise SpecError(ROOT, f"is nested deeper than {MAX_DEPTH} levels")


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _read_yaml(text: str) -> Any:
    try:
        return _Builder().build(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise SpecError(ROOT, f"{line}is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError:
        raise SpecError(ROOT, "is not YAML: it has characters that YAML does not allow") from None


class _Builder:
    """Builds values out of YAML events, with its own stack in place of recursion."""

    def __init__(self) -> None:
        self._stack: list[dict[str, Any] | list[Any]] = []
        self._keys: list[str | None] = []  # for each level, the key that waits for its value
        self._nodes = 0
        self._line = 1

    def build(self, events: Iterator[yaml.Event]) -> Any:
        """The value of the only document; SpecError when there is not exactly one."""
        documents: list[Any] = []
        for event in events:
            if event.start_mark is not None:
                self._line = event.start_mark.line + 1
            if isinstance(event, yaml.NodeEvent):
                self._refuse_tricks(event)
                self._node(event, documents)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._stack.pop()
                self._keys.pop()
        if len(documents) != 1:
            raise SpecError(ROOT, f"must be one document, there are {len(documents)}")
        return documents[0]

    def _fail(self, message: str) -> Never:
        raise SpecError(ROOT, f"line {self._line}: {message}")

    def _refuse_tricks(self, event: yaml.NodeEvent) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            self._fail("anchors and aliases are not allowed")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._fail(f"tags are not allowed ({str(tag)[:60]})")
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._fail(f"has more than {MAX_NODES:,} values")
        if len(self._stack) > MAX_DEPTH:
            self._fail(f"is nested deeper than {MAX_DEPTH} levels")

    def _node(self, event: yaml.NodeEvent, documents: list[Any]) -> None:
        parent = self._stack[-1] if self._stack else documents
        if isinstance(parent, dict) and self._keys[-1] is None:
            self._key(event, parent)
            return
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        if isinstance(event, yaml.ScalarEvent):
            value = _plain(event.value) if event.implicit[0] else event.value
        if isinstance(parent, dict):
            parent[self._keys[-1] or ""] = value
            self._keys[-1] = None
        else:
            parent.append(value)
        if not isinstance(event, yaml.ScalarEvent):
            self._stack.append(value)
            self._keys.append(None)

    def _key(self, event: yaml.NodeEvent, parent: dict[str, Any]) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            self._fail("the name of a field must be a word")
        if event.value in parent:
            self._fail(f"has the field {event.value[:100]!r} twice in one place")
        self._keys[-1] = event.value


def _plain(word: str) -> Any:
    """The value of an unquoted word in YAML 1.2 (core schema), where 50_000 is a number too."""
    if _NULL.fullmatch(word):
        return None
    if word in _BOOL:
        return _BOOL[word]
    if _INT.fullmatch(word):
        return int(word.replace("_", ""))
    if _FLOAT.fullmatch(word):
        return float(word.replace("_", ""))
    if _SPECIAL.fullmatch(word):
        return float(word.replace(".", ""))
    return word
