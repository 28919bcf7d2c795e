"""Where one cell's mass goes: a single row of the affinity, spread out over its references.

For pictures and for looking inside; tracking and training never need a row on its own.

Legend: R references, C channels, h w cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from liir.grid import OFFSET, STRIDE
from liir.matching import Matches


def row(
    query: Tensor,
    keys: Tensor,
    cell: tuple[int, int],
    *,
    radius: int | Sequence[int],
    topk: int | None,
    temperature: float,
) -> Matches:
    """The matches of one cell, as `liir.matching.match` finds them for all.

    Args:
        query: (C, h, w) features, already normalised for the similarity wanted.
        keys: (R, C, h, w), likewise.
        cell: (row, column) of the query.
        radius: Of the square window, in cells; one for all references or one for each.
        topk: Keys to keep over all references jointly; None keeps the whole window.
        temperature: Divides similarities.

    Returns:
        `Matches` of a single query.
    """
    height, width = query.shape[-2:]
    down, right = cell
    scores = torch.einsum("c,rchw->rhw", query[:, down, right].float(), keys.float()) / temperature
    rows, columns = (torch.arange(height) - down).abs(), (torch.arange(width) - right).abs()
    radii = torch.tensor([radius] * len(keys) if isinstance(radius, int) else list(radius))
    near = (torch.maximum(rows[:, None], columns) <= radii[:, None, None]).to(keys.device)
    scores = scores.masked_fill(~near, -torch.inf).flatten()
    there = int(near.sum())
    values, cells = scores.topk(there if topk is None else min(topk, there))
    return Matches(values[None], cells[None], torch.logsumexp(values, dim=0)[None])


def mass(
    tally: Callable[[Tensor], Tensor], references: int, cells: tuple[int, int], device: torch.device
) -> Tensor:
    """How much each cell of the references adds to what a tally sums up.

    A tally is linear in the values it is given; its derivative is the mass of each cell, whatever
    is inside it (`Matches.tally`, or `liir.compactness.condensed`).

    Args:
        tally: Of one query: sums values (R h w, K) into (1, K).
        references: R.
        cells: (h, w).
        device: Where the matches are.

    Returns:
        (R, h, w) float32; sums to one.
    """
    with torch.enable_grad():
        values = torch.zeros(references * cells[0] * cells[1], 1, device=device, requires_grad=True)
        (gradient,) = torch.autograd.grad(tally(values).sum(), values)
    return gradient.view(references, *cells)


def blocks(
    cells: Tensor, height: int, width: int, stride: int = STRIDE, offset: float = OFFSET
) -> Tensor:
    """A map of cells (h, w) as pixels (H, W): each pixel has the value of the nearest cell."""

    def nearest(length: int, last: int) -> Tensor:
        places = (torch.arange(length) + 0.5 - offset) / stride
        return (places + 0.5).floor().long().clamp(0, last)

    return cells[nearest(height, cells.shape[0] - 1)][:, nearest(width, cells.shape[1] - 1)]
