"""References vote for the labels of a frame, each with the mass that its cells were given.

Legend: R references, N = h w queries, k kept keys, K label channels (background, objects, points).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from liir.matching import Matches
from liir.memory import Reference

_LEAST_MASS = 0.25
"""A point known to few references is scaled up at most fourfold: less would be noise."""


def vote(matches: Matches, references: Sequence[Reference], objects: int) -> Tensor:
    """Label scores of every query: sum over its keys of weight times the key's scores.

    A reference annotated before an object was first named shows that object as background. So the
    background votes of such a reference are split between background and the objects it does not
    know, in proportion to what the references that do know say of the query.

    Args:
        matches: Of the queries with the cells of all references.
        references: In the order of the keys that were matched.
        objects: Channels that share a total of one (background and objects); the rest are points.

    Returns:
        (N, K) float32.
    """
    weights = matches.weights
    scores = _tally(matches.cells, weights, torch.cat([r.values for r in references]))
    knows = torch.stack([r.known for r in references])
    if not bool(knows.all()):
        _split_unknown(scores, matches, references, objects)
    labels = scores[:, :objects]
    total = labels.sum(1, keepdim=True)
    # Keys that are void carry no label at all: what only they match is background.
    background = F.one_hot(torch.zeros_like(matches.cells[:, 0]), objects).to(labels)
    labels = torch.where(total > 1e-6, labels / total.clamp_min(1e-6), background)
    return torch.cat((labels, scores[:, objects:]), dim=1)


def _tally(cells: Tensor, weights: Tensor, values: Tensor) -> Tensor:
    """Sum of weights (N, k) times values (R h w, K) at cells (N, k), without (N, k, K)."""
    return F.embedding_bag(cells, values, per_sample_weights=weights, mode="sum")


def _split_unknown(
    scores: Tensor, matches: Matches, references: Sequence[Reference], objects: int
) -> None:
    """Splits the background votes of references that do not know all labels; in place."""
    size = len(references[0].values)
    owner = matches.cells // size
    unsure: list[tuple[Tensor, Tensor]] = []
    mass = torch.ones_like(scores[:, objects:])
    for r, reference in enumerate(references):
        if bool(reference.known.all()):
            continue
        share = matches.weights * (owner == r)
        mass -= share.sum(1, keepdim=True) * ~reference.known[objects:]
        votes = _tally(matches.cells % size, share, reference.values[:, :1])  # (N, 1)
        candidates = ~reference.known[:objects]
        if bool(candidates.any()):
            candidates[0] = True
            unsure.append((votes, candidates))
            scores[:, :1] -= votes
    scores[:, objects:] /= mass.clamp_min(_LEAST_MASS)
    evidence = scores[:, :objects].clamp_min(0)
    for votes, candidates in unsure:
        for_each = evidence * candidates
        total = for_each.sum(1, keepdim=True)
        background = F.one_hot(torch.zeros_like(owner[:, 0]), objects)
        split = torch.where(total > 1e-6, for_each / total.clamp_min(1e-6), background)
        scores[:, :objects] += votes * split
