"""Gaussians in place of scattered matches: sums kept, centres right, blurring the same thing."""

from dataclasses import replace

import pytest
import torch

from liir.blur import blur
from liir.compactness import _SPREADS, SPREAD, condensed, condensed_window, fit, penalty
from liir.matching import Matches, match, normalise, reconstruct, window_tally
from liir.presets import TrackingConfig, TrainingConfig

SIDE = 12
INSIDE = torch.ones(1, SIDE * SIDE, dtype=torch.bool)
TRAINING = TrainingConfig(gaussians=2)
TRACKING = TrackingConfig(gaussians=2, radius=3, temperature=0.1, topk=None)
MASS, PUBLISHED = TRAINING, replace(TRAINING, compact_form="published")
FITTED = replace(TRAINING, compact_spread="fitted")


def row(*cells):
    """A row of weights with the given (y, x, weight)."""
    weights = torch.zeros(SIDE, SIDE)
    for y, x, weight in cells:
        weights[y, x] = weight
    return weights.view(1, -1)


def bell(y, x, spread=SPREAD, height=SIDE, width=SIDE):
    """A Gaussian with a peak of one."""
    rows = (torch.arange(height) - y)[:, None] ** 2
    return torch.exp(-(rows + (torch.arange(width) - x) ** 2) / (2 * spread**2))


# --- the fit


@pytest.mark.parametrize("gaussians", [1, 2, 3])
@pytest.mark.parametrize("spread", ["fixed", "fitted"])
def test_the_fit_keeps_the_mass(gaussians, spread):
    weights = torch.rand(9, SIDE * SIDE)
    inside = torch.rand(9, SIDE * SIDE) > 0.3
    weights = weights * inside
    config = replace(TRAINING, gaussians=gaussians, compact_spread=spread)
    found = fit(weights, inside, config)
    torch.testing.assert_close(found.sum(1), weights.sum(1))
    assert bool((found[~inside] == 0).all())


def test_two_peaks_are_two_gaussians():
    found = fit(row((3, 4, 0.6), (8, 8, 0.3)), INSIDE, MASS).view(SIDE, SIDE)
    expected = 0.6 * bell(3, 4) / bell(3, 4).sum() + 0.3 * bell(8, 8) / bell(8, 8).sum()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_the_published_form():
    """A softmax of the two best probabilities, on peaks of one, whatever the row's mass is."""
    found = fit(row((3, 4, 0.6), (8, 8, 0.3), (0, 0, 0.1)), INSIDE, PUBLISHED).view(SIDE, SIDE)
    first = 1 / (1 + torch.exp(torch.tensor(0.3 - 0.6)))
    expected = first * bell(3, 4) + (1 - first) * bell(8, 8)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_a_gaussian_is_one_cell_wide_at_half_its_height():
    half = torch.exp(torch.tensor(-(0.5**2) / (2 * SPREAD**2)))
    torch.testing.assert_close(half, torch.tensor(0.5), atol=1e-3, rtol=0)


@pytest.mark.parametrize("spread", [0.7, 1.0, 1.5])
def test_the_fitted_spread_is_that_of_the_row(spread):
    single = bell(11.0, 12.0, spread, 24, 24)
    single /= single.sum()
    inside = torch.ones(1, 24 * 24, dtype=torch.bool)
    found = fit(single.view(1, -1), inside, replace(FITTED, gaussians=1)).view(24, 24)
    torch.testing.assert_close(found, single, atol=5e-3 * float(single.max()), rtol=0)


def test_distance_between_peaks_is_no_spread():
    spikes = row((3, 4, 0.6), (8, 8, 0.3))
    torch.testing.assert_close(fit(spikes, INSIDE, FITTED), fit(spikes, INSIDE, MASS))


def test_neighbours_may_be_suppressed():
    weights = row((5, 5, 0.5), (5, 6, 0.3), (9, 2, 0.2))
    allowed = fit(weights, INSIDE, MASS).view(SIDE, SIDE)
    apart = replace(MASS, compact_neighbours="suppressed")
    found = fit(weights, INSIDE, apart).view(SIDE, SIDE)
    assert allowed[8:, :4].sum() < 1e-6
    torch.testing.assert_close(found[7:, :5].sum(), torch.tensor(0.2 / 0.7), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.sum(), torch.tensor(1.0))


# --- in training


def penalised(config, query=None, seed=0, radius=2):
    """The summed penalty of reconstructing 6x7 cells, and the affinity of each row, dense."""
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(1, 5, 6, 7, generator=generator) if query is None else query
    keys = torch.randn(1, 2, 5, 6, 7, generator=generator)
    seen = []
    reconstruct(
        query,
        keys,
        torch.zeros(1, 2, 1, 6, 7),
        radius=radius,
        temperature=0.5,
        watch=lambda strip, weights: seen.append(penalty(strip, weights, config)),
    )
    scores = torch.einsum("cyx,rcvu->yxrvu", query[0], keys[0]) / 0.5
    y, x = torch.arange(6), torch.arange(7)
    near = ((y[:, None] - y).abs() <= radius)[:, None, None, :, None]
    near = near & ((x[:, None] - x).abs() <= radius)[None, :, None, None, :]
    scores = scores.masked_fill(~near, -torch.inf)
    return sum(seen), scores.flatten(2).softmax(2).view(6 * 7 * 2, 6, 7)


