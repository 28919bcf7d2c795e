"""Spatial compactness: a pixel matches one small region of a reference, not many scattered cells.

The mass that a query gives to one reference, its row, is approximated by M narrow Gaussians around
its best cells (LIIR, section 3.3). In training, confident rows of the affinity are pulled towards
their fit; in tracking they are replaced by it. A Gaussian around a cell, times the labels, is the
blurred label map read at that cell: tracking blurs each reference's labels once.

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

from liir import kernel
from liir.blur import bell, blur, taps
from liir.matching import TILE, Matches, Strip, largest, strips, with_margin
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
    moments = (weights @ _coordinates(side, config, weights))[:, None]
    share, spread = _gaussians(_Keys.of_one(best, place, side), moments, config)
    share, chosen = share.topk(min(config.gaussians, share.shape[1]), dim=1)
    place, spread = place.gather(1, chosen), spread[:, :1, None]
    axis = torch.arange(side, device=weights.device)
    rows = bell(axis - (place // side)[..., None], spread)  # (N, M, p)
    columns = bell(axis - (place % side)[..., None], spread)
    bells = (rows[..., :, None] * columns[..., None, :]).flatten(2) * inside[:, None]
    if config.compact_form == "mass":
        bells = bells / bells.sum(2, keepdim=True).clamp_min(_TINY)
    return (share[..., None] * bells).sum(1)


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

    def tally(values: Tensor) -> Tensor:
        values = _counted(values, config)
        total, prior = None, _prior(config)
        if prior is not None:
            total = kernel.condensed_sums(matches.weights, matches.cells, values, cells, prior)
        if total is None:
            place, share = _places(matches, references, cells, config)
            sharp = torch.cat((values, *_blurred(values, references, cells, config)))
            total = F.embedding_bag(place, sharp, per_sample_weights=share, mode="sum")
        return _divided(total, config)

    return tally


def _places(
    matches: Matches, references: int, cells: tuple[int, int], config: TrackingConfig
) -> tuple[Tensor, Tensor]:
    """Where each key reads, (N, k), in the values and the blurred ones behind them; its share."""
    area = cells[0] * cells[1]
    owner = matches.cells // area
    cell = matches.cells - owner * area  # as % would say, which takes many times as long
    y = cell // cells[1]
    x = cell - y * cells[1]
    # Moments about each query's best key.
    y, x = (y - y[:, :1]).float(), (x - x[:, :1]).float()
    keys = _Keys(matches.weights, y, x, owner, references)
    moments = keys.sums(keys.share[..., None] * _moments(y, x, config))
    share, spread = _gaussians(keys, moments, config)
    sure = keys.best() > config.compact_threshold
    # A key of a confident row reads what is blurred, and every other one what is sharp.
    share = torch.where(sure, share, keys.share)
    return matches.cells + torch.where(sure, 1 + _level(spread), 0) * (references * area), share


def condensed_window(query: Tensor, keys: Tensor, config: TrackingConfig) -> Tally:
    """The same without a choice of best keys: the softmax runs over whole windows.

    Args:
        query: (C, h, w) features, already normalised for the similarity wanted.
        keys: (R, C, h, w), likewise.
        config: As for `fit`, and `radius`, `temperature`.

    Returns:
        Sums values (R h w, K) into (h w, K).
    """
    radius, temperature = min(config.radius, max(query.shape[1:]) - 1), config.temperature

    def tally(values: Tensor) -> Tensor:
        values = _counted(values, config)
        total, prior = None, _prior(config)
        if prior is not None:
            total = kernel.window_sums(
                query, keys, values, radius=radius, temperature=temperature, prior=prior
            )
        if total is None:
            total = _window_sums(query, keys, values, radius, config)
        return _divided(total, config)

    return tally


def _window_sums(
    query: Tensor, keys: Tensor, values: Tensor, radius: int, config: TrackingConfig
) -> Tensor:
    """What `condensed_window` divides, in PyTorch."""
    references, _, height, width = keys.shape
    shape = Strip.whole(height, width)
    planes = values.T.unflatten(1, (references, height, width)).transpose(0, 1)
    margin = with_margin(planes[None], radius)
    total = values.new_empty(*shape, values.shape[1])
    side, count = TILE + 2 * radius, shape[0] * shape[1] * references
    # Of all rows, though most stay empty: small pieces, kept until the end, would lie
    # between the large ones that come and go, and memory would wear out into holes.
    best = values.new_zeros(count, min(_candidates(config), side**2))
    place = torch.zeros_like(best, dtype=torch.int64)
    moments = values.new_zeros(count, *_coordinates(side, config, values).shape[1:])
    first = 0
    for strip in strips(query[None] / config.temperature, keys[None], radius):
        rest, sure, *found = _split(strip, strip.patches(margin, radius)[0], config)
        strip.view(total)[:] = strip.fold(rest)
        for whole, part in zip((best, place, moments), found, strict=True):
            whole.index_copy_(0, sure + first, part)
        first += len(rest) * references
    rows = best[:, 0].nonzero()[:, 0]
    best, place, moments = best[rows], place[rows], moments[rows, None]
    share, spread = _gaussians(_Keys.of_one(best, place, side), moments, config)
    tile, inner = rows // (references * TILE**2), rows // references % TILE**2
    tiles = shape[1] // TILE
    top, left = tile // tiles * TILE, tile % tiles * TILE
    y, x = top[:, None] - radius + place // side, left[:, None] - radius + place % side
    cells = ((rows % references)[:, None] * height + y) * width + x
    # A key without a share, or of a query beyond the frame, may lie anywhere.
    cells = cells.clamp(0, len(values) - 1) + _level(spread) * len(values)
    blurred = torch.cat(_blurred(values, references, (height, width), config))
    read = F.embedding_bag(cells, blurred, per_sample_weights=share, mode="sum")
    own = (top + inner // TILE) * shape[1] + left + inner % TILE
    total.view(-1, values.shape[1]).index_add_(0, own, read)
    return total[:height, :width].flatten(0, 1)


def _split(strip: Strip, values: Tensor, config: Config) -> tuple[Tensor, ...]:
    """Tallies the unconfident rows of a strip, and finds what the Gaussians of the others need.

    Args:
        strip: Of queries in all references.
        values: (n, R p p, K) of the keys.
        config: As for `fit`.

    Returns:
        (n t t, K); and of N confident rows their number (N,) among the n t t R, the shares (N, k)
        and places in their patch (N, k) of the best keys, and moments (N, 1 or 4).
    """
    patch = strip.inside.shape[1]
    weights = strip.scores[0].float().softmax(-1)  # (n, t t, R p p)
    rows = weights.view(-1, patch)  # of each query in each reference
    sure = (rows.amax(1) > config.compact_threshold).nonzero()[:, 0]
    # They are few: only of them the best keys are looked for.
    confident = rows.index_select(0, sure)
    rest = (rows.index_fill_(0, sure, 0.0).view_as(weights) @ values).flatten(0, 1)
    best, place = largest(confident, _candidates(config))
    moments = confident @ _coordinates(round(patch**0.5), config, confident)
    return rest, sure, best, place, moments


@dataclass(frozen=True)
class _Keys:
    """The best keys of queries, in one reference or in several.

    Attributes:
        share: (N, k) what each was given; of one reference's keys the largest comes first.
        y: (N, k) row of each one's cell.
        x: (N, k) column.
        owner: (N, k) int64, the reference of each.
        references: R.
    """

    share: Tensor
    y: Tensor
    x: Tensor
    owner: Tensor
    references: int

    @staticmethod
    def of_one(share: Tensor, place: Tensor, side: int) -> _Keys:
        """Keys of one reference, at `place` (N, k) in its square patch."""
        return _Keys(share, place // side, place % side, torch.zeros_like(place), 1)

    def sums(self, values: Tensor) -> Tensor:
        """(N, k, ...) summed over the keys of each reference: (N, R, ...)."""
        owner = self.owner.view(*self.owner.shape, *[1] * (values.ndim - 2)).expand_as(values)
        empty = values.new_zeros(len(values), self.references, *values.shape[2:])
        return empty.scatter_add(1, owner, values)

    def own(self, values: Tensor) -> Tensor:
        """(N, k): of (N, R), what is of each key's reference."""
        return values.gather(1, self.owner)

    def best(self) -> Tensor:
        """(N, k): the largest share in each key's reference."""
        top = self.share.new_zeros(len(self.share), self.references)
        return self.own(top.scatter_reduce(1, self.owner, self.share, "amax"))

    def chosen(self, count: int, apart: bool) -> Tensor:
        """(N, k) bool: the `count` best of each reference, where `apart` no two side by side."""
        taken = self.owner.new_zeros(len(self.owner), self.references)
        chosen = torch.zeros_like(self.owner, dtype=torch.bool)
        for j in range(self.owner.shape[1]):
            owner, before = self.owner[:, j : j + 1], slice(j)
            free = taken.gather(1, owner) < count
            if apart:
                near = chosen[:, before] & (self.owner[:, before] == owner)
                for axis in (self.y, self.x):
                    near &= (axis[:, before] - axis[:, j : j + 1]).abs() <= 1
                free &= ~near.any(1, keepdim=True)
            chosen[:, j : j + 1] = free
            taken.scatter_add_(1, owner, free.long())
        return chosen


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


