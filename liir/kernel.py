"""The search for the best keys, compiled: `kernel.cpp`, for processors with AVX-512.

Nobody needs it: where there is no such processor or no C++ compiler (`CXX`, or c++, g++ or clang++
on the path), matching is done in PyTorch, and finds the same keys. It is compiled once, in about
two seconds, and kept in the user's cache folder. The environment variable `LIIR_KERNEL=0` leaves
it out.

Legend: R reference frames, C channels, h w cells.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from liir.files import written

_SOURCE = Path(__file__).with_suffix(".cpp")
_FLAGS = "-O3 -std=c++17 -shared -fPIC -pthread -mavx512f -mavx512bw -mavx512vl".split()
_SECONDS = 120  # for compiling
_MOST = 64  # keys kept of a query: they are inserted one by one

_own = threading.local()  # memory of each thread's last call, for its next one


def usable() -> bool:
    """Whether matching runs through the kernel here, compiling it if need be."""
    return _library() is not None


def best_keys(
    query: Tensor, keys: Tensor, radii: Sequence[int], topk: int
) -> tuple[Tensor, Tensor] | None:
    """The `topk` keys with the largest dot product with each query, in its window.

    Products are summed in float32, whatever the dtype. Fastest if C lies closest in memory.

    Args:
        query: (C, h, w) float32, or bfloat16 with an even C.
        keys: (R, C, h, w) of the same dtype.
        radii: Of the square window in each reference, in cells.
        topk: Keys to keep.

    Returns:
        (h w, topk) float32 products, best first, minus infinity where a window has fewer keys;
        and (h w, topk) int64 cells r h w + y w + x. None where the kernel cannot do it.
    """
    kind = query.dtype
    known = kind == torch.float32 or (kind == torch.bfloat16 and len(query) % 2 == 0)
    if query.device.type != "cpu" or not known or not 1 <= topk <= _MOST:
        return None
    if torch.is_grad_enabled() and (query.requires_grad or keys.requires_grad):
        return None
    library = _library()
    if library is None or (kind == torch.bfloat16 and not _bfloat16()):
        return None
    references, channels, height, width = keys.shape
    query = query.permute(1, 2, 0).contiguous()
    keys = keys.permute(0, 2, 3, 1).contiguous()
    lanes = channels * query.element_size() // 4
    packed = _scratch(references * height * lanes * library.liir_wide(width, max(radii)))
    values = torch.empty(height * width, topk)
    cells = torch.empty(height * width, topk, dtype=torch.int64)
    library.liir_match(
        *(ctypes.c_void_p(t.data_ptr()) for t in (query, keys, packed)),
        (ctypes.c_int * references)(*radii),
        *(references, height, width, lanes, topk),
        *(int(kind == torch.bfloat16), torch.get_num_threads()),
        *(ctypes.c_void_p(t.data_ptr()) for t in (values, cells)),
    )
    return values, cells


def _scratch(lanes: int) -> Tensor:
    """Memory of that many 32-bit lanes: to ask for it anew every frame costs as much as using it.

    Its contents are finite numbers of the last call at worst, which no result depends on.
    """
    kept: Tensor | None = getattr(_own, "packed", None)
    if kept is None or len(kept) != lanes:
        _own.packed = kept = torch.zeros(lanes, dtype=torch.int32)
    return kept


def _bfloat16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported())


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The compiled kernel; None where there is none."""
    if os.environ.get("LIIR_KERNEL") == "0" or not torch.cpu._is_avx512_supported():
        return None
    flags = [*_FLAGS, *(["-mavx512bf16"] if _bfloat16() else [])]
    try:
        source = _SOURCE.read_bytes()
        name = hashlib.sha256(source + " ".join(flags).encode()).hexdigest()[:16]
        path = _folder() / f"kernel-{name}.so"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with written(path) as partial:
                _compile(flags, partial)
        library = ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError):
        return None
    library.liir_wide.restype = ctypes.c_int64
    return library


def _compile(flags: list[str], path: Path) -> None:
    """Compiles to a file.

    Raises:
        OSError: There is no compiler.
        SubprocessError: It fails.
    """
    names = [os.environ.get("CXX") or "c++", "g++", "clang++"]
    compiler = next((found for name in names if (found := shutil.which(name))), None)
    if compiler is None:
        raise FileNotFoundError("no C++ compiler")
    command = [compiler, *flags, str(_SOURCE), "-o", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)


def _folder() -> Path:
    """Where this user's programs keep what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "liir"
