"""The bank never gives a query its own video, and the streamed sum equals the naive one."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from liir.learning.negatives import Bank, negative_lse, window_lse
from liir.learning.shots import identity


def naive(query, query_videos, keys, key_videos, temperature):
    scores = query @ keys.T / temperature
    barred = (query_videos[:, None] == key_videos) | (key_videos < 0)
    return scores.masked_fill(barred, -torch.inf).logsumexp(1)


def inputs(queries=7, negatives=23, channels=4, dtype=torch.float64):
    query = torch.randn(queries, channels, dtype=dtype, requires_grad=True)
    keys = torch.randn(negatives, channels, dtype=dtype)
    return query, torch.arange(queries) % 3, keys, torch.arange(negatives) % 4 - 1


@pytest.mark.parametrize("block", [1, 5, 23, 100])
def test_equals_the_naive_form(block):
    query, videos, keys, owners = inputs(dtype=torch.float32)
    weights = torch.randn(len(query))
    expected = naive(query, videos, keys, owners, 0.07)
    (gradient,) = torch.autograd.grad((expected * weights).sum(), query)
    found = negative_lse(query, videos, keys, owners, 0.07, block)
    (other,) = torch.autograd.grad((found * weights).sum(), query)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert torch.allclose(other, gradient, rtol=1e-5, atol=1e-5)


def test_gradcheck():
    query, videos, keys, owners = inputs()
    assert torch.autograd.gradcheck(
        lambda q: negative_lse(q, videos, keys, owners, 0.5, 6), (query,)
    )
    maps = torch.randn(3, 2, 3, 2, dtype=torch.float64)
    places = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda q: window_lse(
            q, torch.tensor([0, 1]), maps, torch.arange(3), radius=1, temperature=0.5
        ),
        (places,),
    )


def test_no_negatives_at_all():
    query, videos, keys, _ = inputs()
    total = negative_lse(query, videos, keys, torch.full((len(keys),), -1), 0.07)
    assert bool((total == -torch.inf).all())
    torch.logaddexp(total, torch.zeros_like(total)).sum().backward()
    assert bool((query.grad == 0).all())


def test_own_video_takes_no_part():
    query, _, keys, owners = inputs()
    videos = torch.full((len(query),), 1)
    changed = keys.clone()
    changed[owners == 1] += 100.0
    found = negative_lse(query, videos, changed, owners, 0.07)
    assert torch.allclose(found, negative_lse(query, videos, keys, owners, 0.07))


@given(st.lists(st.integers(1, 7), min_size=1, max_size=12))
def test_the_bank_is_first_in_first_out(batches):
    bank = Bank(frames=5, points=2, channels=1)
    pushed = []
    for size in batches:
        videos = torch.arange(len(pushed), len(pushed) + size)
        bank.push(videos.float()[:, None, None].expand(-1, 2, 1), videos)
        pushed += videos.tolist()
        kept = pushed[-5:]
        assert sorted(v for v in bank.videos.tolist() if v >= 0) == kept
        assert bank.full == (len(pushed) >= 5)
        features, owners = bank.negatives()
        real = owners >= 0
        assert torch.equal(features[real, 0], owners[real].float())


@given(st.lists(st.integers(0, 3), min_size=1, max_size=23), st.integers(0, 3))
def test_the_bank_never_gives_a_query_its_own_video(pushed, own):
    """Also after it wraps: the sum is that over what is left of the other videos."""
    bank = Bank(frames=5, points=2, channels=3)
    for number, video in enumerate(pushed):
        frame = torch.full((1, 2, 3), 100.0 if video == own else 0.1 * (number % 7))
        bank.push(frame, torch.tensor([video]))
    query = torch.ones(1, 3)
    found = negative_lse(query, torch.tensor([own]), *bank.negatives(), 1.0)
    others = [0.3 * (n % 7) for n, video in [*enumerate(pushed)][-5:] if video != own]
    expected = torch.tensor(others * 2).logsumexp(0) if others else torch.tensor(-torch.inf)
    assert torch.allclose(found, expected)


def test_copies_of_a_clip_are_one_video(tmp_path: Path) -> None:
    """In two folders, under two names, as in two shards."""
    paths = [tmp_path / "one.mp4", tmp_path / "shard" / "0007.mp4", tmp_path / "other.mp4"]
    paths[1].parent.mkdir()
    content = bytes(torch.randint(0, 256, (200_000,)).tolist())
    for path, data in zip(paths, (content, content, content[::-1]), strict=True):
        path.write_bytes(data)
    one, copy, other = map(identity, paths)
    bank = Bank(frames=2, points=1, channels=3)
    bank.push(torch.tensor([[[9.0, 9.0, 9.0]], [[1.0, 2.0, 3.0]]]), torch.tensor([copy, other]))
    found = negative_lse(torch.ones(1, 3), torch.tensor([one]), *bank.negatives(), 1.0)
    assert float(found) == pytest.approx(6.0)


def test_a_large_bank_takes_half_the_memory() -> None:
    small, large = Bank(1440, 4, 8), Bank(20_000, 4, 8)
    assert (small.features.dtype, large.features.dtype) == (torch.float32, torch.bfloat16)
    keys = torch.randn(20_000, 4, 8)
    large.push(keys, torch.arange(20_000))
    query = torch.randn(3, 8)
    found = negative_lse(query, torch.zeros(3), *large.negatives(), 0.5)
    exact = negative_lse(query, torch.zeros(3), *(keys.flatten(0, 1), large.negatives()[1]), 0.5)
    assert torch.allclose(found, exact, atol=0.02)


MEMORY = """
import resource, torch
from liir.learning.negatives import Bank, negative_lse
torch.set_num_threads(1)
query = torch.randn(4096, 128, requires_grad=True)
for frames in (1440, 14400):
    bank = Bank(frames, 4, 128)
    for first in range(0, frames, 8):  # as in training: a batch at a time
        bank.push(torch.randn(8, 4, 128), first + torch.arange(8))
    negative_lse(query, torch.arange(4096), *bank.negatives(), 0.07).sum().backward()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


