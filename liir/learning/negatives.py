"""Negatives of inter-video reconstruction: a bank of other videos' pixels, and their share.

Legend: N queries, F frames in the bank, P points of each, M = F P negatives, C channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from liir.matching import reconstruct

_BLOCK = 2048
"""Negatives compared at once: 4,096 queries then take 32 MiB."""


class Bank(nn.Module):
    """A first-in-first-out store of region features, each frame with the video it is from.

    All it holds are buffers: it moves, is saved and is restored with the module it belongs to.

    Args:
        frames: F, frames kept.
        points: P, points kept of each frame.
        channels: C of the region head.
        dtype: Of the features; float32, or bfloat16 for a large bank.
    """

    features: Tensor
    videos: Tensor
    pushed: Tensor

    def __init__(
        self, frames: int, points: int, channels: int, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
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

    Exact, and never larger than N x `block`: the forward pass keeps the sum alone, the backward
    pass computes the similarities again. Keys of the query's own video, and empty places of the
    bank (-1), take no part; a query left without negatives has minus infinity.

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
    result: Tensor = _NegativeLse.apply(  # type: ignore[no-untyped-call]
        query, query_videos, keys, key_videos, temperature, block
    )
    return result


def _blocks(
    query: Tensor, videos: Tensor, keys: Tensor, owners: Tensor, temperature: float, block: int
) -> Any:
    """Yields keys (m, C) and masked similarities (N, m), one block after the other."""
    room = query.new_empty(len(query) * min(block, len(keys)))
    query = query / temperature
    for some, owner in zip(keys.split(block), owners.split(block), strict=True):
        some = some.to(query.dtype)
        scores = torch.mm(query, some.T, out=room[: len(query) * len(some)].view(len(query), -1))
        own = videos[:, None] == owner
        yield some, scores.masked_fill_(own | (owner < 0), -torch.inf)


class _NegativeLse(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        videos: Tensor,
        keys: Tensor,
        owners: Tensor,
        temperature: float,
        block: int,
    ) -> Tensor:
        total = query.new_full((len(query),), -torch.inf)
        for _, scores in _blocks(query, videos, keys, owners, temperature, block):
            total = torch.logaddexp(total, torch.logsumexp(scores, dim=1))
        ctx.save_for_backward(query, videos, keys, owners, total)
        ctx.temperature, ctx.block = temperature, block
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, videos, keys, owners, total = ctx.saved_tensors
        # Without a negative there is no sum to subtract: all shares are exp(-inf) = 0.
        total = total.masked_fill(total == -torch.inf, 0.0)
        out = torch.zeros_like(query)
        blocks = _blocks(query, videos, keys, owners, ctx.temperature, ctx.block)
        for some, scores in blocks:
            share = scores.sub_(total[:, None]).exp_().mul_(gradient[:, None])
            out.addmm_(share, some)
        return out.div_(ctx.temperature), None, None, None, None, None


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

    Negatives at the query's own place: position cannot tell them apart.

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
    batch, frames = len(query), len(keys)
    # Every query against every frame: pairs are the batch, one reference each.
    pairs = query[:, None].expand(-1, frames, -1, -1, -1).flatten(0, 1)
    others = keys.to(query.dtype).expand(batch, -1, -1, -1, -1).flatten(0, 1)[:, None]
    nothing = query.new_empty(batch * frames, 1, 0, *query.shape[-2:])
    _, lse = reconstruct(pairs, others, nothing, radius=radius, temperature=temperature)
    barred = (query_videos[:, None] == key_videos) | (key_videos < 0)
    lse = lse.unflatten(0, (batch, frames)).masked_fill(barred[:, :, None, None], -torch.inf)
    return _logsumexp(lse, dim=1)


def _logsumexp(values: Tensor, dim: int) -> Tensor:
    """As torch's, with a gradient of zero where all values are minus infinity."""
    largest = values.detach().amax(dim, keepdim=True)
    largest = largest.masked_fill(largest == -torch.inf, 0.0)
    total = (values - largest).exp().sum(dim)
    return torch.where(total > 0, total.clamp_min(1e-38).log(), -torch.inf) + largest.squeeze(dim)
