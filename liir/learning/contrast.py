"""Contrast over cells whose match is known: two views of one picture, made by `views`.

Legend: B samples, T frames of each, C channels, h w cells at stride 4.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from liir.grid import STRIDE
from liir.matching import normalise
from liir.presets import TrainingConfig


def contrast_loss(features: Tensor, correspondence: Tensor, config: TrainingConfig) -> Tensor:
    """How much likelier other cells of the reference are than the true match (InfoNCE).

    The true match lies between cells: its feature is read there, bilinearly. All cells of the
    reference compete with it (van den Oord et al., 2018, eq. 4, over positions).

    Args:
        features: (B, T, C, h, w) pixel features; the last of the T frames is the target view, the
            first one the reference.
        correspondence: (B, h, w, 2) x, y in pixels of the reference, NaN where nothing is known.
        config: Temperature, similarity.

    Returns:
        Scalar, float32: the mean over known cells of a sample, zero where there are none, and over
        samples.
    """
    height, width = features.shape[-2:]
    keys, query = (normalise(features[:, i].float(), config.similarity) for i in (0, -1))
    known = correspondence.isfinite().all(dim=-1)  # (B, h, w)
    # Cell (j, i) is that of pixel (4 j, 4 i); the corners of the grid are the first and last cell.
    last = correspondence.new_tensor([width - 1, height - 1]) * STRIDE
    places = 2 * correspondence.nan_to_num() / last - 1
    match = F.grid_sample(keys, places, padding_mode="border", align_corners=True)
    match = normalise(match, config.similarity)
    right = (query * match).sum(1) / config.temperature  # (B, h, w)
    scores = query.flatten(2).transpose(1, 2) @ keys.flatten(2)  # (B, h w, h w)
    others = torch.logsumexp(scores / config.temperature, dim=2).view_as(right)
    wrong = torch.where(known, others - right, 0.0)
    counts = known.sum((1, 2)).clamp_min(1)
    return (wrong.sum((1, 2)) / counts).mean()
