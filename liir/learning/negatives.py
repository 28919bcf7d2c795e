"""Negatives of inter-video reconstruction: a bank of other videos' pixels, and their share.

Legend: N queries, F frames in the bank, P points of each, M = F P negatives, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

_BLOCK = 1024
"""Negatives compared at once: 4,096 queries then take 16 MiB."""


_LARGE = 1 << 16


class Bank(nn.Module):
    """A first-in-first-out store of region features, each frame with the video it is from.

    All it holds are buffers: it moves, is saved and is restored with the module it belongs to.
    From `_LARGE` points on it keeps them in bfloat16, at half the memory: a million of 128 channels
    take 244 MiB.

    Args:
        frames: F, frames kept.
        points: P, points kept of each frame.
        channels: C of the region head.
    """

    features: Tensor
    videos: Tensor
    pushed: Tensor

    def __init__(self, frames: int, points: int, channels: int) -> None:
        super().__init__()
        dtype = torch.bfloat16 if frames * points >= _LARGE else torch.float32
        self.register_buffer("features", torch.zeros(frames, points, channels, dtype=dtype))
        self.register_buffer("videos", torch.full((frames,), -1, dtype=torch.int64))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    @property
    def full(self) -> bool:
        """Whether every place has been filled once."""
        return int(self.pushed) >= len(self.videos)

    def push(self, features: Tensor, videos: Tensor) -> None:
        """Puts frames in; the oldest go.

        Args:
            features: (B, P, C), without gradient.
            videos: (B,) int64 identity of each frame's video; the same for the same content.
        """
        room = len(self.videos)
        # Of a batch larger than the bank only the last frames would survive.
        features, videos = features[-room:], videos[-room:]
        place = (self.pushed + torch.arange(len(videos), device=self.videos.device)) % room
        self.features[place] = features.detach().to(self.features)
        self.videos[place] = videos.to(self.videos)
        self.pushed += len(videos)

    def negatives(self) -> tuple[Tensor, Tensor]:
        """(M, C) features and (M,) identity of the video of each; empty places have -1."""
        points = self.features.shape[1]
        return self.features.flatten(0, 1), self.videos.repeat_interleave(points)


def negative_lse(
    query: Tensor,
    query_videos: Tensor,
    keys: Tensor,
    key_videos: Tensor,
    temperature: float,
    block: int = _BLOCK,
) -> Tensor:
    """Log-sum-exp of each query's similarities to the negatives of other videos.

    Exact, and never larger than N x `block`: all that the backward pass needs, (N, C), is summed on
    the way. Keys of the query's own video, and empty places of the bank (-1), take no part; a query
    left without negatives has minus infinity.

    Args:
        query: (N, C), differentiable.
        query_videos: (N,) int64.
        keys: (M, C), constant.
        key_videos: (M,) int64.
        temperature: Divides similarities.
        block: Negatives compared at once.

    Returns:
        (N,) in the dtype of the queries.
    """
    gaps = bool((key_videos < 0).any())

    def pieces() -> Iterator[_Piece]:
        for some, owner in zip(keys.split(block), key_videos.split(block), strict=True):
            barred = query_videos[:, None] == owner
            yield (), some.to(query.dtype), barred | (owner < 0) if gaps else barred

    return _lse(query / temperature, pieces())


def window_lse(
    query: Tensor,
    query_videos: Tensor,
    keys: Tensor,
    key_videos: Tensor,
    *,
    radius: int,
    temperature: float,
) -> Tensor:
    """Log-sum-exp of each query's similarities to the same window of other videos' frames.

    Negatives at the query's own place: position cannot tell them apart. Streamed as
    `negative_lse` is.

    Args:
        query: (B, C, h, w), differentiable.
        query_videos: (B,) int64.
        keys: (F, C, h, w), constant.
        key_videos: (F,) int64; -1 is an empty place.
        radius: Of the window, in cells.
        temperature: Divides similarities.

    Returns:
        (B, h, w); minus infinity where no other video is in the bank.
    """
    height, width = query.shape[-2:]
    barred = (query_videos[:, None] == key_videos) | (key_videos < 0)  # (B, F)

    def pieces() -> Iterator[_Piece]:
        reach = min(radius, width - 1)
        for other in range(height):
            row = keys[:, :, other].permute(2, 0, 1).to(query.dtype).contiguous()  # (w, F, C)
            for y in range(max(0, other - radius), min(height, other + radius + 1)):
                for right in range(-reach, reach + 1):
                    columns = slice(max(0, -right), width - max(0, right))
                    theirs = slice(columns.start + right, columns.stop + right)
                    yield (y, columns), row[theirs], barred

    places = (query / temperature).permute(2, 3, 0, 1).contiguous()  # (h, w, B, C)
    return _lse(places, pieces()).permute(2, 0, 1)


_Piece = tuple[tuple[int | slice, ...], Tensor, Tensor]
"""Where in the queries (..., N, C), the keys (..., m, C) they meet, which pairs are barred."""


def _lse(query: Tensor, pieces: Iterator[_Piece]) -> Tensor:
    """Log-sum-exp (..., N) of queries (..., N, C) over keys that come in pieces."""
    result: Tensor = _StreamedLse.apply(query, pieces)  # type: ignore[no-untyped-call]
    return result


class _StreamedLse(torch.autograd.Function):
    """The gradient of a log-sum-exp is the mean of the keys by their shares: summed on the way."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, pieces: Iterator[_Piece]) -> Tensor:
        total = query.new_full(query.shape[:-1], -torch.inf)
        mean = torch.zeros_like(query) if ctx.needs_input_grad[0] else None
        for place, keys, scores in _scores(query, pieces):
            top = _finite(scores.amax(dim=-1))
            shares = scores.sub_(top[..., None]).exp_()  # of the largest
            before = total[place].clone()
            after = torch.logaddexp(before, top + shares.sum(dim=-1).log())
            total[place] = after
            if mean is not None:
                after = _finite(after)
                weight = (top - after).exp()[..., None]
                mean[place].mul_((before - after).exp()[..., None]).add_(weight * (shares @ keys))
        ctx.mean = mean
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[..., None] * ctx.mean, None


def _finite(logarithms: Tensor) -> Tensor:
    """Zero for minus infinity: a difference to it then has no share, and no NaN."""
    return logarithms.masked_fill(logarithms == -torch.inf, 0.0)


def _scores(
    query: Tensor, pieces: Iterator[_Piece]
) -> Iterator[tuple[tuple[int | slice, ...], Tensor, Tensor]]:
    """Yields each piece's place, keys (..., m, C) and masked similarities (..., N, m)."""
    room = query.new_empty(0)  # one for all: fresh memory costs as much as what is done in it
    for place, keys, barred in pieces:
        some = query[place]
        shape = (*some.shape[:-1], keys.shape[-2])
        if room.numel() < math.prod(shape):
            room = query.new_empty(math.prod(shape))
        scores = torch.matmul(some, keys.mT, out=room[: math.prod(shape)].view(shape))
        yield place, keys, scores.masked_fill_(barred, -torch.inf)
