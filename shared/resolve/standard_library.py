"""The source of the running interpreter's standard library: its files, and their digest."""

from __future__ import annotations

import hashlib
import sysconfig
from pathlib import Path

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
