"""Freed memory leaves the process."""

import platform
import subprocess
import sys

import pytest

from liir.heap import trim

GROW = """
import ctypes, sys
from pathlib import Path
from liir.heap import trim

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [libc.malloc(65536) for _ in range(1600)]  # 100 MiB of the heap
for block in blocks:
    ctypes.memset(ctypes.c_void_p(block), 1, 65536)
full = resident()
for block in blocks[:-1]:  # the last one keeps the top of the heap in use
    libc.free(block)
freed = resident()
trim()
print(full, freed, resident())
"""


def test_trimming_can_be_asked_for_anywhere():
    trim()
    trim()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's heap alone is trimmed")
def test_what_was_freed_below_the_top_of_the_heap_goes_back():
    run = subprocess.run(
        [sys.executable, "-c", GROW], capture_output=True, text=True, check=True, timeout=60
    )
    full, freed, trimmed = map(int, run.stdout.split())
    assert freed > full - 20  # or the test would show nothing
    assert trimmed < full - 80
