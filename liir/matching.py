"""Windowed affinity between the cells of one frame and those of its reference frames.

Used by tracking (which keeps the best keys) and by the losses (which rebuild colours). The
affinity of all queries with all keys of their windows is never held at once: queries are taken in
square tiles, whose windows together cover one patch of keys; a tile's similarities are one matrix
product, and pairs outside the window or the frame get minus infinity.

Legend: B batch, R reference frames, C channels, K value channels, h w cells, r radius,
t side of a tile, p = t + 2r side of a patch, n tiles taken together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from liir.presets import Similarity

TILE = 8
_GROUP = 32
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


def normalise(features: Tensor, similarity: Similarity, dim: int = -3) -> Tensor:
    """Unit length along `dim` for cosine similarity; unchanged for dot products."""
    return F.normalize(features, dim=dim) if similarity == "cosine" else features


def match(
    query: Tensor, keys: Tensor, *, radius: int, topk: int, temperature: float, full: bool = False
) -> Matches:
    """Finds the `topk` most similar keys of each query in its window, over all references.

    Args:
        query: (C, h, w) features, already normalised for the similarity wanted.
        keys: (R, C, h, w), likewise.
        radius: Of the square window, in cells.
        topk: Keys to keep.
        temperature: Divides similarities.
        full: Take the log-sum-exp over the whole window instead of the kept keys.

    Returns:
        `Matches`; products are summed in the dtype of the features.
    """
    references, _, height, width = keys.shape
    cells = height * width
    topk = min(topk, references * cells)
    values = query.new_full((cells, topk), -torch.inf, dtype=torch.float32)
    places = torch.zeros(cells, topk, dtype=torch.int64, device=query.device)
    lse = values.new_empty(cells)
    # Tiles at the right and lower border hold queries beyond the frame: theirs go to waste.
    for rows, scores, patch in _scores(query[None], keys[None], radius):
        scores = scores.flatten(0, 1)  # (n t t, R p p)
        best, index = _topk(scores, topk)
        best = best.float() / temperature
        keep = rows.flatten() >= 0
        rows_kept = rows.flatten()[keep]
        found = best.shape[1]
        values[rows_kept, :found] = best[keep]
        tile = torch.arange(len(rows), device=rows.device).repeat_interleave(TILE * TILE)
        places[rows_kept, :found] = patch[tile[keep, None], index[keep]]
        if full:
            lse[rows_kept] = torch.logsumexp(scores.float() / temperature, dim=1)[keep]
    # A query whose window holds fewer keys than topk is filled up with weightless copies.
    places = torch.where(values > -torch.inf, places, places[:, :1])
    return Matches(values, places, lse if full else torch.logsumexp(values, dim=1))


def reconstruct(
    query: Tensor, keys: Tensor, values: Tensor, *, radius: int, temperature: float
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

    Returns:
        (B, K, h, w) rebuilt values, and (B, h, w) log-sum-exp of each query's window, both in
        the dtype of the values.
    """
    batch, _, height, width = query.shape
    channels = values.shape[2]
    rebuilt, lse, order = [], [], []
    patches = _patches(values, radius)
    start = 0
    for rows, scores, _ in _scores(query / temperature, keys, radius):
        scores = scores.to(values.dtype)
        block = patches[start : start + len(rows)]
        start += len(rows)
        rebuilt.append((scores.softmax(dim=-1) @ block.transpose(1, 2)).flatten(0, 1))
        lse.append(torch.logsumexp(scores, dim=-1).flatten())
        order.append(rows.flatten())
    rows = torch.cat(order)
    keep = (rows >= 0).nonzero()[:, 0]
    # Rows come tile by tile: put them back into reading order (a permutation, once padding is out).
    place = keep[rows[keep].argsort()]
    out = torch.cat(rebuilt)[place].view(batch, height, width, channels).permute(0, 3, 1, 2)
    return out, torch.cat(lse)[place].view(batch, height, width)


