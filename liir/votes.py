"""References vote for the labels of a frame, each with the mass that its cells were given.

Legend: R references, N = h w queries, K label channels (background, objects, points).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from liir.memory import Reference

_LEAST_MASS = 0.25
"""A point known to few references is scaled up at most fourfold: less would be noise."""


def vote(
    tally: Callable[[Tensor], Tensor], references: Sequence[Reference], objects: int
) -> Tensor:
    """Label scores of every query: sum over its keys of affinity times the key's scores.

    A reference annotated before an object was first named shows that object as background. So the
    background votes of such a reference are split between background and the objects it does not
    know, in proportion to what the references that do know say of the query.

    Args:
        tally: Sums values (R h w, channels) of all references' cells into (N, channels).
        references: In the order of the keys that were matched.
        objects: Channels that share a total of one (background and objects); the rest are points.

    Returns:
        (N, K) float32.
    """
    unsure = [r for r, reference in enumerate(references) if not bool(reference.known.all())]
    if unsure:
        scores = _tally_unsure(tally, references, unsure, objects)
    else:
        scores = tally(torch.cat([r.values for r in references]))
    labels = _shares(scores[:, :objects])
    return torch.cat((labels, scores[:, objects:]), dim=1)


def _shares(labels: Tensor) -> Tensor:
    """Scores (N, K) divided by their sum; where all are zero (only void matched), background."""
    total = labels.sum(1, keepdim=True)
    background = F.one_hot(torch.zeros_like(labels[:, 0], dtype=torch.int64), labels.shape[1])
    return torch.where(total > 1e-6, labels / total.clamp_min(1e-6), background.to(labels))


def _tally_unsure(
    tally: Callable[[Tensor], Tensor],
    references: Sequence[Reference],
    unsure: Sequence[int],
    objects: int,
) -> Tensor:
    """As `tally`, for references of which some (`unsure`) do not know every label.

    Two channels more for each of those collect its background votes and its mass.
    """
    channels = references[0].values.shape[1]
    ballots = []
    for r, reference in enumerate(references):
        ballot = F.pad(reference.values, (0, 2 * len(unsure)))
        if r in unsure:
            own = channels + 2 * unsure.index(r)
            ballot[:, own] = ballot[:, 0]
            ballot[:, own + 1] = 1.0
            ballot[:, 0] = 0.0
        ballots.append(ballot)
    counted = tally(torch.cat(ballots))
    scores = counted[:, :channels].clone()
    known_mass = torch.ones_like(scores[:, objects:])
    for i, r in enumerate(unsure):
        candidates = ~references[r].known[:objects]
        candidates[0] = True
        votes, mass = counted[:, channels + 2 * i, None], counted[:, channels + 2 * i + 1, None]
        scores[:, :objects] += votes * _shares(counted[:, :objects] * candidates)
        known_mass -= mass * ~references[r].known[objects:]
    scores[:, objects:] /= known_mass.clamp_min(_LEAST_MASS)
    return scores
