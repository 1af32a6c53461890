"""Choose the device, the number of threads and the precision of computations.

Every choice follows from settings and from the processor's features, never from a timing: a choice
by timing could differ between two runs of the same key, and so could the bits.
"""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]

# Training steps of one layer, 32 x 128 tokens, one core of Zen 4 (AVX-512 with bf16, no AMX), in
# float32 / bfloat16: hidden 32 17 / 14 ms, 64 74 / 55, 96 113 / 80, 128 145 / 98, 256 243 / 148
# (bench/lm_step.py). Below 64 the gain is not worth the rounding.
BFLOAT16_FROM_WIDTH = 64


@cache
def set_threads() -> int:
    """Use LINEAMENT_THREADS threads (default: the processors this process may run on).

    Also sends float32 products to oneDNN where that is faster at the same accuracy. Returns the
    number of threads. Only the first call has an effect.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = int(os.environ.get("LINEAMENT_THREADS") or available or 1)
    torch.set_num_threads(threads)
    if fast_float32():
        torch.set_float32_matmul_precision("medium")
    return threads


def fast_float32() -> bool:
    """True where "medium" means oneDNN's float32 kernels and not bf16 arithmetic.

    On an x86 processor without AMX it gives 6e-7 relative error at twice the speed of MKL on AMD
    processors; with AMX, on Arm and on CUDA it would compute in a shorter format.
    """
    return (
        platform.machine().lower() in ("x86_64", "amd64")
        and torch.cpu._is_avx512_supported()
        and not torch.cpu._is_amx_tile_supported()
        and not torch.cuda.is_available()
    )


# malloc parameters of glibc's <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_memory() -> None:
    """Let the allocator keep freed memory for the next step instead of giving it back.

    A training step frees and takes the same large arrays over and over; glibc maps each anew, and
    the kernel's zeroing of them takes 7 % of a step at the paper's shape (keeping them costs 1 %
    more memory at the peak). Only glibc; elsewhere nothing happens. It affects the whole process,
    so only a stage process calls it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None and platform.libc_ver()[0] == "glibc":
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**26)


def device() -> torch.device:
    """The device that LINEAMENT_DEVICE names (auto, cpu or cuda); sets the threads as well.

    Raises ValueError for another value, or for cuda where there is none.
    """
    set_threads()
    name = os.environ.get("LINEAMENT_DEVICE") or "auto"
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"LINEAMENT_DEVICE is {name!r}: it must be auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("LINEAMENT_DEVICE is cuda, but torch finds no CUDA device")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def resolve(precision: str, on: torch.device, width: int | None = None) -> str:
    """float32 or bfloat16 for a precision that may be "auto".

    "auto" is bfloat16 on CUDA, and on a CPU whose instructions multiply bf16 when `width` (the
    narrow side of the model's products) is at least BFLOAT16_FROM_WIDTH or not given.
    """
    if precision != "auto":
        return precision
    if on.type == "cuda":
        return "bfloat16"
    wide = width is None or width >= BFLOAT16_FROM_WIDTH
    return "bfloat16" if wide and _native_bfloat16() else "float32"


def _native_bfloat16() -> bool:
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(
    precision: str, on: torch.device, width: int | None = None
) -> AbstractContextManager[object]:
    """A context in which products run in `precision` (auto, float32 or bfloat16) on a device."""
    if resolve(precision, on, width) == "float32":
        return nullcontext()
    return torch.autocast(on.type, torch.bfloat16)
