"""The compiled loops against the same in float64 or in PyTorch, and where they are left out."""

import stat
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from liir import kernel
from liir.compactness import condensed, condensed_window
from liir.matching import match
from liir.presets import TrackingConfig

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


# --- sums of values


def sums(query, keys, values, radius=4, temperature=0.1, prior=None):
    form = {"radius": radius, "temperature": temperature, "prior": prior}
    return kernel.window_sums(query, keys, values, **form)


@needed
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("radius", [0, 1, 4, 12, 20, 21, 40])
@pytest.mark.parametrize("channels", [1, 3, 20])
def test_whole_windows_are_summed(radius, dtype, channels):
    if dtype == torch.bfloat16 and not kernel._bfloat16():
        pytest.skip("no bfloat16 products here")
    query, keys = made_up(3, 6, 11, 29, dtype)
    values = torch.randn(3 * 11 * 29, channels)
    shares = (window(query, keys, radius) / 0.1).softmax(dim=1)
    found = sums(query, keys, values, radius)
    torch.testing.assert_close(found.double(), shares @ values.double(), atol=3e-6, rtol=1e-5)


@needed
@pytest.mark.parametrize("temperature", [1e-4, 1e4])
@pytest.mark.parametrize("length", [1.0, 300.0])
def test_scores_of_any_size(temperature, length):
    """A softmax of scores far apart is its largest; of scores close together, their mean."""
    query, keys = made_up(2, 8, 9, 20)
    values = torch.randn(360, 2)
    scores = window(length * query, keys, 5) / temperature
    found = sums(length * query, keys, values, 5, temperature)
    expected = scores.softmax(dim=1) @ values.double()
    # Products are float32: as many of their bits are lost as the temperature makes of one.
    near = 1e-5 + 1e-7 * length / temperature
    best = scores.topk(2, dim=1).values
    sure = best[:, 0] - best[:, 1] > 20 if temperature < 1 else scores[:, 0] == scores[:, 0]
    assert sure.float().mean() > 0.9
    torch.testing.assert_close(found[sure].double(), expected[sure], atol=min(near, 1e-4), rtol=0)


def condensing(radius, **changes):
    fields = {"radius": radius, "temperature": 0.1, "topk": None, "gaussians": 2} | changes
    return TrackingConfig(**fields)


def without_kernel(monkeypatch, call):
    with monkeypatch.context() as patch:
        patch.setattr(kernel, "_library", lambda: None)
        return call()


@needed
@pytest.mark.parametrize("form", ["mass", "published"])
@pytest.mark.parametrize("gaussians", [1, 2, 3, 7])
@pytest.mark.parametrize("radius", [2, 12, 20, 33])
def test_gaussians_in_whole_windows(monkeypatch, gaussians, form, radius):
    """In windows of any number of vectors, and thresholds that few, some and all rows reach."""
    query, keys = made_up(3, 12, 21, 37)
    values = torch.rand(3 * 21 * 37, 3)
    for threshold in (0.0, 0.05, 0.3):
        config = condensing(
            radius, gaussians=gaussians, compact_form=form, compact_threshold=threshold
        )

        def tally(config=config):
            return condensed_window(query, keys, config)(values)

        expected = without_kernel(monkeypatch, tally)
        torch.testing.assert_close(tally(), expected, atol=2e-5, rtol=1e-4)


@needed
def test_gaussians_around_keys_one_above_the_other(monkeypatch):
    """The best keys of each query lie in one column: all in one lane of the kernel's vectors."""
    query, keys = made_up(1, 8, 40, 40)
    keys = 0.2 * keys
    for away in (-11, -3, 4, 9):
        keys[0] += (
            (1 - 0.05 * away**2 / 121) * query.roll(away, dims=1) * (torch.arange(40) % 3 > 0)
        )
    values = torch.rand(1600, 2)
    config = condensing(12, gaussians=3)

    def tally():
        return condensed_window(query, keys, config)(values)

    torch.testing.assert_close(tally(), without_kernel(monkeypatch, tally), atol=2e-5, rtol=1e-4)


