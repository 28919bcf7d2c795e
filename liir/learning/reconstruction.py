"""The reconstruction losses: a frame's colours rebuilt from its neighbours through the affinity.

Legend: B batch, C channels, H W pixels, h w feature cells.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from liir.compactness import penalty
from liir.grid import STRIDE
from liir.matching import Strip, normalise, reconstruct
from liir.presets import TrainingConfig

REGION_STRIDE = 2 * STRIDE
"""Pixels from cell to cell of the region head."""


def drop_channel(lab: Tensor, dropped: Tensor) -> Tensor:
    """Hides one of the channels a, b from the network, so that it cannot copy what it rebuilds.

    Args:
        lab: (B, 3, H, W) scaled Lab.
        dropped: (B,) int64, 1 (a) or 2 (b).

    Returns:
        (B, 3, H, W): the dropped channel zero, the others times 3/2, which keeps the mean
        magnitude of the input.
    """
    kept = torch.full((len(lab), 3), 1.5, dtype=lab.dtype, device=lab.device)
    kept = kept.scatter(1, dropped[:, None], 0.0)
    return lab * kept[:, :, None, None]


def enlarge(cells: Tensor, height: int, width: int, stride: int = STRIDE) -> Tensor:
    """Bilinear enlargement on the cell grid: cell (j, i) lands exactly on pixel (s j, s i).

    Args:
        cells: (B, K, h, w).
        height: H; h = ceil(H / s).
        width: W.
        stride: s, pixels from cell to cell.

    Returns:
        (B, K, H, W); pixels beyond the last cell repeat it.
    """
    rows, columns = cells.shape[-2:]
    size = (stride * (rows - 1) + 1, stride * (columns - 1) + 1)
    large = F.interpolate(cells, size, mode="bilinear", align_corners=True)
    beyond = (0, max(0, width - size[1]), 0, max(0, height - size[0]))
    return F.pad(large, beyond, mode="replicate")[..., :height, :width]


def colour_loss(
    rebuilt: Tensor,
    target: Tensor,
    scale: float,
    stride: int = STRIDE,
    free: Tensor | None = None,
) -> Tensor:
    """Smooth L1 between rebuilt and true colours at full size.

    Args:
        rebuilt: (B, 1, h, w).
        target: (B, 1, H, W).
        scale: Factor on both before the loss.
        stride: Pixels from cell to cell.
        free: (B, 1, H, W) bool, which pixels count; None: all.

    Returns:
        Scalar.
    """
    height, width = target.shape[-2:]
    large = enlarge(rebuilt, height, width, stride)
    if free is None:
        return F.smooth_l1_loss(scale * large, scale * target)
    loss = F.smooth_l1_loss(scale * large, scale * target, reduction="none")
    # A mean for each sample, so that samples weigh the same.
    shares = (loss * free).sum((1, 2, 3)) / free.sum((1, 2, 3)).clamp_min(1)
    return shares.mean()


def in_reach(correspondence: Tensor, radius: int) -> Tensor:
    """Which pixels of a target can be rebuilt from a window around them.

    Args:
        correspondence: (B, h, w, 2) x, y in pixels of the reference, where each cell of the target
            lies; NaN where it lies outside, and everywhere in samples of which it is not known.
        radius: Of the window, in cells.

    Returns:
        (B, 1, H, W) bool, H = s h: all of a sample of which nothing is known.
    """
    rows, columns = (
        torch.arange(n, device=correspondence.device) for n in correspondence.shape[1:3]
    )
    cells = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    near = (correspondence / STRIDE - cells).abs().amax(dim=-1) <= radius  # NaN is not
    unknown = ~correspondence.isfinite().flatten(1).any(dim=1)
    reached = near | unknown[:, None, None]
    return reached.repeat_interleave(STRIDE, 1).repeat_interleave(STRIDE, 2)[:, None]


def hidden_colours(lab: Tensor, dropped: Tensor) -> Tensor:
    """The channel that the network did not see: (B, T, 3, H, W) and (B,) to (B, T, 1, H, W)."""
    samples = torch.arange(len(lab), device=lab.device)
    return lab[samples, :, dropped][:, :, None]


def split_lightness(lab: Tensor) -> tuple[Tensor, Tensor]:
    """What is hidden of footage without colour: brightness, while its detail stays to be seen.

    L is parted into its mean over a neighbourhood of about two cells and what differs from it.
    Where there is no a and b to rebuild, the former takes their place: the network does not see it.

    Args:
        lab: (B, T, 3, H, W) scaled Lab.

    Returns:
        (B, T, 3, H, W) with the detail in the place of L; (B, T, 1, H, W), the mean.
    """
    lightness = lab[:, :, :1].flatten(0, 1)
    side = 2 * STRIDE + 1
    mean = lightness
    for _ in range(2):  # twice a box is nearly a Gaussian
        padded = F.pad(mean, (STRIDE, STRIDE, STRIDE, STRIDE), mode="replicate")
        mean = F.avg_pool2d(padded, side, stride=1)
    hidden = mean.unflatten(0, lab.shape[:2])
    return torch.cat((lab[:, :, :1] - hidden, lab[:, :, 1:]), dim=2), hidden


def intra_video_losses(
    features: Tensor,
    hidden: Tensor,
    config: TrainingConfig,
    *,
    compact: bool = False,
    free: Tensor | None = None,
) -> dict[str, Tensor]:
    """Intra-video reconstruction (LIIR, section 3.1): the last frame rebuilt from the others.

    Args:
        features: (B, T, C, h, w) pixel features at stride 4; the last of the T frames is the
            target.
        hidden: (B, T, 1, H, W) the colours that the network did not see.
        config: Radius, temperature, similarity, colour scale; compactness.
        compact: Whether to measure compactness too (section 3.3).
        free: As in `colour_loss`.

    Returns:
        Scalars, float32: "intra" and, if asked for, "compact".
    """
    features = normalise(features.float(), config.similarity)
    penalties: list[Tensor] = []

    def watch(strip: Strip, weights: Tensor) -> None:
        penalties.append(penalty(strip, weights, config))

    rebuilt, _ = reconstruct(
        features[:, -1],
        features[:, :-1],
        hidden[:, :-1, :, ::STRIDE, ::STRIDE],
        radius=config.radius,
        temperature=config.temperature,
        watch=watch if compact else None,
    )
    losses = {"intra": colour_loss(rebuilt, hidden[:, -1], config.colour_scale, free=free)}
    if compact:
        batch, references = features.shape[0], features.shape[1] - 1
        rows = batch * references * features.shape[3] * features.shape[4]
        losses["compact"] = torch.stack(penalties).sum() / rows
    return losses


def inter_video_loss(
    features: Tensor,
    hidden: Tensor,
    negatives: Callable[[Tensor], Tensor],
    config: TrainingConfig,
    free: Tensor | None = None,
) -> Tensor:
    """Inter-video reconstruction (LIIR, section 3.2): other videos compete, the own one rebuilds.

    The softmax runs over the own video's window and over pixels of other videos; colours come
    from the own video alone, so that mass which leaks to others shrinks them and is punished.

    Args:
        features: (B, T, C, h, w) region features at stride 8, normalised; the last of the T frames
            is the target.
        hidden: (B, T, 1, H, W) the colours that the network did not see.
        negatives: Of the target's features (B, C, h, w), the log-sum-exp (B, h, w) over other
            videos' pixels.
        config: Radius, temperature, colour scale.
        free: As in `colour_loss`.

    Returns:
        Scalar, float32.
    """
    rebuilt, own = reconstruct(
        features[:, -1],
        features[:, :-1],
        hidden[:, :-1, :, ::REGION_STRIDE, ::REGION_STRIDE],
        radius=config.inter_radius,
        temperature=config.temperature,
    )
    # exp(own) / (exp(own) + exp(others)): the own video's share of all mass.
    share = torch.sigmoid(own - negatives(features[:, -1]))
    rebuilt = rebuilt * share[:, None]
    return colour_loss(rebuilt, hidden[:, -1], config.colour_scale, REGION_STRIDE, free)
