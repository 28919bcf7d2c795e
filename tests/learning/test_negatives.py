"""The bank never gives a query its own video, and the streamed sum equals the naive one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from liir.learning.negatives import Bank, negative_lse, window_lse


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