@needed
@pytest.mark.parametrize("form", ["mass", "published"])
@pytest.mark.parametrize("gaussians", [1, 3])
def test_gaussians_over_best_keys(monkeypatch, gaussians, form):
    query, keys = made_up(3, 12, 15, 23)
    values = torch.rand(3 * 15 * 23, 3)
    matches = match(query, keys, radius=6, topk=9, temperature=0.1)
    config = condensing(6, topk=9, gaussians=gaussians, compact_form=form)

    def tally():
        return condensed(matches, 3, (15, 23), config)(values)

    torch.testing.assert_close(tally(), without_kernel(monkeypatch, tally), atol=1e-5, rtol=1e-4)


# --- both


def calls(query, keys):
    """Everything that the kernel says of some frames."""
    values = torch.rand(keys[:, 0].numel(), 3, generator=torch.Generator().manual_seed(1))
    prior = kernel.Prior(2, 0.1, False, torch.tensor([0.2, 1.0, 0.2]))
    shares, cells = kernel.best_keys(query, keys, [6] * len(keys), 5)
    size = (query.shape[1], query.shape[2])
    return [
        *(shares, cells, sums(query, keys, values), sums(query, keys, values, prior=prior)),
        kernel.condensed_sums(shares.softmax(1), cells, values, size, prior),
    ]


@needed
def test_memory_of_an_earlier_call_does_not_matter():
    small, large = made_up(2, 4, 9, 13), made_up(4, 8, 20, 30, seed=1)
    before = calls(*small)
    calls(*large)
    kernel._own.keys.fill_(0x7FC00000)  # not a number, in every lane
    kernel._own.values.fill_(0x7FC00000)
    again = calls(*large)
    kernel._own.keys = kernel._own.values = None
    fresh = calls(*large)
    assert all(map(torch.equal, again, fresh))
    assert all(map(torch.equal, calls(*small), before))


@needed
def test_threads_change_nothing():
    frames = made_up(2, 8, 33, 17)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = calls(*frames)
        torch.set_num_threads(3)
        together = calls(*frames)
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, alone, together))


@needed
def test_layout_in_memory_changes_nothing():
    query, keys = made_up(2, 8, 10, 12)
    last = keys.to(memory_format=torch.channels_last)
    assert last.stride() != keys.stride()
    assert all(map(torch.equal, calls(query, keys), calls(query, last)))


def test_what_it_cannot_do_is_left_to_pytorch():
    query, keys = made_up(1, 3, 6, 6)
    values = torch.rand(36, 2)
    for kind in (torch.bfloat16, torch.double):  # half a lane; no lane
        assert search(query.to(kind), keys.to(kind), 2, 2) is None
        assert sums(query.to(kind), keys.to(kind), values) is None
        assert sums(query, keys, values.to(kind)) is None
    assert search(query, keys.double(), 2, 2) is None
    assert search(query, keys, 2, 65) is None
    assert sums(query, keys, values, prior=kernel.Prior(65, 0.1, False, torch.ones(3))) is None
    assert sums(query, keys, values.requires_grad_()) is None
    assert search(query.requires_grad_(), keys, 2, 2) is None


def test_without_a_compiler_there_is_none(anew, monkeypatch):
    monkeypatch.setenv("PATH", str(anew))
    monkeypatch.delenv("CXX", raising=False)
    assert not kernel.usable()
    query, keys = made_up(1, 4, 6, 6)
    assert search(query, keys, 2, 2) is None


def failing(folder):
    compiler = folder / "compiler"
    compiler.write_text("#!/bin/sh\necho wrong >&2\nexit 1\n")
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    return str(compiler)


def test_a_compiler_that_fails_leaves_nothing_behind(anew, monkeypatch):
    monkeypatch.setenv("CXX", failing(anew))
    monkeypatch.setenv("PATH", str(anew))
    assert not kernel.usable()
    assert not [path for path in (anew / "cache").rglob("*") if path.is_file()]


@needed
def test_another_compiler_takes_its_place(anew, monkeypatch):
    monkeypatch.setenv("CXX", failing(anew))
    assert kernel.usable()


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