def _gaussians(keys: _Keys, moments: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    """What the Gaussian around each key holds, and its spread.

    Args:
        keys: Among them the centres; the other keys' Gaussians hold nothing.
        moments: (N, R, 1 or 4) of whole rows, sums of `_moments` weighted with their shares.
        config: As for `fit`.

    Returns:
        (N, k) shares, and (N, k) spreads in cells.
    """
    chosen = keys.chosen(config.gaussians, config.compact_neighbours == "suppressed")
    mass = moments[..., 0].clamp_min(_TINY)
    if config.compact_form == "mass":
        value, whole = keys.share * chosen, mass
    else:
        value = keys.share.exp() * (chosen & (keys.share > 0))
        whole = torch.ones_like(mass)
    share = value * keys.own(whole / keys.sums(value).clamp_min(_TINY))
    if config.compact_spread == "fixed":
        return share, torch.full_like(share, SPREAD)
    # A mixture's second moment is that of its centres and twice the square of the spread.
    part = share / keys.own(whole)
    centre = torch.stack((keys.y, keys.x), dim=2).to(share)  # (N, k, 2)
    middle = keys.sums(part[..., None] * centre)  # (N, R, 2)
    first, second = (moments[..., 1:] / mass[..., None]).split((2, 1), dim=2)
    about = second[..., 0] - 2 * (first * middle).sum(2) + middle.square().sum(2)
    away = [centre[..., axis] - keys.own(middle[..., axis]) for axis in (0, 1)]
    between = keys.sums(part * (away[0].square() + away[1].square()))
    spread = ((about - between) / 2).clamp_min(0).sqrt()
    return share, keys.own(spread.clamp(SPREAD, _SPREADS[-1]))


def _level(spread: Tensor) -> Tensor:
    """Which of `_SPREADS` is nearest, int64."""
    return (2 * (spread / SPREAD).log2()).round().long()


def _prior(config: TrackingConfig) -> kernel.Prior | None:
    """For the kernel, which knows the fixed spread alone, and neighbours allowed."""
    if config.compact_spread == "fitted" or config.compact_neighbours == "suppressed":
        return None
    published = config.compact_form == "published"
    return kernel.Prior(config.gaussians, config.compact_threshold, published, taps(SPREAD))


def _counted(values: Tensor, config: Config) -> Tensor:
    """Values (R h w, K), with ones for a last channel where masses have to be counted."""
    return values if config.compact_form == "mass" else F.pad(values, (0, 1), value=1.0)


def _blurred(
    values: Tensor, references: int, cells: tuple[int, int], config: Config
) -> list[Tensor]:
    """Values (R h w, K) as a Gaussian of each spread sees them."""
    planes = values.T.unflatten(1, (references, *cells)).transpose(0, 1)  # (R, K, h, w)
    spreads = _SPREADS if config.compact_spread == "fitted" else _SPREADS[:1]
    normal = config.compact_form == "mass"
    return [blur(planes, spread, normal).permute(0, 2, 3, 1).flatten(0, 2) for spread in spreads]


def _divided(total: Tensor, config: Config) -> Tensor:
    """What queries gave, (N, K), without the channel of `_counted`."""
    if config.compact_form == "mass":
        return total
    return total[:, :-1] / total[:, -1:].clamp_min(_TINY)
