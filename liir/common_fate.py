"""What comes into view goes with what it moves with, as the eye has it: the law of common fate.

A newcomer (see `liir.newcomers`) shows what was in no reference: another side of an object, or
ground that the object uncovered. So does what resembles nothing there. What it resembles most does
not say which of the two it is. But a frame later it is found again where it was, and then it has
moved, with the object or with the background. So frames remember which of their cells show what no
annotated frame did, and the labels of such cells are weighed anew in every frame: each label with
how well its motion, one affine map for all of its cells, explains that of the cell.

Cells that can be traced to an annotated frame are left as they are: a shadow moves with its object,
and a person has said that it is none of it. Of an annotated frame all is seen, also if only some
of the objects are named. The paper has nothing like it.

Legend: N = h w cells, K labels that share a total of one, background first.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from liir.matching import Matches
from liir.newcomers import newcomers
from liir.presets import TrackingConfig

_SOFTNESS = 0.1
"""Similarity by which a cell goes from seen to strange."""
_NEARBY = 3
"""Cells in which a label has to lie to be taken."""
_LEAST = 30
"""Cells, about, that a motion is fitted to; of what has fewer none is known."""
_MOST = 2.0
"""Nats by which one frame can speak against a label."""
_SMOOTH = 2
"""Cells around each whose motion counts as well."""
_ROUNDS = 6  # of fitting, each with what did not fit before counting less


def still_unseen(matches: Matches, before: Tensor, new: Tensor, config: TrackingConfig) -> Tensor:
    """How much of each cell shows what no annotated frame did.

    Args:
        matches: Of the frame with its references.
        before: (R N,) float32, the same of all cells of the references.
        new: (N,) in [0, 1], see `liir.newcomers.newcomers`.
        config: `seen_above` and `temperature`.

    Returns:
        (N,) float32 in [0, 1].
    """
    similarity = config.temperature * matches.values[:, 0]
    strange = ((config.seen_above - similarity) / _SOFTNESS).clamp(0, 1)
    new = torch.maximum(new, strange)
    carried = matches.tally(before[:, None])[:, 0]
    return carried + (1 - carried) * new


def go_along(
    matches: Matches,
    latest: int,
    labels: Tensor,
    unseen: Tensor,
    cells: tuple[int, int],
    config: TrackingConfig,
) -> Tensor:
    """Weighs the labels of unseen cells with what they moved with since the latest reference.

    Args:
        matches: Of the frame with its references.
        latest: Which of these is the latest, as a rule the frame before.
        labels: (N, K) float32 shares.
        unseen: (N,), see `still_unseen`.
        cells: (h, w).
        config: `common_fate`; `rival_margin` and `temperature`.

    Returns:
        (N, K): in the unseen share of a cell each label, at least `common_fate` of the largest one
        nearby, is multiplied with the likelihood of the cell's motion, and all with what keeps
        their total.
    """
    new = unseen.nonzero()[:, 0]
    if not len(new):
        return labels
    # Of the keys in that reference the best one, if there is any; else one behind its last.
    keys = matches.cells - latest * len(labels)
    inside = (keys >= 0) & (keys < len(labels))
    there, best = inside.any(1), inside.int().argmax(1, keepdim=True)
    before = torch.where(there[:, None], keys.gather(1, best), len(labels))
    found = Matches(matches.values.gather(1, best), before, matches.lse)
    sure = there * (1 - newcomers(found, cells, config))
    shares = labels.T.contiguous()
    likelihood = sure[new] * _likelihoods(before[:, 0], shares * (there * (1 - unseen)), new, cells)
    nearby = _pooled(shares, F.max_pool2d, _NEARBY, cells)[:, new]
    # No more than this chance is given: what does not move would drift from label to label.
    weighed = torch.maximum(shares[:, new], config.common_fate * nearby)
    weighed = weighed * _smoothed(likelihood, unseen, new, cells).exp()
    weighed = (weighed / weighed.sum(0).clamp_min(1e-12)).T
    return labels.index_add(0, new, unseen[new, None] * (weighed - labels[new]))


def _smoothed(values: Tensor, weights: Tensor, at: Tensor, cells: tuple[int, int]) -> Tensor:
    """Means of values (K, n) of the cells `at` over squares around them, by weights (N,)."""
    rows = weights.new_zeros(len(values) + 1, len(weights))
    rows[:-1, at] = values * weights[at]
    rows[-1] = weights
    sums = _pooled(rows, F.avg_pool2d, _SMOOTH, cells)[:, at]
    return sums[:-1] / sums[-1].clamp_min(1e-6)


def _pooled(
    rows: Tensor, pool: Callable[..., Tensor], reach: int, cells: tuple[int, int]
) -> Tensor:
    """Rows (K, N), pooled over squares around each cell: along rows, then along columns."""
    side = 2 * reach + 1
    pooled = pool(rows.unflatten(1, cells), (1, side), stride=1, padding=(0, reach))
    return pool(pooled, (side, 1), stride=1, padding=(reach, 0)).flatten(1)


def _likelihoods(before: Tensor, shares: Tensor, at: Tensor, cells: tuple[int, int]) -> Tensor:
    """Of cells' motion under that of each label, in nats beside the likeliest.

    Args:
        before: (N,) int64, where each cell was in the frame before.
        shares: (K, N), labels of what was seen.
        at: (n,) the cells asked for.
        cells: (h, w).

    Returns:
        (K, n) from -`_MOST` to 0; of labels too small for a motion of their own 0: nothing is known
        against them.
    """
    now = torch.arange(len(before), device=before.device)
    places = torch.stack((now % cells[1], now // cells[1])).float()
    steps = torch.stack((before % cells[1], before // cells[1])) - places
    line = torch.cat((2 * places / max(cells) - 1, torch.ones_like(places[:1])))
    likelihood = shares.new_full((len(shares), len(at)), -torch.inf)
    line_at, steps_at = line[:, at], steps[:, at]
    for k, weights in enumerate(shares):
        fit = _fit(line, steps, weights)
        if fit is None:
            continue
        motion, spread = fit
        off = (steps_at - motion @ line_at).square().sum(0)
        likelihood[k] = -torch.log1p(off / spread.square())  # Cauchy's tails
    likelihood = torch.where(likelihood.isinf(), 0.0, likelihood - likelihood.amax(0))
    return likelihood.clamp_min(-_MOST)


def _fit(line: Tensor, steps: Tensor, weights: Tensor) -> tuple[Tensor, Tensor] | None:
    """An affine motion, fitted to what has most of the weight, and how far cells are off.

    Iteratively reweighted least squares with Cauchy's weights (Holland and Welsch, 1977).

    Args:
        line: (3, N) x, y, 1.
        steps: (2, N) motions in cells.
        weights: (N,).

    Returns:
        (2, 3) and a scalar, the median distance, one cell or more; None if too little has weight.
    """
    some = (weights > 0.5).nonzero()[:, 0]
    line, steps, weights = line[:, some], steps[:, some], weights[some]
    if float(weights.sum()) < _LEAST:
        return None
    ridge = 1e-3 * weights.sum() * torch.eye(3, device=line.device)
    now = weights
    for _ in range(_ROUNDS):
        weighed = line * now
        motion = torch.linalg.solve(weighed @ line.T + ridge, weighed @ steps.T).T
        off = (steps - motion @ line).square().sum(0)
        spread = off.median().sqrt().clamp_min(1.0)
        now = weights / (1 + off / spread.square())
    return motion, spread
