"""The compiled search against the same in float64, and where it is left out."""

import stat
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from liir import kernel

needed = pytest.mark.skipif(not kernel.usable(), reason="no AVX-512 or no C++ compiler")


@pytest.fixture
def anew(monkeypatch, tmp_path):
    """A user who never had a kernel, and whose next call looks for one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kernel._library.cache_clear()
    yield tmp_path
    kernel._library.cache_clear()


def made_up(references, channels, height, width, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    query = F.normalize(torch.randn(channels, height, width, generator=generator), dim=0)
    keys = F.normalize(torch.randn(references, channels, height, width, generator=generator), dim=1)
    return query.to(dtype), keys.to(dtype)


def search(query, keys, radius, topk):
    return kernel.best_keys(query, keys, [radius] * len(keys), topk)


def window(query, keys, radius):
    """(h w, R h w) float64 products, minus infinity off the window."""
    height, width = query.shape[1:]
    y, x = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
    near = ((y[:, None] - y).abs() <= radius) & ((x[:, None] - x).abs() <= radius)
    products = torch.einsum("ci,rcj->irj", query.flatten(1).double(), keys.flatten(2).double())
    return products.masked_fill(~near[:, None], -torch.inf).flatten(1)


@needed
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("radius", [0, 1, 3, 4, 5, 12, 16, 21, 28, 40])
def test_finds_the_largest_products_whatever_the_radius(radius, dtype):
    if dtype == torch.bfloat16 and not kernel._bfloat16():
        pytest.skip("no bfloat16 products here")
    query, keys = made_up(3, 6, 11, 29, dtype)
    expected = window(query, keys, radius)
    values, cells = search(query, keys, radius, 3)
    best = expected.topk(3, dim=1).values
    # Sums in float32 of what bfloat16 holds: rounding before them does not count.
    torch.testing.assert_close(values.double(), best, atol=1e-6, rtol=0)
    torch.testing.assert_close(expected.gather(1, cells), best, atol=1e-6, rtol=0)


@needed
def test_a_window_with_fewer_keys_than_asked_for_ends_in_minus_infinity():
    query, keys = made_up(1, 4, 5, 5)
    values, cells = search(query, keys, 1, 9)
    corner = values.view(5, 5, 9)[0, 0]
    assert corner[:4].isfinite().all()
    assert (corner[4:] == -torch.inf).all()
    assert sorted(cells.view(5, 5, 9)[0, 0, :4].tolist()) == [0, 1, 5, 6]


@needed
def test_memory_of_an_earlier_call_does_not_matter():
    small, large = made_up(2, 4, 9, 13), made_up(4, 8, 20, 30, seed=1)
    before = search(*small, 5, 4)
    search(*large, 7, 4)
    kernel._own.packed.fill_(0x7FC00000)  # not a number, in every lane
    again = search(*large, 7, 4)
    kernel._own.packed = None
    fresh = search(*large, 7, 4)
    assert all(map(torch.equal, again, fresh))
    assert all(map(torch.equal, search(*small, 5, 4), before))


@needed
def test_threads_change_nothing():
    query, keys = made_up(2, 8, 33, 17)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = search(query, keys, 6, 5)
        torch.set_num_threads(3)
        together = search(query, keys, 6, 5)
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, alone, together))


@needed
def test_layout_in_memory_changes_nothing():
    query, keys = made_up(2, 8, 10, 12)
    last = keys.to(memory_format=torch.channels_last)
    assert last.stride() != keys.stride()
    assert all(map(torch.equal, search(query, keys, 4, 3), search(query, last, 4, 3)))


def test_what_it_cannot_do_is_left_to_pytorch():
    query, keys = made_up(1, 3, 6, 6)
    assert search(query.bfloat16(), keys.bfloat16(), 2, 2) is None  # half a lane
    assert search(query.double(), keys.double(), 2, 2) is None
    assert search(query, keys, 2, 65) is None
    assert search(query.requires_grad_(), keys, 2, 2) is None


def test_without_a_compiler_there_is_none(anew, monkeypatch):
    monkeypatch.setenv("PATH", str(anew))
    monkeypatch.delenv("CXX", raising=False)
    assert not kernel.usable()
    query, keys = made_up(1, 4, 6, 6)
    assert search(query, keys, 2, 2) is None


def test_a_compiler_that_fails_leaves_nothing_behind(anew, monkeypatch):
    compiler = anew / "compiler"
    compiler.write_text("#!/bin/sh\necho wrong >&2\nexit 1\n")
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(compiler))
    assert not kernel.usable()
    assert not [path for path in (anew / "cache").rglob("*") if path.is_file()]


@needed
def test_it_is_compiled_once(anew, monkeypatch):
    assert kernel.usable()
    kernel._library.cache_clear()
    monkeypatch.setattr(subprocess, "run", None)  # cannot be called
    assert kernel.usable()


def test_it_can_be_left_out():
    asks = "from liir import kernel; raise SystemExit(kernel.usable())"
    done = subprocess.run([sys.executable, "-c", asks], env={"LIIR_KERNEL": "0"}, check=False)
    assert done.returncode == 0
