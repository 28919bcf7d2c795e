"""Spatial compactness: a pixel matches one small region of a reference, not many scattered cells.

The mass that a query gives to one reference, its row, is approximated by M narrow Gaussians around
its best cells (LIIR, section 3.3). In training, confident rows of the affinity are pulled towards
their fit; in tracking they are replaced by it. A Gaussian around a cell, times the labels, is the
blurred label map read at that cell: so tracking blurs each reference's labels once.

Two forms (`compact_form`). "mass": Gaussians sum to one over the frame and share the row's mass in
proportion to their cells' values, so that a query still gives one in all. "published", as the
authors' code has it: peaks of one, weighted by a softmax of the cells' values. In tracking what a
query gives is then divided by its sum, without which keypoints would grow from frame to frame.

Legend: R references, N rows, M Gaussians, K label channels, h w cells, p side of a patch of keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from liir.matching import Matches, Strip, largest, strips, with_margin
from liir.presets import TrackingConfig, TrainingConfig

SPREAD = 1.0 / 2.3548
"""Standard deviation, in cells, of a Gaussian that is one cell wide at half its height."""

_TINY = 1e-12
_SPREADS = tuple(SPREAD * 2 ** (level / 2) for level in range(6))
"""Fitted spreads are rounded to one of these in tracking; the widest is 2.4 cells."""

Config = TrackingConfig | TrainingConfig
Tally = Callable[[Tensor], Tensor]


def fit(weights: Tensor, inside: Tensor, config: Config) -> Tensor:
    """The M Gaussians that approximate each row.

    Args:
        weights: (N, p p) shares of one query in one reference.
        inside: (N, p p) bool, which keys of the patch lie in the frame.
        config: `gaussians` and the `compact_` fields.

    Returns:
        (N, p p).
    """
    side = round(weights.shape[1] ** 0.5)
    best, place = weights.topk(_candidates(config), dim=1)
    moments = weights @ _coordinates(side, config, weights)
    peaks = _peaks(best, place // side, place % side, moments, config)
    place = place.gather(1, peaks.chosen)
    axis, spread = torch.arange(side, device=weights.device), peaks.spread[:, None, None]
    rows = _bell(axis - (place // side)[..., None], spread)  # (N, M, p)
    columns = _bell(axis - (place % side)[..., None], spread)
    bells = (rows[..., :, None] * columns[..., None, :]).flatten(2) * inside[:, None]
    if config.compact_form == "mass":
        bells = bells / bells.sum(2, keepdim=True).clamp_min(_TINY)
    return (peaks.share[..., None] * bells).sum(1)


def penalty(strip: Strip, weights: Tensor, config: TrainingConfig) -> Tensor:
    """How far confident rows are from their fit, which is held constant.

    Args:
        strip: Some queries of `matching.reconstruct`.
        weights: Their affinity.
        config: As for `fit`, and `radius`, `colour_scale`.

    Returns:
        Scalar: smooth L1 between the two, times `colour_scale`, averaged over the cells of the
        window and summed over confident rows.
    """
    rows, inside = strip.rows(weights)
    sure = (rows.detach().amax(1) > config.compact_threshold).nonzero()[:, 0]
    rows = rows.index_select(0, sure)  # its gradient is quicker than that of rows[sure]
    target = fit(rows.detach(), inside[sure], config)
    loss = F.smooth_l1_loss(
        config.colour_scale * rows, config.colour_scale * target, reduction="sum"
    )
    return loss / (2 * config.radius + 1) ** 2


def condensed(
    matches: Matches, references: int, cells: tuple[int, int], config: TrackingConfig
) -> Tally:
    """`matches.tally` with Gaussians in place of confident rows.

    Args:
        matches: Of all queries with the cells of all references.
        references: R.
        cells: (h, w) of each.
        config: As for `fit`.

    Returns:
        Sums values (R h w, K) into (h w, K).
    """
    area = cells[0] * cells[1]
    owner, weights = matches.cells // area, matches.weights
    y, x = matches.cells % area // cells[1], matches.cells % cells[1]
    # Moments about each query's best key, in one reference at a time.
    y, x = (y - y[:, :1]).float(), (x - x[:, :1]).float()
    terms = _moments(y, x, config)
    count, rest = min(_candidates(config), weights.shape[1]), weights
    centres, shares = [], []
    for r in range(references):
        row = weights * (owner == r)
        best, place = row.topk(count, dim=1)
        moments = (row[..., None] * terms).sum(1)
        peaks = _peaks(best, y.gather(1, place), x.gather(1, place), moments, config)
        sure = best[:, :1] > config.compact_threshold
        shares.append(torch.where(sure, peaks.share, 0.0))
        centre = matches.cells.gather(1, place.gather(1, peaks.chosen))
        centres.append(centre + peaks.level * references * area)
        rest = torch.where(sure & (owner == r), 0.0, rest)
    centre, share = torch.cat(centres, dim=1), torch.cat(shares, dim=1)

    def tally(values: Tensor) -> Tensor:
        values = _counted(values, config)
        plain = F.embedding_bag(matches.cells, values, per_sample_weights=rest, mode="sum")
        return _joined(plain, values, centre, share, references, cells, config)

    return tally


def condensed_window(query: Tensor, keys: Tensor, config: TrackingConfig) -> Tally:
    """The same without a choice of best keys: the softmax runs over whole windows.

    Args:
        query: (C, h, w) features, already normalised for the similarity wanted.
        keys: (R, C, h, w), likewise.
        config: As for `fit`, and `radius`, `temperature`.

    Returns:
        Sums values (R h w, K) into (h w, K).
    """
    references, _, height, width = keys.shape
    shape, frame = Strip.whole(height, width), (slice(height), slice(width))
    radius = min(config.radius, max(height, width) - 1)

    def tally(values: Tensor) -> Tensor:
        values = _counted(values, config)
        planes = values.T.unflatten(1, (references, height, width)).transpose(0, 1)
        margin = with_margin(planes[None], radius)
        plain = values.new_empty(*shape, values.shape[1])
        share = values.new_empty(*shape, references * config.gaussians)
        centre = torch.empty_like(share, dtype=torch.int64)
        for strip in strips(query[None] / config.temperature, keys[None], radius):
            rest, place, shares, level = _split(strip, strip.patches(margin, radius)[0], config)
            # What holds nothing may lie anywhere, also beyond the frame.
            cells = strip.cells(place, height, width).masked_fill_(shares == 0, 0)
            strip.view(plain)[:] = strip.fold(rest)
            strip.view(share)[:] = strip.fold(shares)
            strip.view(centre)[:] = strip.fold(cells + level * references * height * width)
        plain, share, centre = (each[frame].flatten(0, 1) for each in (plain, share, centre))
        return _joined(plain, values, centre, share, references, (height, width), config)

    return tally


def _split(strip: Strip, values: Tensor, config: Config) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unconfident rows of a strip tallied, the Gaussians of the confident ones.

    The similarities are exponentiated once, and touched no more than for a plain tally.

    Args:
        strip: Of queries in all references.
        values: (n, R p p, K) of the keys.
        config: As for `fit`.

    Returns:
        (n t t, K), and of R M Gaussians each (n t t, R M): the centre as an index into R p p,
        the share, the level of its spread.
    """
    patch = strip.inside.shape[1]
    side, references = round(patch**0.5), values.shape[1] // patch
    best, place = largest(strip.scores[0].view(-1, patch), _candidates(config))  # (n t t R, k)
    best, scores = best.float(), strip.scores[0].float()  # (n, t t, R p p)
    highest = best[:, 0].view(*scores.shape[:2], references).amax(2, keepdim=True)
    weights = (scores - highest).exp_()
    columns = _coordinates(side, config, scores).expand(len(values), -1, -1)
    pieces = [slice(r * patch, (r + 1) * patch) for r in range(references)]
    sums = [weights[..., at] @ torch.cat((values[:, at], columns), dim=2) for at in pieces]
    tallied = torch.stack(sums, dim=2).flatten(0, 1)  # (n t t, R, K + 1 or 4)
    tallied, moments = tallied.split((values.shape[2], columns.shape[2]), dim=2)
    total = moments[..., :1].sum(1, keepdim=True)
    best = best.view(-1, references, best.shape[1]).sub_(highest.view(-1, 1, 1)).exp_() / total
    sure = best[..., :1] > config.compact_threshold  # (n t t, R, 1)
    rest = torch.where(sure, 0.0, tallied / total).sum(1)
    moments = (moments / total).flatten(0, 1)
    peaks = _peaks(best.flatten(0, 1), place // side, place % side, moments, config)
    share = torch.where(sure, peaks.share.view(*best.shape[:2], -1), 0.0)
    place = place.gather(1, peaks.chosen).view(share.shape)
    place = place + patch * torch.arange(references, device=place.device)[:, None]
    level = peaks.level.view(sure.shape).expand_as(share)
    return rest, place.flatten(1), share.flatten(1), level.flatten(1)


@dataclass(frozen=True)
class _Peaks:
    """The Gaussians of rows.

    Attributes:
        chosen: (N, M) which candidates are their centres.
        share: (N, M) what each holds.
        spread: (N,) of each row's, in cells.
    """

    chosen: Tensor
    share: Tensor
    spread: Tensor

    @property
    def level(self) -> Tensor:
        """Which of `_SPREADS` is nearest, (N, 1) int64."""
        return (2 * (self.spread / SPREAD).log2()).round().long()[:, None]


def _candidates(config: Config) -> int:
    """Best keys of a row among which its centres are: each suppresses eight others at most."""
    apart = config.compact_neighbours == "suppressed"
    return 9 * config.gaussians - 8 if apart else config.gaussians


def _coordinates(side: int, config: Config, like: Tensor) -> Tensor:
    """What rows (N, p p) such as these are multiplied with for their moments, (p p, 1 or 4)."""
    axis = torch.arange(side, device=like.device, dtype=like.dtype)
    return _moments(axis.repeat_interleave(side), axis.repeat(side), config)


def _moments(y: Tensor, x: Tensor, config: Config) -> Tensor:
    """1, y, x, y^2 + x^2 of cells (..., 4); of fixed spreads the 1 alone is of use."""
    ones = torch.ones_like(y)
    kinds = (ones,) if config.compact_spread == "fixed" else (ones, y, x, y**2 + x**2)
    return torch.stack(kinds, dim=-1)


def _peaks(best: Tensor, y: Tensor, x: Tensor, moments: Tensor, config: Config) -> _Peaks:
    """Chooses centres among the candidates of rows, and what goes to each.

    Args:
        best: (N, k) shares of the candidates, largest first.
        y: (N, k) row of each one's cell.
        x: (N, k) column.
        moments: (N, 1 or 4) of the whole row, weighted sums of `_moments`.
        config: As for `fit`.
    """
    best, chosen = _choose(best, y, x, config)
    mass = moments[:, :1]
    if config.compact_form == "mass":
        share = best / best.sum(1, keepdim=True).clamp_min(_TINY) * mass
    else:
        share = best.masked_fill(best == 0, -torch.inf).softmax(1).nan_to_num(0.0)
    if config.compact_spread == "fixed":
        return _Peaks(chosen, share, torch.full_like(mass[:, 0], SPREAD))
    # A mixture's second moment is that of its centres and twice the square of the spread.
    part = (share / share.sum(1, keepdim=True).clamp_min(_TINY))[..., None]  # (N, M, 1)
    centre = torch.stack((y, x), dim=2).float().gather(1, chosen[..., None].expand(-1, -1, 2))
    middle = (part * centre).sum(1)  # (N, 2)
    first, second = (moments[:, 1:] / mass.clamp_min(_TINY)).split((2, 1), dim=1)
    whole = second[:, 0] - 2 * (first * middle).sum(1) + middle.square().sum(1)
    between = (part * (centre - middle[:, None]).square()).sum((1, 2))
    spread = ((whole - between) / 2).clamp_min(0).sqrt()
    return _Peaks(chosen, share, spread.clamp(SPREAD, _SPREADS[-1]))


def _choose(best: Tensor, y: Tensor, x: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    """The best of the candidates (N, k), side by side or not: shares and places, (N, M) each."""
    count = min(config.gaussians, best.shape[1])
    if config.compact_neighbours == "allowed":
        return best[:, :count], torch.arange(count, device=best.device).expand(len(best), -1)
    shares, places = [], []
    for _ in range(count):
        share, place = best.max(1, keepdim=True)
        away = torch.maximum((y - y.gather(1, place)).abs(), (x - x.gather(1, place)).abs())
        best = best.masked_fill(away <= 1, 0.0)
        shares.append(share)
        places.append(place)
    return torch.cat(shares, dim=1), torch.cat(places, dim=1)


def _counted(values: Tensor, config: Config) -> Tensor:
    """Values (R h w, K), with ones for a last channel where masses have to be counted."""
    return values if config.compact_form == "mass" else F.pad(values, (0, 1), value=1.0)


def _joined(
    plain: Tensor,
    values: Tensor,
    centres: Tensor,
    shares: Tensor,
    references: int,
    cells: tuple[int, int],
    config: Config,
) -> Tensor:
    """What unconfident rows gave, (N, K), and what the Gaussians read, together."""
    planes = values.T.unflatten(1, (references, *cells)).transpose(0, 1)  # (R, K, h, w)
    spreads = _SPREADS if config.compact_spread == "fitted" else _SPREADS[:1]
    normal = config.compact_form == "mass"
    levels = [blur(planes, spread, normal).permute(0, 2, 3, 1).flatten(0, 2) for spread in spreads]
    read = F.embedding_bag(centres, torch.cat(levels), per_sample_weights=shares, mode="sum")
    total = plain + read
    return total if normal else total[:, :-1] / total[:, -1:].clamp_min(_TINY)


def blur(values: Tensor, spread: float = SPREAD, normal: bool = True) -> Tensor:
    """Label maps seen through a Gaussian.

    Args:
        values: (R, K, h, w).
        spread: Standard deviation, in cells.
        normal: Whether the Gaussian sums to one over the frame; else its peak is one.

    Returns:
        (R, K, h, w).
    """
    reach = max(1, round(4 * spread))
    distance = torch.arange(-reach, reach + 1, device=values.device)
    bell = _bell(distance, spread).to(values.dtype)

    def smooth(planes: Tensor) -> Tensor:
        flat = planes.flatten(0, 1)[:, None]
        flat = F.conv2d(flat, bell.view(1, 1, -1, 1), padding=(reach, 0))
        flat = F.conv2d(flat, bell.view(1, 1, 1, -1), padding=(0, reach))
        return flat[:, 0].view(planes.shape)

    return smooth(values) / smooth(torch.ones_like(values[:1, :1])) if normal else smooth(values)


def _bell(distance: Tensor, spread: Tensor | float) -> Tensor:
    return torch.exp(-(distance.float() ** 2) / (2 * spread**2))
