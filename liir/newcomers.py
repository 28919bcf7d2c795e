"""What has just come into view, and what label it gets.

A query takes the labels of the keys most like it, whether or not it was there before. Background
that a moving object uncovers was in no reference: of all that its windows hold it may well resemble
the object most, and would take its label and carry it on. But what it resembles has a successor of
its own in this frame, a query that resembles it more: a rival. A query that has rivals for all of
its keys is a newcomer, and where there is background nearby a newcomer is background.

It is the forward-backward check of optical flow, for matches: keys are followed back to the query
that wants them most. The paper has nothing like it.

Legend: N = h w queries, k keys of each, K label channels that share a total of one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from liir.matching import Matches
from liir.presets import TrackingConfig

_REACH = 1
"""A rival is more than so many cells away: where things grow, neighbours share a key."""
_NEARBY = 3
"""Cells in which background has to lie."""
_SOFTNESS = 1 / 3
"""Width of the step from known to new, as a share of the margin."""


def newcomers(matches: Matches, cells: tuple[int, int], config: TrackingConfig) -> Tensor:
    """How likely each query shows what was in no reference.

    Args:
        matches: Of all queries with the cells of all references.
        cells: (h, w).
        config: `rival_margin`, by which a rival has to be more similar, and `temperature`.

    Returns:
        (N,) float32 in [0, 1]: 0 where a query is the best, or next to the best, for one of its
        keys; a half where all of its keys have rivals more similar to them by the margin.
    """
    values, keys = matches.values, matches.cells
    best = values.new_full((int(keys.max()) + 1,), -torch.inf)
    best.scatter_reduce_(0, keys.flatten(), values.flatten(), "amax")
    query = torch.arange(len(values), device=values.device)[:, None].expand_as(keys)
    owner = torch.full_like(best, len(values), dtype=torch.int64)
    wins = values >= best[keys]
    owner.scatter_reduce_(0, keys[wins], query[wins], "amin")
    owner = owner[keys]
    down = (owner // cells[1] - query // cells[1]).abs()
    right = (owner % cells[1] - query % cells[1]).abs()
    behind = (best[keys] - values).masked_fill(torch.maximum(down, right) <= _REACH, 0.0)
    behind = config.temperature * behind.amin(1)
    softness = _SOFTNESS * config.rival_margin
    known = torch.sigmoid((config.rival_margin - behind) / softness)
    return 1 - known / torch.sigmoid(values.new_tensor(1 / _SOFTNESS))


def yield_to_background(labels: Tensor, new: Tensor, cells: tuple[int, int]) -> Tensor:
    """Gives newcomers to the background, as far as there is some nearby.

    Maps that label every pixel have none, and stay as they are.

    Args:
        labels: (N, K) float32 shares, background first.
        new: (N,) in [0, 1], see `newcomers`.
        cells: (h, w).

    Returns:
        (N, K).
    """
    side = 2 * _NEARBY + 1
    nearby = F.max_pool2d(labels[:, 0].view(1, *cells), side, stride=1, padding=_NEARBY)
    lost = (new * nearby.flatten())[:, None]
    background = F.one_hot(torch.zeros_like(new, dtype=torch.int64), labels.shape[1])
    return labels * (1 - lost) + lost * background
