"""Matching compiled (`compiled/`), for processors with AVX-512: best keys, sums of their values.

Nobody needs it: where there is no such processor or no C++ compiler with OpenMP (`CXX`, or c++, g++
or clang++ on the path), matching is done in PyTorch, and says the same. It is compiled once, in a
few seconds, and kept in the user's cache folder. The environment variable `LIIR_KERNEL=0` leaves
it out.

Legend: R reference frames, C channels, K value channels, h w cells.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from liir.files import written

_SOURCES = Path(__file__).with_name("compiled")
_FLAGS = "-O3 -std=c++17 -shared -fPIC -fopenmp -mavx512f -mavx512bw -mavx512vl".split()
_SECONDS = 120  # for compiling
_MOST = 64  # keys kept of a query: they are inserted one by one

_own = threading.local()  # memory of each thread's last call, for its next one


@dataclass(frozen=True)
class Prior:
    """What takes the place of confident rows in a sum: see `liir.compactness`.

    Attributes:
        gaussians: Of a row, at most.
        threshold: Rows are confident whose largest share is above.
        published: The form with peaks of one.
        bell: (2 reach + 1,) float32, a Gaussian along one axis.
    """

    gaussians: int
    threshold: float
    published: bool
    bell: Tensor


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
    library = _library()
    if library is None or not _fit(query, keys) or not 1 <= topk <= _MOST:
        return None
    frames, dtype = _frames(library, query, keys, radii)
    height, width = query.shape[1:]
    values = torch.empty(height * width, topk)
    cells = torch.empty(height * width, topk, dtype=torch.int64)
    library.liir_match(*frames, topk, *dtype, _place(values), _place(cells))
    return values, cells


def window_sums(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    radius: int,
    temperature: float,
    prior: Prior | None = None,
) -> Tensor | None:
    """Values of the keys in each query's window, summed with the weights of one softmax over them.

    Args:
        query: As for `best_keys`.
        keys: As for `best_keys`.
        values: (R h w, K) float32.
        radius: Of the square window, in cells.
        temperature: Divides products.
        prior: What to read in place of confident rows, those of one query in one reference.

    Returns:
        (h w, K) float32; None where the kernel cannot do it.
    """
    library = _library()
    if library is None or not _fit(query, keys) or not _known(prior):
        return None
    if values.dtype != torch.float32 or not _free(values):
        return None
    frames, dtype = _frames(library, query, keys, [radius] * len(keys))
    height, width = query.shape[1:]
    channels = values.shape[1]
    packed = _scratch("values", len(keys) * height * channels * library.liir_wide(width, radius))
    total = torch.empty(height * width, channels)
    scale = ctypes.c_float(1 / temperature)
    read = _given(values, prior)
    library.liir_tally(*frames, *dtype, _place(packed), scale, *read, _place(total))
    return total


def condensed_sums(
    shares: Tensor, cells: Tensor, values: Tensor, size: tuple[int, int], prior: Prior
) -> Tensor | None:
    """The same over best keys that are known.

    Args:
        shares: (N, k) float32 weights, best first.
        cells: (N, k) int64 cells r h w + y w + x.
        values: (R h w, K) float32.
        size: (h, w).
        prior: What to read in place of confident rows.

    Returns:
        (N, K) float32; None where the kernel cannot do it.
    """
    library = _library()
    if library is None or not _fit(shares, values) or shares.dtype != torch.float32:
        return None
    if shares.shape[1] > _MOST or not _known(prior):
        return None
    total = torch.empty(len(shares), values.shape[1])
    keys = (_place(shares.contiguous()), _place(cells.contiguous()), *shares.shape)
    threads = torch.get_num_threads()
    frames = (len(values) // (size[0] * size[1]), *size)
    library.liir_condense(*keys, *frames, threads, *_given(values, prior), _place(total))
    return total


def _fit(first: Tensor, second: Tensor) -> bool:
    """Whether the kernel can work with these; lanes are those of the first one."""
    if first.dtype == torch.bfloat16:
        known = _bfloat16() and len(first) % 2 == 0
    else:
        known = first.dtype == torch.float32
    return known and second.dtype == first.dtype and _free(first) and _free(second)


def _free(tensor: Tensor) -> bool:
    """Whether it lies in the processor's memory, and nobody asks for its gradient."""
    return tensor.device.type == "cpu" and not (torch.is_grad_enabled() and tensor.requires_grad)


def _known(prior: Prior | None) -> bool:
    return prior is None or 1 <= prior.gaussians <= _MOST


def _frames(
    library: ctypes.CDLL, query: Tensor, keys: Tensor, radii: Sequence[int]
) -> tuple[list[Any], tuple[int, int]]:
    """What tells the kernel of the frames; and of the number format and the threads."""
    references, channels, height, width = keys.shape
    query = query.permute(1, 2, 0).contiguous()
    keys = keys.permute(0, 2, 3, 1).contiguous()
    lanes = channels * query.element_size() // 4
    wide = library.liir_wide(width, max(radii))
    packed = _scratch("keys", references * height * lanes * wide)
    windows = (ctypes.c_int * references)(*radii)
    dtype = (int(query.dtype == torch.bfloat16), torch.get_num_threads())
    places = [_place(query), _place(keys), _place(packed), windows]
    return [*places, references, height, width, lanes], dtype


def _given(values: Tensor, prior: Prior | None) -> tuple[Any, ...]:
    """What tells the kernel what to read."""
    read = (_place(values.contiguous()), values.shape[1])
    if prior is None:
        return *read, 0, ctypes.c_float(0.0), 0, None, 0
    bell = _place(prior.bell.contiguous())
    threshold = ctypes.c_float(prior.threshold)
    return *read, prior.gaussians, threshold, int(prior.published), bell, len(prior.bell) // 2


def _place(tensor: Tensor) -> ctypes.c_void_p:
    """Where it lies in memory; what it was made of must be kept until the call is over."""
    place = ctypes.c_void_p(tensor.data_ptr())
    place.tensor = tensor  # type: ignore[attr-defined]
    return place


def _scratch(name: str, lanes: int) -> Tensor:
    """Memory of that many 32-bit lanes: to ask for it anew every frame costs as much as using it.

    Its contents are finite numbers of the last call at worst, which no result depends on.
    """
    kept: Tensor | None = getattr(_own, name, None)
    if kept is None or len(kept) != lanes:
        kept = torch.zeros(lanes, dtype=torch.int32)
        setattr(_own, name, kept)
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
        sources = sorted(_SOURCES.iterdir())
        told = [*(source.read_bytes() for source in sources), " ".join(flags).encode()]
        name = hashlib.sha256(b"".join(told)).hexdigest()[:16]
        path = _folder() / f"kernel-{name}.so"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with written(path) as partial:
                _compile([*flags, *(str(s) for s in sources if s.suffix == ".cpp")], partial)
        library = ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError):
        return None
    library.liir_wide.restype = ctypes.c_int64
    return library


def _compile(what: list[str], path: Path) -> None:
    """Compiles to a file what flags and sources say, with the first compiler that can.

    Raises:
        OSError: There is no compiler.
        SubprocessError: None of them can.
    """
    names = [os.environ.get("CXX") or "c++", "g++", "clang++"]
    compilers = [found for name in names if (found := shutil.which(name))]
    error: Exception = FileNotFoundError("no C++ compiler")
    for compiler in compilers:
        command = [compiler, *what, "-o", str(path)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
            return
        except subprocess.SubprocessError as wrong:  # no OpenMP, say
            error = wrong
    raise error


def _folder() -> Path:
    """Where this user's programs keep what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "liir"
