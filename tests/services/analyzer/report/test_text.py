"""How numbers and names are written: nothing hidden, nothing lost, no two names in one file."""

from __future__ import annotations

from services.analyzer.report.text import file_names, plain


def test_names_that_would_share_a_file_get_different_ones() -> None:
    assert file_names(["a/b", "a_b", "c"]) == {"a/b": "a_b", "a_b": "a_b_", "c": "c"}


def test_what_cannot_be_seen_is_written_as_an_escape() -> None:
    assert plain("the token ` =`") == "the token ` =`"
    assert plain("a\x00b\x1b[31m\n\t") == "a\\x00b\\x1b[31m\\n\\t"
    assert plain("safe \u202egnihton\u202c \u2066x\u2069 \u200b") == (
        "safe \\u202egnihton\\u202c \\u2066x\\u2069 \\u200b"
    )
    assert plain("\ud800 é 加 \U000e0041") == "\\ud800 é 加 \\U000e0041"
    assert len(plain("x" * 10_000)) == 300
