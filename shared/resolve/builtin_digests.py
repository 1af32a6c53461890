"""What the built-in corpora hold, by content, so that a stage's key changes when they do."""

from __future__ import annotations

import hashlib
import sysconfig
from pathlib import Path

# sha256 over the first 500 documents of seed 0, texts and spans; a test computes them anew.
BUILTIN_DIGESTS: dict[str, str] = {
    "baby": "dfcaea6fec5fd84194a4b1ab87842dba0a0d9a8611466b84ead58dc0923332bb",
    "stories": "b425988427ad0541dbe613ac703f19a73460198912dfdfb0d2e859f609ce7f4d",
    "lua": "488806ef5857d43f2587a06b08a5a8e76a857130d6115c41babe330e15726014",
}

# Installed packages, tests and demos; then what was generated: tables of code points, help texts.
NOT_LIBRARY = frozenset(
    {
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        "idlelib",
        "lib2to3",
        "turtledemo",
        "__pycache__",
        "encodings",
        "pydoc_data",
    }
)


def python_stdlib_root() -> Path:
    """The directory with the running interpreter's standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def python_stdlib_files() -> list[Path]:
    """The library's own source files, sorted; see NOT_LIBRARY for what is left out."""
    root = python_stdlib_root()
    return [
        path
        for path in sorted(root.rglob("*.py"))
        if NOT_LIBRARY.isdisjoint(path.relative_to(root).parts[:-1]) and path.is_file()
    ]


def python_stdlib_digest() -> str:
    """sha256 (hex) over the relative paths and the bytes of python_stdlib_files()."""
    root = python_stdlib_root()
    digest = hashlib.sha256()
    for path in python_stdlib_files():
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
