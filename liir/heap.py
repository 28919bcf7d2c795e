"""Freed memory goes back to the system.

The C library of most Linux systems keeps freed blocks of many sizes in a heap for each thread, in
case they are wanted again; over hours of video the heaps wear out into holes and the process grows,
though it holds no more than at the start.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable


def trim() -> None:
    """Gives back what is free; does nothing where the C library cannot."""
    release = _malloc_trim()
    if release is not None:
        release(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    """The function of glibc, if this is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        found: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    except OSError:
        return None
    return found
