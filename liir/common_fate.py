"""What comes into view goes with what it moves with, as the eye has it: the law of common fate.

A newcomer (see `liir.newcomers`) shows what was in no reference: another side of an object, or
ground that the object uncovered. So does what resembles nothing there. What it resembles most does
not say which of the two it is. But a frame later it is found again where it was, and then it has
moved, with the object or with the background. So frames remember which of their cells show what no
annotated frame did, and the labels of such cells are weighed anew in every frame: each label with
how well its motion, one affine map for all of its cells, explains that of the cell.

Cells that can be traced to an annotated frame are left as they are: a shadow moves with its object,
and a person has said that it is none of it. The paper has nothing like it.

Legend: N = h w cells, K labels that share a total of one, background first.
"""

from __future__ import annotations

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
    # Of the keys in that reference the best one, if there is any.
    keys = matches.cells - latest * len(labels)
    inside = (keys >= 0) & (keys < len(labels))
    there, best = inside.any(1), inside.int().argmax(1, keepdim=True)
    found = Matches(matches.values.gather(1, best), keys.gather(1, best).clamp_min(0), matches.lse)
    sure = there * (1 - newcomers(found, cells, config))
    seen = labels * (there * (1 - unseen))[:, None]
    likelihood = sure[:, None] * _likelihoods(found.cells[:, 0], seen, cells)
    nearby = F.max_pool2d(labels.T.unflatten(1, cells), 2 * _NEARBY + 1, stride=1, padding=_NEARBY)
    # No more than this chance is given: what does not move would drift from label to label.
    chance = config.common_fate * nearby.flatten(1).T
    weighed = torch.maximum(labels, chance) * _smoothed(likelihood, unseen, cells).exp()
    weighed = weighed / weighed.sum(1, keepdim=True).clamp_min(1e-12)
    return labels + unseen[:, None] * (weighed - labels)


def _smoothed(values: Tensor, weights: Tensor, cells: tuple[int, int]) -> Tensor:
    """Weighted means of values (N, K) over squares around each cell."""
    columns = torch.cat((values * weights[:, None], weights[:, None]), dim=1).T
    sums = F.avg_pool2d(columns.unflatten(1, cells), 2 * _SMOOTH + 1, stride=1, padding=_SMOOTH)
    sums = sums.flatten(1).T
    return sums[:, :-1] / sums[:, -1:].clamp_min(1e-6)


def _likelihoods(before: Tensor, labels: Tensor, cells: tuple[int, int]) -> Tensor:
    """Of each cell's motion under that of each label, in nats beside the likeliest.

    Args:
        before: (N,) int64, where each cell was in the frame before.
        labels: (N, K), of what was seen.
        cells: (h, w).

    Returns:
        (N, K) from -`_MOST` to 0; of labels too small for a motion of their own 0: nothing is known
        against them.
    """
    now = torch.arange(len(before), device=before.device)
    places = torch.stack((now % cells[1], now // cells[1])).float()
    steps = torch.stack((before % cells[1], before // cells[1])) - places
    line = torch.cat((2 * places / max(cells) - 1, torch.ones_like(places[:1])))
    likelihood = torch.full_like(labels, -torch.inf)
    for k, weights in enumerate(labels.T):
        fit = _fit(line, steps, weights)
        if fit is None:
            continue
        motion, spread = fit
        off = (steps - motion @ line).square().sum(0)
        likelihood[:, k] = -torch.log1p(off / spread.square())  # Cauchy's tails
    likeliest = likelihood.amax(1, keepdim=True)
    likelihood = torch.where(likelihood.isinf(), 0.0, likelihood - likeliest)
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
    some = weights > 0.5
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