def _scores(
    query: Tensor, keys: Tensor, radius: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yields the similarities of a few tiles at a time.

    Yields:
        (n, t t) rows: index b h w + y w + x of each query, -1 beyond the frame;
        (n, t t, R p p) similarities, minus infinity outside the window or the frame;
        (n, R p p) cells: index r h w + y w + x of each key (any value where masked).
    """
    batch, references, _, height, width = keys.shape
    device = query.device
    down, across = -(-height // TILE), -(-width // TILE)
    index = torch.arange(height * width, device=device).view(height, width)
    rows = _tile(
        F.pad(index, (0, -width % TILE, 0, -height % TILE), value=-1)[None, None]
    )  # (tiles, 1, t t)
    cells = _patches(index.view(1, 1, 1, height, width), radius, value=-1)[:, 0]  # (tiles, p p)
    side = TILE + 2 * radius
    offset = torch.arange(side, device=device) - torch.arange(TILE, device=device)[:, None]
    near = (offset >= 0) & (offset <= 2 * radius)  # (t, p)
    window = (near[:, None, :, None] & near[None, :, None, :]).reshape(TILE**2, side**2)
    outside = torch.zeros(window.shape, dtype=query.dtype, device=device)
    outside.masked_fill_(~window, -torch.inf)

    tiles = down * across
    queries = _tile(F.pad(query, (0, -width % TILE, 0, -height % TILE)))  # (B tiles, C, t t)
    patches = _patches(keys, radius)  # (B tiles, C, R p p)
    step = max(1, _CHUNK_SCORES // (TILE**2 * references * side**2))
    base = torch.arange(references, device=device)[:, None] * (height * width)
    beyond = torch.zeros(cells.shape, dtype=query.dtype, device=device)
    beyond.masked_fill_(cells < 0, -torch.inf)
    start = 0
    for tile_queries, tile_keys in zip(queries.split(step), patches.split(step), strict=True):
        part = torch.arange(start, start + len(tile_queries), device=device)
        start += len(tile_queries)
        tile = part % tiles
        scores = (tile_queries.transpose(1, 2) @ tile_keys).unflatten(2, (references, side**2))
        bias = outside + beyond[tile][:, None]  # (n, t t, p p)
        row = rows[tile, 0]
        shift = (part // tiles * height * width)[:, None]
        yield (
            torch.where(row >= 0, row + shift, row),
            (scores + bias[:, :, None]).flatten(2),
            (cells[tile][:, None] + base).flatten(1),
        )


def _tile(planes: Tensor) -> Tensor:
    """(B, C, h, w), sides multiples of t, to (B tiles, C, t t)."""
    tiles = planes.unfold(2, TILE, TILE).unfold(3, TILE, TILE)  # (B, C, ny, nx, t, t)
    return tiles.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(2)


def _patches(planes: Tensor, radius: int, value: int = 0) -> Tensor:
    """(B, R, C, h, w) to (B tiles, C, R p p): the keys around each tile, `value` beyond."""
    height, width = planes.shape[-2:]
    side = TILE + 2 * radius
    pad = (radius, radius + -width % TILE, radius, radius + -height % TILE)
    padded = F.pad(planes, pad, value=value)
    patches = padded.unfold(3, side, TILE).unfold(4, side, TILE)  # (B, R, C, ny, nx, p, p)
    patches = patches.permute(0, 3, 4, 2, 1, 5, 6)  # (B, ny, nx, C, R, p, p)
    return patches.flatten(0, 2).flatten(2)


def _topk(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`torch.topk` along the last dimension, in two levels.

    The k best of a row lie in the k groups with the best maxima, so that only those are sorted.
    """
    count = scores.shape[1]
    k = min(k, count)
    groups = count // _GROUP
    if count % _GROUP or groups <= k:
        return scores.topk(k, dim=1)
    grouped = scores.view(-1, groups, _GROUP)
    chosen = grouped.amax(dim=2).topk(k, dim=1, sorted=False).indices  # (rows, k)
    short = grouped.gather(1, chosen[:, :, None].expand(-1, -1, _GROUP)).flatten(1)
    best, index = short.topk(k, dim=1)
    group = chosen.gather(1, index // _GROUP)
    return best, group * _GROUP + index % _GROUP
