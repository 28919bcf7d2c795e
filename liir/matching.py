"""Windowed affinity between the cells of one frame and those of its reference frames.

Used by tracking (which keeps the best keys) and by the losses (which rebuild colours). The
affinity of all queries with all keys of their windows is never held at once: queries are taken in
square tiles, whose windows together cover one patch of keys; a tile's similarities are one matrix
product, and pairs outside the window or the frame get minus infinity.

Legend: B batch, R reference frames, C channels, K value channels, h w cells, r radius,
t side of a tile, p = t + 2r side of a patch, n tiles taken together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from liir.kernel import best_keys, window_sums
from liir.presets import Similarity

TILE = 8
_GROUP = 8  # a power of two
_CHUNK_SCORES = 1 << 20
"""Similarities computed at once: small enough to stay in a processor's cache."""


@dataclass(frozen=True)
class Matches:
    """The best keys of every query over all references jointly.

    Attributes:
        values: (h w, k) similarities divided by the temperature, float32, best first; minus
            infinity where a query has fewer than k keys.
        cells: (h w, k) int64 index r h w + y w + x of each key.
        lse: (h w,) float32 log-sum-exp over the kept keys, or over the whole window where `match`
            was told so.
    """

    values: Tensor
    cells: Tensor
    lse: Tensor

    @property
    def weights(self) -> Tensor:
        """(h w, k) float32: exp(values - lse)."""
        return (self.values - self.lse[:, None]).exp()

    def tally(self, values: Tensor) -> Tensor:
        """Sums values of the keys, weighted; (h w, k, K) is never held.

        Args:
            values: (R h w, K) float32.

        Returns:
            (h w, K).
        """
        return F.embedding_bag(self.cells, values, per_sample_weights=self.weights, mode="sum")


def normalise(features: Tensor, similarity: Similarity, dim: int = -3) -> Tensor:
    """Unit length along `dim`, measured in float32, for cosine similarity; else unchanged."""
    if similarity == "dot":
        return features
    wide = torch.promote_types(features.dtype, torch.float32)  # bfloat16 would be off by 0.2 %
    length = torch.linalg.vector_norm(features, dim=dim, keepdim=True, dtype=wide)
    unit: Tensor = features * (1 / length.clamp_min(1e-12))
    return unit.to(features.dtype)