@pytest.mark.parametrize("form", ["mass", "published"])
def test_the_penalty_is_the_distance_of_confident_rows_from_their_fit(form):
    config = replace(TRAINING, compact_form=form, radius=2, compact_threshold=0.3)
    found, rows = penalised(config)
    total, sure = torch.tensor(0.0), 0
    for weights in rows:
        best, place = weights.flatten().topk(2)
        if best[0] <= 0.3:
            continue
        sure += 1
        share = best.softmax(0) if form == "published" else best / best.sum() * weights.sum()
        target = torch.zeros(6, 7)
        for each, at in zip(share, place.tolist(), strict=True):
            peak = bell(at // 7, at % 7, height=6, width=7)
            target += each * (peak if form == "published" else peak / peak.sum())
        apart = 20 * (weights - target).abs()
        total += torch.where(apart < 1, apart**2 / 2, apart - 0.5).sum() / 25
    assert 5 < sure < len(rows) - 5
    # A patch of keys may cut off the tail of a Gaussian, three cells and more from its centre.
    torch.testing.assert_close(found, total, atol=1e-4, rtol=1e-3)


def test_nothing_is_confident():
    found, _ = penalised(replace(TRAINING, radius=2, compact_threshold=0.999))
    assert float(found) == 0.0


def test_the_fit_is_held_constant():
    """The gradient pushes every weight towards its fit, at most with the slope of smooth L1."""
    config = replace(TRAINING, radius=2, compact_threshold=0.3)
    strips = []

    def watch(strip, weights):
        weights.retain_grad()
        strips.append((strip, weights))

    query = torch.randn(1, 5, 8, 8, requires_grad=True)
    keys = torch.randn(1, 1, 5, 8, 8)
    reconstruct(query, keys, torch.zeros(1, 1, 1, 8, 8), radius=2, temperature=0.5, watch=watch)
    ((strip, weights),) = strips
    penalty(strip, weights, config).backward()
    rows, inside = strip.rows(weights.detach())
    sure = rows.amax(1) > 0.3
    target = fit(rows, inside, config)
    slope = (20 * (rows - target)).clamp(-1, 1) * 20 / 25 * sure[:, None]
    torch.testing.assert_close(strip.rows(weights.grad)[0], slope)


# --- in tracking


def dense(query, keys, values, config):
    """Slow and plain: every query, reference and Gaussian one by one, in float64."""
    references, _, height, width = keys.shape
    values = values.double().view(references, height, width, -1)
    out = []
    for y in range(height):
        for x in range(width):
            top, left = max(0, y - config.radius), max(0, x - config.radius)
            near = (slice(top, y + config.radius + 1), slice(left, x + config.radius + 1))
            scores = torch.einsum(
                "c,rcyx->ryx", query[:, y, x].double(), keys.double()[:, :, *near]
            )
            scores = scores / config.temperature
            if config.topk is not None:
                least = scores.flatten().topk(min(config.topk, scores.numel())).values[-1]
                scores = scores.masked_fill(scores < least, -torch.inf)
            shares = scores.flatten().softmax(0).view(scores.shape)
            given = torch.zeros(references, height, width, dtype=torch.float64)
            given[:, *near] = shares
            for r in range(references):
                best, place = given[r].flatten().topk(config.gaussians)
                if best[0] <= config.compact_threshold:
                    continue
                mass = given[r].sum()
                if config.compact_form == "published":
                    share = best.masked_fill(best == 0, -torch.inf).softmax(0)
                else:
                    share = best / best.sum() * mass
                given[r] = 0
                for each, at in zip(share, place.tolist(), strict=True):
                    peak = bell(at // width, at % width, height=height, width=width).double()
                    peak = peak if config.compact_form == "published" else peak / peak.sum()
                    given[r] += each * peak
            out.append(torch.einsum("ryx,ryxk->k", given / given.sum(), values))
    return torch.stack(out).float()


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("gaussians", [1, 2, 3])
@pytest.mark.parametrize("form", ["mass", "published"])
@pytest.mark.parametrize("topk", [None, 6])
def test_confident_rows_are_replaced(gaussians, form, topk):
    query = normalise(torch.randn(8, 10, 13), "cosine")
    keys = normalise(torch.randn(3, 8, 10, 13), "cosine")
    values = torch.rand(3 * 10 * 13, 4)
    config = replace(TRACKING, gaussians=gaussians, compact_form=form, topk=topk)
    if topk is None:
        tally = condensed_window(query, keys, config)
        plain = window_tally(query, keys, radius=3, temperature=0.1)
    else:
        matches = match(query, keys, radius=3, topk=topk, temperature=0.1)
        tally, plain = condensed(matches, 3, (10, 13), config), matches.tally
    found = tally(values)
    torch.testing.assert_close(found, dense(query, keys, values, config), atol=1e-4, rtol=1e-3)
    assert float((found - plain(values)).abs().max()) > 0.01


@pytest.mark.parametrize("topk", [None, 6])
@pytest.mark.parametrize("neighbours", ["allowed", "suppressed"])
@pytest.mark.parametrize("form", ["mass", "published"])
def test_fitted_spreads_in_tracking(topk, neighbours, form):
    """With every row replaced; what a query gives still sums to one."""
    query = normalise(torch.randn(8, 9, 11), "cosine")
    keys = normalise(torch.randn(2, 8, 9, 11), "cosine")
    config = replace(TRACKING, compact_neighbours=neighbours, compact_form=form, topk=topk)
    fitted = replace(config, compact_spread="fitted", compact_threshold=0.0)
    fixed = replace(config, compact_threshold=0.0)
    ones, values = torch.ones(2 * 99, 1), torch.rand(2 * 99, 2)

    def tally(config):
        if topk is None:
            return condensed_window(query, keys, config)
        matches = match(query, keys, radius=3, topk=topk, temperature=0.1)
        return condensed(matches, 2, (9, 11), config)

    torch.testing.assert_close(tally(fitted)(ones), torch.ones(99, 1))
    # Wider Gaussians are smoother: what they read lies nearer to the mean of all values.
    assert tally(fitted)(values).std() < tally(fixed)(values).std()


def test_spreads_are_rounded_to_the_nearest():
    """One wide row: what tracking reads of it is what the fit of the nearest spread gives."""
    height = width = 16
    shares = bell(8, 7, 1.25, height, width).view(1, -1)
    values, cells = (shares / shares.sum()).log().sort(descending=True)
    matches = Matches(values, cells, torch.zeros(1))
    config = replace(TRACKING, gaussians=1, compact_spread="fitted", compact_threshold=0.0)
    values = torch.rand(height * width, 3)
    nearest = min(_SPREADS, key=lambda spread: abs(torch.tensor(spread / 1.25).log()))
    peak = bell(8, 7, nearest, height, width)
    expected = (peak / peak.sum()).view(1, -1) @ values
    found = condensed(matches, 1, (height, width), config)(values)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_reading_the_blurred_map_is_tallying_the_gaussian():
    labels = torch.rand(1, 3, SIDE, SIDE)
    for normal, config in [(True, MASS), (False, PUBLISHED)]:
        blurred = blur(labels, SPREAD, normal=normal)
        for y, x in [(5, 6), (0, 0), (11, 3)]:
            gaussian = fit(row((y, x, 1.0)), INSIDE, replace(config, gaussians=1))
            expected = labels[0].flatten(1) @ gaussian[0]
            torch.testing.assert_close(blurred[0, :, y, x], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("form", ["mass", "published"])
def test_without_confident_rows_nothing_changes(form):
    query, keys = torch.randn(4, 6, 7), torch.randn(2, 4, 6, 7)
    config = replace(TRACKING, compact_threshold=0.9999, compact_form=form, temperature=9.0)
    values = torch.rand(2 * 42, 2)
    plain = window_tally(query, keys, radius=3, temperature=9.0)(values)
    torch.testing.assert_close(condensed_window(query, keys, config)(values), plain)
    matches = match(query, keys, radius=3, topk=5, temperature=9.0)
    found = condensed(matches, 2, (6, 7), config)(values)
    torch.testing.assert_close(found, matches.tally(values))


@pytest.mark.usefixtures("compiled")
def test_more_gaussians_than_cells():
    """As many as there are: a window of one cell in a frame of five is that cell."""
    config = replace(TRACKING, radius=0, gaussians=9, compact_neighbours="suppressed")
    query = normalise(torch.randn(4, 1, 5), "cosine")
    values = torch.rand(5, 2)
    found = condensed_window(query, query[None], config)(values)
    blurred = blur(values.T.reshape(1, 2, 1, 5), SPREAD)[0, :, 0].T
    torch.testing.assert_close(found, blurred)


@pytest.mark.usefixtures("compiled")
def test_keys_of_few_references_are_no_peaks_of_the_others():
    """Two kept keys, both in the first reference: the second one is left alone."""
    matches = Matches(torch.tensor([[0.7, 0.3]]).log(), torch.tensor([[5, 6]]), torch.zeros(1))
    values = torch.zeros(32, 1)
    values[16:] = 100.0
    for form in ("mass", "published"):
        config = replace(TRACKING, compact_form=form)
        assert float(condensed(matches, 2, (4, 4), config)(values)) == 0.0