class Largest(TorchDispatchMode):
    """Remembers the most numbers that any result of an operation held."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numbers = max(self.numbers, result.untyped_storage().nbytes() // 4)
        return result


def test_queries_times_negatives_are_never_held() -> None:
    query, keys = torch.randn(50, 8, requires_grad=True), torch.randn(30_000, 8)
    with Largest() as seen:
        total = negative_lse(query, torch.zeros(50), keys, torch.ones(30_000), 0.07)
    assert 50 * 1024 <= seen.numbers < max(2 * 50 * 1024, keys.numel() + 1)
    with Largest() as seen:
        total.sum().backward()
    assert 0 < seen.numbers <= query.numel()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads KiB, as Linux gives them")
def test_ten_times_the_negatives_take_no_more_memory() -> None:
    """The naive form's similarities alone would take 0.8 GiB more, with gradients 2.5 GiB."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    few, many = map(int, done.stdout.split())
    assert many - few < 64 * 1024


def test_the_bank_resumes():
    bank = Bank(4, 2, 3)
    bank.push(torch.randn(6, 2, 3), torch.arange(6))
    other = Bank(4, 2, 3)
    other.load_state_dict(bank.state_dict())
    for each in (bank, other):
        each.push(torch.ones(1, 2, 3), torch.tensor([9]))
    assert torch.equal(bank.features, other.features)
    assert torch.equal(bank.videos, other.videos)


def test_the_same_window_of_other_videos():
    """Against one dense softmax over all frames of other videos and the window around a query."""
    query = torch.randn(2, 4, 6, 7, dtype=torch.float64, requires_grad=True)
    keys = torch.randn(5, 4, 6, 7, dtype=torch.float64)
    owners = torch.tensor([0, 1, 2, -1, 1])
    videos = torch.tensor([1, 7])
    found = window_lse(query, videos, keys, owners, radius=2, temperature=0.5)
    for b, y, x in [(0, 0, 0), (0, 3, 4), (1, 5, 6), (1, 2, 2)]:
        others = keys[(owners >= 0) & (owners != videos[b])]
        near = others[:, :, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
        scores = torch.einsum("c,fchw->fhw", query[b, :, y, x], near) / 0.5
        torch.testing.assert_close(found[b, y, x], scores.flatten().logsumexp(0))
    found.sum().backward()
    assert bool(query.grad.isfinite().all())
    alone = window_lse(query, videos, keys, torch.full((5,), -1), radius=2, temperature=0.5)
    assert bool((alone == -torch.inf).all())
    query.grad = None
    torch.sigmoid(-alone).sum().backward()
    assert bool((query.grad == 0).all())