def match(
    query: Tensor,
    keys: Tensor,
    *,
    radius: int | Sequence[int],
    topk: int,
    temperature: float,
    full: bool = False,
) -> Matches:
    """Finds the `topk` most similar keys of each query in its window, over all references.

    Args:
        query: (C, h, w) features, already normalised for the similarity wanted.
        keys: (R, C, h, w), likewise.
        radius: Of the square window, in cells; one for all references or one for each.
        topk: Keys to keep.
        temperature: Divides similarities.
        full: Take the log-sum-exp over the whole window instead of the kept keys.

    Returns:
        `Matches`; products are summed in the dtype of the features, or in float32.
    """
    references, _, height, width = keys.shape
    radii = [radius] * references if isinstance(radius, int) else radius
    radii = [min(each, max(height, width) - 1) for each in radii]
    topk = min(topk, references * height * width)
    best = None if full else best_keys(query, keys, radii, topk)
    if best is not None:
        values = best[0] / temperature
        return Matches(values, _filled(*best), torch.logsumexp(values, dim=1))
    parts = []
    for each in sorted(set(radii)):
        chosen = [r for r in range(references) if radii[r] == each]
        own = keys[chosen] if len(chosen) < references else keys
        values, cells, lse = _search(query, own, each, topk, temperature, full)
        owner = torch.tensor(chosen, device=cells.device)[cells // (height * width)]
        parts.append((values, owner * (height * width) + cells % (height * width), lse))
    values, order = torch.cat([p[0] for p in parts], dim=1).topk(topk, dim=1)
    cells = torch.cat([p[1] for p in parts], dim=1).gather(1, order)
    lse = torch.stack([p[2] for p in parts]) if full else values.T
    return Matches(values, _filled(values, cells), torch.logsumexp(lse, dim=0))


def _search(
    query: Tensor, keys: Tensor, radius: int, topk: int, temperature: float, full: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The values and cells of `match` for references that share a radius.

    Returns:
        (h w, topk) values and cells, and (h w,) the log-sum-exp over the window, zero unless
        `full`.
    """
    height, width = query.shape[1:]
    shape = Strip.whole(height, width)
    values = torch.full((*shape, topk), -torch.inf, device=query.device)
    cells = torch.zeros((*shape, topk), dtype=torch.int64, device=query.device)
    lse = values.new_zeros(shape)
    for strip in strips(query[None], keys[None], radius):
        scores = strip.scores[0].flatten(0, 1)  # (n t t, R p p)
        top, index = largest(scores, topk)
        found = slice(0, top.shape[1])
        strip.view(values)[..., found] = strip.fold(top.float() / temperature)
        strip.view(cells)[..., found] = strip.fold(strip.cells(index, height, width))
        if full:
            total = torch.logsumexp(scores.float() / temperature, dim=1, keepdim=True)
            strip.view(lse[..., None])[:] = strip.fold(total)
    values, cells, lse = (plane[:height, :width].flatten(0, 1) for plane in (values, cells, lse))
    return values, _filled(values, cells), lse


def _filled(values: Tensor, cells: Tensor) -> Tensor:
    """Fills the cells of windows with fewer keys than asked for: weightless copies of the best."""
    return torch.where(values > -torch.inf, cells, cells[:, :1])


def reconstruct(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    radius: int,
    temperature: float,
    watch: Callable[[Strip, Tensor], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Rebuilds the query frame's values from its references: softmax over the whole window.

    sum_j A(i, j) v(j) with A(i, j) = exp(<q_i, k_j> / temperature) / sum over the window and all
    references (LIIR, eqs. 1-3). Differentiable in all three.

    Args:
        query: (B, C, h, w) features, already normalised for the similarity wanted.
        keys: (B, R, C, h, w), likewise.
        values: (B, R, K, h, w) colours or labels.
        radius: Of the square window, in cells.
        temperature: Divides similarities.
        watch: Shown the affinity piece by piece, (B, n, t t, R p p) for each strip; it may change
            it in place where nothing is differentiated.

    Returns:
        (B, K, h, w) rebuilt values, and (B, h, w) log-sum-exp of each query's window, both in
        the dtype of the values.
    """
    height, width = query.shape[-2:]
    radius = min(radius, max(height, width) - 1)
    padded = with_margin(values, radius)
    rebuilt: list[list[Tensor]] = []
    totals: list[list[Tensor]] = []
    for strip in strips(query / temperature, keys, radius):
        scores = strip.scores.to(values.dtype)
        weights = scores.softmax(dim=-1)
        # The softmax has summed already: the largest share tells of what.
        total = scores.amax(dim=-1, keepdim=True) - weights.amax(dim=-1, keepdim=True).log()
        if watch is not None:
            watch(strip, weights)
        if strip.columns.start == 0:
            rebuilt.append([])
            totals.append([])
        rebuilt[-1].append(strip.fold(weights @ strip.patches(padded, radius)))
        totals[-1].append(strip.fold(total))

    def whole(folded: list[list[Tensor]]) -> Tensor:  # (B, K, h, w)
        rows = [torch.cat(row, dim=-2) for row in folded]
        return torch.cat(rows, dim=-3)[:, :height, :width].permute(0, 3, 1, 2)

    return whole(rebuilt), whole(totals)[:, 0]


def window_tally(
    query: Tensor, keys: Tensor, *, radius: int, temperature: float
) -> Callable[[Tensor], Tensor]:
    """`Matches.tally` without a choice of best keys: the softmax runs over the whole window.

    Args:
        query: (C, h, w), as for `match`.
        keys: (R, C, h, w).
        radius: As for `match`.
        temperature: As for `match`.

    Returns:
        Sums values (R h w, K) into (h w, K).
    """
    references, _, *cells = keys.shape

    def tally(values: Tensor) -> Tensor:
        form = {"radius": min(radius, max(cells) - 1), "temperature": temperature}
        sums = window_sums(query, keys, values, **form)  # type: ignore[arg-type]
        if sums is not None:
            return sums
        planes = values.T.unflatten(1, (references, *cells)).transpose(0, 1)[None]
        rebuilt, _ = reconstruct(query[None], keys[None], planes, **form)  # type: ignore[arg-type]
        return rebuilt[0].flatten(1).T

    return tally


@dataclass(frozen=True)
class Strip:
    """Neighbouring tiles of one row of tiles; (h, w) is padded to whole tiles.

    Attributes:
        row: Number of the row of tiles.
        columns: Numbers of the tiles in that row.
        scores: (B, n, t t, R p p) similarities, minus infinity outside the window or the frame.
        inside: (n, p p) bool, which keys of each tile's patch lie in the frame.
        real: (n, t t) bool, which queries lie in the frame.
    """

    row: int
    columns: range
    scores: Tensor
    inside: Tensor
    real: Tensor

    @staticmethod
    def whole(height: int, width: int) -> tuple[int, int]:
        """(h, w) in whole tiles: what lies beyond the frame goes to waste."""
        return height + -height % TILE, width + -width % TILE

    def cells(self, index: Tensor, height: int, width: int) -> Tensor:
        """Cells r h w + y w + x, (n t t, k), of the keys at `index` of each query's R p p."""
        side = round(self.inside.shape[1] ** 0.5)
        radius = (side - TILE) // 2
        tiles = torch.arange(self.columns.start, self.columns.stop, device=index.device)
        left = (tiles * TILE - radius).repeat_interleave(TILE**2)[:, None]
        reference, place = index // side**2, index % side**2
        y, x = place // side + (self.row * TILE - radius), place % side + left
        cells: Tensor = (reference * height + y) * width + x
        return cells

    def rows(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (B, n, t t, R p p) as (N, p p), a row per real query and reference; `inside`."""
        rows = weights.unflatten(-1, (-1, self.inside.shape[1]))  # (B, n, t t, R, p p)
        inside = self.inside[None, :, None, None].expand(rows.shape)
        if bool(self.real.all()):
            return rows.flatten(0, 3), inside.flatten(0, 3)
        real = self.real[None, :, :, None].expand(rows.shape[:-1])
        return rows[real], inside[real]

    def patches(self, padded: Tensor, radius: int) -> Tensor:
        """(B, n, R p p, K): the values (`with_margin`) of the keys in the order of `scores`."""
        return _patches(padded, self.row, self.columns, radius)

    def fold(self, rows: Tensor) -> Tensor:
        """(... n t t, K) or (..., n, t t, K) in tiles to (..., t, n t, K) in reading order."""
        count = len(self.columns)
        tiles = rows.reshape(*rows.shape[: -2 if rows.ndim == 2 else -3], count, TILE, TILE, -1)
        return tiles.transpose(-4, -3).flatten(-3, -2)

    def view(self, planes: Tensor) -> Tensor:
        """(t, n t, K): this strip's part of (h, w, K)."""
        columns = slice(self.columns.start * TILE, self.columns.stop * TILE)
        return planes[self.row * TILE : (self.row + 1) * TILE, columns]


def strips(query: Tensor, keys: Tensor, radius: int) -> Iterator[Strip]:
    """Yields the similarities of a few tiles at a time, row by row.

    Args:
        query: (B, C, h, w).
        keys: (B, R, C, h, w).
        radius: Of the window, in cells.
    """
    batch, references, _, height, width = keys.shape
    side = TILE + 2 * radius
    window = _window(radius, query)  # (t t, p, p)
    padded = with_margin(keys, radius)
    tall, wide = -height % TILE, -width % TILE
    queries = F.pad(query, (0, wide, 0, tall)).unfold(2, TILE, TILE).unfold(3, TILE, TILE)
    queries = queries.permute(0, 2, 3, 4, 5, 1).flatten(3, 4)  # (B, ny, nx, t t, C)
    across = queries.shape[2]
    step = max(1, _CHUNK_SCORES // (batch * TILE**2 * references * side**2))
    for row in range(queries.shape[1]):
        for start in range(0, across, step):
            columns = range(start, min(start + step, across))
            patches = _patches(padded, row, columns, radius)  # (B, n, R p p, C)
            scores = queries[:, row, columns.start : columns.stop] @ patches.transpose(2, 3)
            bias, inside, real = _borders(window, row, columns, height, width)
            scores.unflatten(3, (references, side**2)).add_(bias[:, :, None])
            yield Strip(row, columns, scores, inside, real)


def _borders(
    window: Tensor, row: int, columns: range, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What a strip's scores are raised by, (n or 1, t t, p p), and its `inside` and `real`."""
    side = window.shape[-1]
    radius, count = (side - TILE) // 2, len(columns)
    top, left = row * TILE, columns.start * TILE
    bottom, right = top + TILE, columns.stop * TILE
    if min(top, left) >= radius and bottom + radius <= height and right + radius <= width:
        everything = window.new_ones((), dtype=torch.bool)
        return (
            window.flatten(1)[None],
            everything.expand(count, side**2),
            everything.expand(count, TILE**2),
        )
    rows = torch.tensor([row], device=window.device)
    tiles = torch.arange(columns.start, columns.stop, device=window.device)
    inside = _inside(rows, radius, height)[:, :, None] & _inside(tiles, radius, width)[:, None]
    real = (_inside(rows, 0, height)[:, :, None] & _inside(tiles, 0, width)[:, None]).flatten(1)
    bias = window.masked_fill(~inside[:, None], -torch.inf).flatten(2)
    # Queries beyond the frame see everything: a row of minus infinities has no softmax.
    bias = bias.masked_fill_(~real[:, :, None], 0.0)
    return bias, inside.flatten(1), real


def _window(radius: int, like: Tensor) -> Tensor:
    """(t t, p, p): zero where a key of the patch lies in a query's window, else minus infinity."""
    offset = torch.arange(TILE + 2 * radius) - torch.arange(TILE)[:, None]
    near = (offset >= 0) & (offset <= 2 * radius)  # (t, p)
    both = (near[:, None, :, None] & near[None, :, None, :]).flatten(0, 1)
    return like.new_zeros(both.shape).masked_fill(~both.to(like.device), -torch.inf)


def _inside(tiles: Tensor, radius: int, length: int) -> Tensor:
    """(n, p) bool: which keys along one side of each tile's patch lie in the frame."""
    place = tiles[:, None] * TILE - radius + torch.arange(TILE + 2 * radius, device=tiles.device)
    return (place >= 0) & (place < length)


def with_margin(planes: Tensor, radius: int) -> Tensor:
    """(B, R, C, h, w) to (B, R, h', w', C) with a margin: every patch can be cut out of it.

    Channels last: a patch then is copied in long runs.
    """
    height, width = planes.shape[-2:]
    margin = (0, 0, radius, radius + -width % TILE, radius, radius + -height % TILE)
    return F.pad(planes.permute(0, 1, 3, 4, 2), margin)


def _patches(padded: Tensor, row: int, columns: range, radius: int) -> Tensor:
    """(B, n, R p p, C): the keys around each tile."""
    side = TILE + 2 * radius
    strip = padded[
        :,
        :,
        row * TILE : row * TILE + side,
        columns.start * TILE : (columns.stop - 1) * TILE + side,
    ]
    patches = strip.unfold(3, side, TILE)  # (B, R, p, n, C, p)
    return patches.permute(0, 3, 1, 2, 5, 4).flatten(2, 4)


def largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`torch.topk` along the last dimension of (rows, n), in two levels.

    The k best of a row lie in the k groups with the best maxima, so that only those are sorted.
    Group g holds the columns g, g + n/8, g + 2n/8, ...: its maximum is then found by halving
    the row three times, which a processor does many columns at once.
    """
    if scores.shape[1] <= 2 * k * _GROUP:
        return scores.topk(min(k, scores.shape[1]), dim=1)
    scores = F.pad(scores, (0, -scores.shape[1] % _GROUP), value=-torch.inf)
    groups = scores.shape[1] // _GROUP
    maxima = scores
    while maxima.shape[1] > groups:
        half = maxima.shape[1] // 2
        maxima = torch.maximum(maxima[:, :half], maxima[:, half:])
    chosen = maxima.topk(k, dim=1, sorted=False).indices  # (rows, k)
    members = scores.view(-1, _GROUP, groups).gather(2, chosen[:, None].expand(-1, _GROUP, -1))
    best, index = members.flatten(1).topk(k, dim=1)  # index: member k + group
    group = chosen.gather(1, index % k)
    return best, torch.div(index, k, rounding_mode="floor") * groups + group
