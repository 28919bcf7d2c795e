"""The reconstruction losses: a frame's colours rebuilt from its neighbours through the affinity.

Legend: B batch, C channels, H W pixels, h w feature cells.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from liir.grid import STRIDE
from liir.matching import normalise, reconstruct
from liir.presets import TrainingConfig


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


def enlarge(cells: Tensor, height: int, width: int) -> Tensor:
    """Bilinear enlargement on the cell grid: cell (j, i) lands exactly on pixel (4 j, 4 i).

    Args:
        cells: (B, K, h, w).
        height: H; h = ceil(H / 4).
        width: W.

    Returns:
        (B, K, H, W); pixels beyond the last cell repeat it.
    """
    rows, columns = cells.shape[-2:]
    size = (STRIDE * (rows - 1) + 1, STRIDE * (columns - 1) + 1)
    large = F.interpolate(cells, size, mode="bilinear", align_corners=True)
    beyond = (0, max(0, width - size[1]), 0, max(0, height - size[0]))
    return F.pad(large, beyond, mode="replicate")[..., :height, :width]


def colour_loss(rebuilt: Tensor, target: Tensor, scale: float) -> Tensor:
    """Smooth L1 between rebuilt and true colours at full size.

    Args:
        rebuilt: (B, 1, h, w) at stride 4.
        target: (B, 1, H, W).
        scale: Factor on both before the loss.

    Returns:
        Scalar.
    """
    large = enlarge(rebuilt, *target.shape[-2:])
    return F.smooth_l1_loss(scale * large, scale * target)


def intra_video_loss(
    features: Tensor, lab: Tensor, dropped: Tensor, config: TrainingConfig
) -> Tensor:
    """Intra-video reconstruction (LIIR, section 3.1): the last frame rebuilt from the others.

    Args:
        features: (B, T, C, h, w) pixel features; the last of the T frames is the target.
        lab: (B, T, 3, H, W) full colours.
        dropped: (B,) which channel the network did not see, and which is rebuilt.
        config: Radius, temperature, similarity, colour scale.

    Returns:
        Scalar, float32.
    """
    samples = torch.arange(len(lab), device=lab.device)
    hidden = lab[samples, :, dropped][:, :, None]  # (B, T, 1, H, W)
    features = normalise(features.float(), config.similarity)
    rebuilt, _ = reconstruct(
        features[:, -1],
        features[:, :-1],
        hidden[:, :-1, :, ::STRIDE, ::STRIDE],
        radius=config.radius,
        temperature=config.temperature,
    )
    return colour_loss(rebuilt, hidden[:, -1], config.colour_scale)
