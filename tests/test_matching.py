"""The tiled affinity against a dense one in float64, and the laws it must obey."""

import pytest
import torch
from torch.nn import functional as F

from liir import kernel, matching
from liir.matching import match, normalise, reconstruct

TEMPERATURE = 0.07

both_ways = pytest.mark.usefixtures("compiled")


def features(references, height, width, channels=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    query = F.normalize(torch.randn(channels, height, width, generator=generator), dim=0)
    keys = F.normalize(torch.randn(references, channels, height, width, generator=generator), dim=1)
    return query, keys


def dense(query, keys, radius):
    """(h w, R h w) float64 similarities over the temperature, minus infinity off the window.

    The radius: one, or one for each reference.
    """
    height, width = query.shape[1:]
    y, x = (
        g.flatten()
        for g in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    )
    away = torch.maximum((y[:, None] - y).abs(), (x[:, None] - x).abs())
    near = away[:, None] <= torch.as_tensor(radius).expand(len(keys))[:, None]
    scores = torch.einsum("ci,rcj->irj", query.flatten(1).double(), keys.flatten(2).double())
    return (scores / TEMPERATURE).masked_fill(~near, -torch.inf).flatten(1)


SHAPES = [
    (9, 13, 3, 2, 1),
    (5, 7, 20, 3, 4),
    (17, 16, 6, 1, 40),
    (1, 1, 2, 1, 2),
    (24, 31, 4, 8, 3),
    (8, 33, 1, 5, 2),
    (10, 10, 0, 2, 3),
]


@pytest.mark.parametrize(("height", "width", "radius", "references", "labels"), SHAPES)
def test_reconstruction_equals_dense_softmax(height, width, radius, references, labels):
    query, keys = features(references, height, width)
    values = torch.rand(references, labels, height, width)
    scores = dense(query, keys, radius)
    expected = scores.softmax(1) @ values.double().permute(0, 2, 3, 1).flatten(0, 2)
    rebuilt, lse = reconstruct(
        query[None], keys[None], values[None], radius=radius, temperature=TEMPERATURE
    )
    assert torch.allclose(rebuilt[0].flatten(1).T.double(), expected, atol=1e-5)
    assert torch.allclose(lse.flatten().double(), scores.logsumexp(1), atol=1e-5)


@both_ways
@pytest.mark.parametrize("topk", [1, 5])
@pytest.mark.parametrize(("height", "width", "radius", "references", "labels"), SHAPES)
def test_matches_equal_dense_topk(height, width, radius, references, labels, topk):
    query, keys = features(references, height, width)
    scores = dense(query, keys, radius)
    found = match(query, keys, radius=radius, topk=topk, temperature=TEMPERATURE)
    best = scores.topk(min(topk, scores.shape[1]), dim=1).values
    assert torch.allclose(found.values.double(), best, atol=1e-5)
    assert torch.allclose(found.lse.double(), best.logsumexp(1), atol=1e-5)
    # The cells are where those values are, each once.
    there = scores.gather(1, found.cells)
    real = found.values > -torch.inf
    assert torch.allclose(there[real], best[real], atol=1e-5)
    for row, keep in zip(found.cells, real, strict=True):
        assert len(set(row[keep].tolist())) == int(keep.sum())


@both_ways
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("radii", [(2, 5, 2, 1), (0, 30, 4, 4)])
def test_each_reference_has_its_window(radii, full):
    query, keys = features(4, 11, 21)
    scores = dense(query, keys, radii)
    best, cells = scores.topk(6, dim=1)
    found = match(query, keys, radius=radii, topk=6, temperature=TEMPERATURE, full=full)
    assert torch.allclose(found.values.double(), best, atol=1e-5)
    assert torch.equal(found.cells, cells)
    total = scores if full else best
    assert torch.allclose(found.lse.double(), total.logsumexp(1), atol=1e-5)


@both_ways
@pytest.mark.parametrize(("height", "width", "radius", "references", "labels"), SHAPES)
def test_tallied_labels_equal_dense_ones(height, width, radius, references, labels):
    query, keys = features(references, height, width)
    values = torch.rand(references * height * width, labels)
    scores = dense(query, keys, radius)
    best, cells = scores.topk(min(5, scores.shape[1]), dim=1)
    weights = torch.zeros_like(scores).scatter(1, cells, best.softmax(1))
    found = match(query, keys, radius=radius, topk=5, temperature=TEMPERATURE).tally(values)
    assert torch.allclose(found.double(), weights @ values.double(), atol=1e-5)


@both_ways
def test_a_radius_far_beyond_the_map_costs_no_more():
    query, keys = features(2, 6, 9)
    near = match(query, keys, radius=8, topk=3, temperature=TEMPERATURE)
    far = match(query, keys, radius=10**6, topk=3, temperature=TEMPERATURE)
    assert torch.equal(near.values, far.values)


def test_full_log_sum_exp():
    query, keys = features(3, 11, 9)
    found = match(query, keys, radius=3, topk=4, temperature=TEMPERATURE, full=True)
    assert torch.allclose(found.lse.double(), dense(query, keys, 3).logsumexp(1), atol=1e-5)


def test_batch_samples_do_not_meet():
    query, keys = zip(*(features(2, 10, 12, seed=s) for s in range(3)), strict=True)
    values = torch.rand(3, 2, 3, 10, 12)
    together = reconstruct(
        torch.stack(query), torch.stack(keys), values, radius=4, temperature=TEMPERATURE
    )[0]
    for b in range(3):
        alone = reconstruct(
            query[b][None], keys[b][None], values[b][None], radius=4, temperature=TEMPERATURE
        )[0]
        assert torch.allclose(together[b], alone[0], atol=1e-6)


@pytest.mark.parametrize("scores_at_once", [1, 20_000, 1 << 30])
def test_chunking_changes_nothing(monkeypatch, scores_at_once):
    monkeypatch.setattr(kernel, "_library", lambda: None)
    query, keys = features(2, 20, 27)
    expected = match(query, keys, radius=5, topk=6, temperature=TEMPERATURE)
    monkeypatch.setattr(matching, "_CHUNK_SCORES", scores_at_once)
    found = match(query, keys, radius=5, topk=6, temperature=TEMPERATURE)
    assert torch.allclose(found.values, expected.values, atol=1e-5)
    assert torch.allclose(found.lse, expected.lse, atol=1e-5)
    assert torch.equal(found.cells, expected.cells)


def test_window_over_the_whole_map_is_global_attention():
    query, keys = features(2, 6, 9)
    values = torch.rand(1, 2, 3, 6, 9)
    rebuilt, _ = reconstruct(query[None], keys[None], values, radius=50, temperature=TEMPERATURE)
    flat = keys.permute(0, 2, 3, 1).reshape(-1, 8)
    attention = (query.flatten(1).T @ flat.T / TEMPERATURE).softmax(1)
    expected = attention @ values[0].permute(0, 2, 3, 1).reshape(-1, 3)
    assert torch.allclose(rebuilt[0].flatten(1).T, expected, atol=1e-5)


@both_ways
@pytest.mark.parametrize("dims", [(-1,), (-2,), (-1, -2)])
def test_best_keys_commute_with_flips(dims):
    query, keys = features(2, 13, 10)
    values = torch.rand(2, 3, 13, 10)

    def tally(query, keys, values):
        found = match(query, keys, radius=3, topk=4, temperature=TEMPERATURE)
        return found.tally(values.permute(0, 2, 3, 1).flatten(0, 2)).T.reshape(3, 13, 10)

    flipped = tally(query.flip(dims), keys.flip(dims), values.flip(dims))
    assert torch.allclose(flipped, tally(query, keys, values).flip(dims), atol=1e-5)


@pytest.mark.parametrize("dims", [(-1,), (-2,), (-1, -2)])
def test_matching_commutes_with_flips(dims):
    query, keys = features(2, 13, 10)
    values = torch.rand(1, 2, 3, 13, 10)
    rebuilt, _ = reconstruct(query[None], keys[None], values, radius=3, temperature=TEMPERATURE)
    flipped, _ = reconstruct(
        query[None].flip(dims),
        keys[None].flip(dims),
        values.flip(dims),
        radius=3,
        temperature=TEMPERATURE,
    )
    assert torch.allclose(flipped, rebuilt.flip(dims), atol=1e-5)


@both_ways
def test_identical_frames_match_themselves():
    query, _ = features(1, 19, 23, channels=16)
    found = match(query, query[None], radius=6, topk=1, temperature=TEMPERATURE)
    assert torch.equal(found.cells[:, 0], torch.arange(19 * 23))


def test_gradients():
    query, keys = features(2, 5, 6, channels=3)
    values = torch.rand(1, 2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    query = query[None].double().requires_grad_()
    keys = keys[None].double().requires_grad_()

    def function(q, k, v):
        return reconstruct(q, k, v, radius=2, temperature=0.5)

    assert torch.autograd.gradcheck(function, (query, keys, values))


@pytest.mark.parametrize("count", [640, 1000, 5120, 5121])
def test_two_level_topk_is_topk(count):
    scores = torch.randn(40, count)
    scores[:, ::3] = -torch.inf
    scores[0] = -torch.inf
    best, index = matching.largest(scores, 10)
    assert torch.equal(best, scores.topk(10, dim=1).values)
    assert torch.equal(scores[1:].gather(1, index[1:]), best[1:])


@both_ways
def test_bfloat16_is_close():
    query, keys = features(3, 24, 24, channels=64)
    exact = match(query, keys, radius=5, topk=5, temperature=1.0)
    rough = match(query.bfloat16(), keys.bfloat16(), radius=5, topk=5, temperature=1.0)
    assert torch.allclose(rough.values, exact.values, atol=0.01)


def test_normalise():
    planes = torch.randn(2, 5, 3, 4)
    assert torch.allclose(normalise(planes, "cosine").norm(dim=1), torch.ones(2, 3, 4))
    assert normalise(planes, "dot") is planes


def test_lengths_are_those_of_float32() -> None:
    features = torch.randn(64, 5, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    exact = normalise(features.float(), "cosine")
    got = normalise(features, "cosine")
    assert got.dtype == torch.bfloat16
    assert torch.allclose(got.float(), exact, rtol=2**-8, atol=0)
    assert normalise(features, "dot") is features
