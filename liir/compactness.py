"""Spatial compactness: a pixel matches one small region of a reference, not many scattered cells.

The mass that a query gives to one reference is approximated by M narrow Gaussians around its best
cells (LIIR, section 3.3). In training, confident rows of the affinity are pulled towards their
fit; in tracking they are replaced by it. A Gaussian of fixed spread around a cell, times the
labels, is the blurred label map read at that cell: so tracking blurs each reference's labels once.

Legend: R references, N queries, M Gaussians, K label channels, p side of a patch of keys.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from liir.matching import Matches

SPREAD = 1.0 / 2.3548
"""Standard deviation, in cells, of a Gaussian that is one cell wide at half its height."""


def fit(weights: Tensor, inside: Tensor, gaussians: int, spread: float = SPREAD) -> Tensor:
    """The M Gaussians that approximate each row.

    Centres are the row's M best cells, weighted by their values; every Gaussian sums to one over
    the cells of the frame, and all together to the row's own sum.

    Args:
        weights: (N, p p) shares of one query in one reference.
        inside: (N, p p) bool, which keys of the patch lie in the frame.
        gaussians: M.
        spread: Standard deviation, in cells.

    Returns:
        (N, p p).
    """
    side = round(weights.shape[1] ** 0.5)
    best, place = weights.topk(gaussians, dim=1)  # (N, M)
    share = best / best.sum(1, keepdim=True).clamp_min(1e-12) * weights.sum(1, keepdim=True)
    axis = torch.arange(side, device=weights.device)
    rows = _bell(axis - (place // side)[..., None], spread)  # (N, M, p)
    columns = _bell(axis - (place % side)[..., None], spread)
    bells = (rows[..., :, None] * columns[..., None, :]).flatten(2) * inside[:, None]
    bells = bells / bells.sum(2, keepdim=True).clamp_min(1e-12)
    return (share[..., None] * bells).sum(1)


def penalty(
    weights: Tensor, inside: Tensor, *, gaussians: int, threshold: float, scale: float
) -> tuple[Tensor, int]:
    """Smooth L1 between confident rows and their fit, which is held constant.

    Args:
        weights: (N, p p) shares of one query in one reference.
        inside: (N, p p) bool, which keys of the patch lie in the frame.
        gaussians: M.
        threshold: A row is confident if its largest share is above.
        scale: Factor on both before the loss.

    Returns:
        The sum over confident rows of the mean over their cells, and the number of those rows.
    """
    sure = (weights.detach().amax(1) > threshold).nonzero()[:, 0]
    rows = weights[sure]
    target = fit(rows.detach(), inside[sure], gaussians)
    loss = F.smooth_l1_loss(scale * rows, scale * target, reduction="none")
    return loss.mean(1).sum(), len(sure)


def blur(values: Tensor, spread: float = SPREAD) -> Tensor:
    """Label maps seen through a Gaussian that sums to one over the frame.

    Args:
        values: (R, K, h, w).
        spread: Standard deviation, in cells.

    Returns:
        (R, K, h, w).
    """
    reach = max(1, round(4 * spread))
    bell = _bell(torch.arange(-reach, reach + 1, device=values.device), spread).to(values.dtype)

    def smooth(planes: Tensor) -> Tensor:
        flat = planes.flatten(0, 1)[:, None]
        flat = F.conv2d(flat, bell.view(1, 1, -1, 1), padding=(reach, 0))
        flat = F.conv2d(flat, bell.view(1, 1, 1, -1), padding=(0, reach))
        return flat[:, 0].view(planes.shape)

    return smooth(values) / smooth(torch.ones_like(values[:1, :1]))


def condensed(
    matches: Matches, references: int, cells: tuple[int, int], gaussians: int, threshold: float
) -> Callable[[Tensor], Tensor]:
    """`matches.tally` with Gaussians in place of confident rows.

    A row is what a query gives to one reference. The Gaussians' values are read, blurred, at
    their centres.

    Args:
        matches: Of N queries with the cells of all references.
        references: R.
        cells: (h, w) of each.
        gaussians: M.
        threshold: A row is confident if its largest share is above.

    Returns:
        Sums values (R h w, K) into (N, K).
    """
    owner = matches.cells // (cells[0] * cells[1])
    plain = weights = matches.weights
    centres, shares = [], []
    for r in range(references):
        row = weights * (owner == r)
        best, index = row.topk(min(gaussians, row.shape[1]), dim=1)
        sure = best[:, :1] > threshold
        total = row.sum(1, keepdim=True)
        shares.append(torch.where(sure, best / best.sum(1, keepdim=True) * total, 0.0))
        centres.append(matches.cells.gather(1, index))
        plain = torch.where(sure & (owner == r), 0.0, plain)
    centre, share = torch.cat(centres, dim=1), torch.cat(shares, dim=1)

    def tally(values: Tensor) -> Tensor:
        planes = values.T.unflatten(1, (references, *cells)).transpose(0, 1)  # (R, K, h, w)
        blurred = blur(planes).permute(0, 2, 3, 1).flatten(0, 2)
        return F.embedding_bag(
            matches.cells, values, per_sample_weights=plain, mode="sum"
        ) + F.embedding_bag(centre, blurred, per_sample_weights=share, mode="sum")

    return tally


def _bell(distance: Tensor, spread: float) -> Tensor:
    return torch.exp(-(distance.float() ** 2) / (2 * spread**2))
