"""Pieces of the frames that move on their own, in front of the rest.

Footage in which everything moves alike lets a cell be found by what lies around it: features then
need not tell a thing from what it stands before, and labels are carried along with the wrong one.
So a piece is cut out of the target, coloured otherwise, and put in front of all frames, at another
place in each.

Legend: B samples, T frames of each, the last one the target, H W pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_PARTS = (1, 2, 2, 2, 4, 4)
CHANCES = sum(_PARTS)
"""Numbers in [0, 1) that decide about a sample, those of a frame's place aside."""
PLACE = 2
"""Numbers in [0, 1) that decide where the piece is in a frame."""

_RADII = (0.08, 0.25)  # of a piece, in sides of the crop
_WAVE = 0.3  # by which its outline comes and goes
_TINT = (0.3, 0.15, 0.15)  # at most, of scaled Lab
_WAY = 0.12  # from its place in the target, in sides of the crop


def with_pieces(lab: Tensor, share: float, chances: Tensor, places: Tensor) -> Tensor:
    """Puts a piece in front of some of the samples.

    Args:
        lab: (B, T, 3, H, W).
        share: Of the samples.
        chances: (B, CHANCES) uniform in [0, 1).
        places: (B, T, PLACE), likewise.

    Returns:
        (B, T, 3, H, W).
    """
    batch, height, width = len(lab), *lab.shape[-2:]
    device, side = lab.device, min(height, width)
    way = _WAY * side * (2 * places - 1)
    way[:, -1] = 0
    way = way.round()  # whole pixels: a piece is not blurred
    some, sizes, to, source, outline, tint = chances.split(_PARTS, dim=1)
    least, most = _RADII
    radii = side * (least + (most - least) * sizes)
    margin = (radii.amax(1, keepdim=True) * (1 + _WAVE) + _WAY * side).clamp_max(side / 2)
    room = torch.tensor((height, width), device=device) - 1 - 2 * margin
    to, source = (margin + room.clamp_min(0) * each for each in (to, source))
    y, x = (torch.arange(n, device=device, dtype=torch.float32) for n in (height, width))
    # Seen from the piece's middle, in each frame.
    down = y - (to[:, None, :1] + way[..., :1])  # (B, T, H)
    right = x - (to[:, None, 1:] + way[..., 1:])  # (B, T, W)
    rows = (down + source[:, None, :1]).round().long().clamp(0, height - 1)
    columns = (right + source[:, None, 1:]).round().long().clamp(0, width - 1)
    b = torch.arange(batch, device=device)[:, None, None, None]
    target = lab[:, -1].permute(0, 2, 3, 1)
    piece = target[b, rows[..., None], columns[:, :, None]].permute(0, 1, 4, 2, 3)
    piece = _tinted(piece, tint)
    front = _outline(down[..., None], right[:, :, None], radii, outline)
    front = front * (some < share)[..., None, None]
    return torch.lerp(lab, piece, front[:, :, None].to(lab))


def _tinted(lab: Tensor, chances: Tensor) -> Tensor:
    """Other colours: their plane is turned and moved, and the light is changed."""
    turn = (2 * math.pi * chances[:, 0])[:, None, None, None]
    change = ((2 * chances[:, 1:] - 1) * chances.new_tensor(_TINT)).unbind(1)
    light, red, yellow = (each[:, None, None, None] for each in change)
    lightness, a, b = lab.unbind(2)
    colours = (
        lightness + light,
        turn.cos() * a - turn.sin() * b + red,
        turn.sin() * a + turn.cos() * b + yellow,
    )
    return torch.stack(colours, 2).clamp(-1, 1)


def _outline(down: Tensor, right: Tensor, radii: Tensor, chances: Tensor) -> Tensor:
    """How far pixels lie in a piece, 0 to 1: an ellipse with a wavy edge, turned anyhow."""
    turn = (2 * math.pi * chances[:, 0])[:, None, None, None]
    tall, wide = (radii[:, i, None, None, None] for i in (0, 1))
    up = (turn.cos() * down - turn.sin() * right) / tall
    along = (turn.sin() * down + turn.cos() * right) / wide
    waves = (2 + 5 * chances[:, 1]).floor()[:, None, None, None]
    depth = (_WAVE * chances[:, 2])[:, None, None, None]
    start = (2 * math.pi * chances[:, 3])[:, None, None, None]
    edge = 1 + depth * torch.cos(waves * torch.atan2(up, along) + start)
    distance = (edge - torch.hypot(up, along)) * torch.minimum(tall, wide)
    return (distance + 0.5).clamp(0, 1)
