"""What the network is shown of a sample: less than is rebuilt, and not quite as it is.

The colours to rebuild, and those they are rebuilt from, are always the frames' own. So the affinity
has to be found in spite of what was hidden, lit otherwise or covered.

Legend: B samples, T frames of each, the last one the target, H W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from liir.presets import TrainingConfig

CHANCES = 7
"""Numbers in [0, 1) that decide about a frame."""

_SIDES = (0.2, 0.5)  # of what is in front of a target, in sides of the crop


def wanted(config: TrainingConfig) -> bool:
    """Whether anything is done beyond hiding one colour channel."""
    return max(config.grey_share, config.light, config.cover) > 0


def disguised(lab: Tensor, chances: Tensor, config: TrainingConfig) -> tuple[Tensor, Tensor | None]:
    """Frames in other light, without colour, and with something in front of the target.

    Args:
        lab: (B, T, 3, H, W) scaled Lab.
        chances: (B, T, CHANCES) uniform in [0, 1).
        config: `grey_share`, `light`, `cover`.

    Returns:
        (B, T, 3, H, W); and (B, 1, H, W) bool, which pixels of the target can be rebuilt, None
        where that is all of them.
    """
    free = None
    if config.cover:
        free = ~_covered(chances[:, -1, 2:], config.cover, lab.shape[-2], lab.shape[-1])
        # What is in front comes from elsewhere in the frame: it is in the references, too.
        target = lab[:, -1]
        away = target.roll((lab.shape[-2] // 2, lab.shape[-1] // 2), dims=(-2, -1))
        target = torch.where(free, target, away)
        lab = torch.cat((lab[:, :-1], target[:, None]), dim=1)
    if config.light:
        contrast, brightness = (config.light * (2 * chances[..., i] - 1) for i in (0, 1))
        gain = 1 + contrast[..., None, None, None]
        lit = lab[:, :, :1] * gain + brightness[..., None, None, None]
        lab = torch.cat((lit.clamp(-1, 1), lab[:, :, 1:] * gain), dim=2)
    if config.grey_share:
        # One number a sample, of which the other choices use no part.
        grey = (chances[:, 0, 2] < config.grey_share)[:, None, None, None, None]
        factor = lab.new_tensor([2.0, 0.0, 0.0])[:, None, None]
        lab = torch.where(grey, lab * factor, lab)
    return lab, free


def _covered(chances: Tensor, share: float, height: int, width: int) -> Tensor:
    """Rectangles in some of the samples: (B, 5) uniform numbers to (B, 1, H, W) bool."""
    least, most = _SIDES
    tall, wide = (least + (most - least) * chances[:, i] for i in (1, 2))
    top, left = (1 - tall) * chances[:, 3], (1 - wide) * chances[:, 4]
    y = (torch.arange(height, device=chances.device) + 0.5) / height
    x = (torch.arange(width, device=chances.device) + 0.5) / width
    rows = (y >= top[:, None]) & (y < (top + tall)[:, None])
    columns = (x >= left[:, None]) & (x < (left + wide)[:, None])
    some = chances[:, 0] < share
    return (rows[:, :, None] & columns[:, None] & some[:, None, None])[:, None]
