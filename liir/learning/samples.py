"""Pictures of a training step: what was rebuilt, and from where.

Legend: B samples, T frames of each, C channels, H W pixels, h w cells at stride 4.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from liir.affinity import blocks, mass, row
from liir.colour import lab_to_rgb
from liir.figures import Picture, contact_sheet, draw_heat, draw_overlay
from liir.grid import STRIDE
from liir.learning.clips import Batch
from liir.learning.reconstruction import enlarge
from liir.matching import normalise, reconstruct
from liir.presets import TrainingConfig

SAMPLES = 4


@torch.no_grad()
def draw_reconstruction(
    batch: Batch, shown: tuple[Tensor, Tensor, Tensor], features: Tensor, config: TrainingConfig
) -> Picture:
    """A row for each of some samples: what the network saw, what it rebuilt, where it is wrong.

    Args:
        batch: Of B samples; the last frame of each is the target.
        shown: As in `Objective`, of the step.
        features: (B, T, C, h, w) float32, those of the step.
        config: Of the run.

    Returns:
        (H', W', 3) uint8.
    """
    lab, seen, hidden = (each[:SAMPLES] for each in shown)
    seen = seen[:, -1]
    colour = config.rebuild == "colour"
    dropped = batch.dropped[:SAMPLES].to(features.device)
    features = normalise(features[:SAMPLES], config.similarity)
    rebuilt, _ = reconstruct(
        features[:, -1],
        features[:, :-1],
        hidden[:, :-1, :, ::STRIDE, ::STRIDE],
        radius=config.radius,
        temperature=config.temperature,
    )
    rebuilt = enlarge(rebuilt, *lab.shape[-2:])  # (B, 1, H, W)
    wrong = (rebuilt - hidden[:, -1])[:, 0]  # 0.25 is a strong change of colour
    guess = lab[:, -1].clone()
    guess[torch.arange(len(guess)), dropped if colour else 0] += wrong
    wrong = wrong.abs()
    # As the network got it, but for the factors on what is left.
    grey = (seen[:, 1:] == 0).flatten(1).all(1)
    if colour:
        seen = seen / torch.where(grey, 3.0, 1.5)[:, None, None, None]
    tiles = []
    for b in range(len(lab)):
        before, now = (_picture(lab_to_rgb(lab[b, t])) for t in (0, -1))
        lost = "ab"[int(dropped[b]) - 1] if colour else "brightness"
        gone = "colour" if colour and grey[b] else lost
        tiles += [
            (before, "reference"),
            (now, "target"),
            (_picture(lab_to_rgb(seen[b])), f"seen, {gone} hidden"),
            (_picture(lab_to_rgb(guess[b])), f"{lost} rebuilt"),
            (draw_heat(now, 4 * wrong[b].cpu().numpy()), f"error {float(wrong[b].mean()):.3f}"),
        ]
    return contact_sheet(tiles, columns=5)


@torch.no_grad()
def draw_affinity(lab: Tensor, features: Tensor, config: TrainingConfig) -> Picture:
    """Pairs of pictures: the middle cell of a target, and where its mass goes in the reference.

    Args:
        lab: (B, T, 3, H, W) the frames; the last one of each sample is the target.
        features: (B, T, C, h, w) float32, those of the step.
        config: Of the run.

    Returns:
        (H', W', 3) uint8.
    """
    features = normalise(features[:SAMPLES], config.similarity).cpu()
    cells = (features.shape[-2], features.shape[-1])
    middle = (cells[0] // 2, cells[1] // 2)
    spot = {"": (middle[1] * STRIDE + 0.5, middle[0] * STRIDE + 0.5, 1.0)}
    tiles = []
    for b, sample in enumerate(features):
        found = row(
            sample[-1],
            sample[:-1],
            middle,
            radius=config.radius,
            topk=None,
            temperature=config.temperature,
        )
        first = mass(found.tally, len(sample) - 1, cells, sample.device)[0]
        most = float(first.max())
        now, before = (_picture(lab_to_rgb(lab[b, t])) for t in (-1, 0))
        heat = blocks((first / most).sqrt(), *before.shape[:2]).numpy()
        caption = f"largest share {most:.2f}"
        tiles += [(draw_overlay(now, points=spot), "target"), (draw_heat(before, heat), caption)]
    return contact_sheet(tiles, columns=4)


def _picture(rgb: Tensor) -> Picture:
    """(3, H, W) in [0, 1] as (H, W, 3) uint8."""
    rgb = (255 * rgb).round().to(torch.uint8)
    return np.ascontiguousarray(rgb.permute(1, 2, 0).cpu().numpy())
