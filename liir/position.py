"""Position codes: what tells the network where in the picture a cell lies."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from liir.presets import PositionCode

Window = tuple[float, float, float, float]
"""Part of the picture as fractions of its size: (top, left, height, width)."""


class Position(nn.Module):
    """A position map added to the stem's output.

    Args:
        kind: "none", "sinusoid" (fixed, two-dimensional) or "learnable".
        channels: C of the map.
        grid: Side of the map before it is resized, in cells of the map.
    """

    def __init__(self, kind: PositionCode, channels: int, grid: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "learnable":
            self.map = nn.Parameter(0.02 * torch.randn(1, channels, grid, grid))
        elif kind == "sinusoid":
            self.register_buffer("map", sinusoid(channels, grid, grid)[None], persistent=False)

    def forward(
        self, features: Tensor, window: Tensor | None = None, shift: Tensor | None = None
    ) -> Tensor:
        """Adds the map, resized to the features.

        Args:
            features: (B, C, H, W).
            window: (B, 4) top, left, height, width of each sample as fractions of the full
                picture; None stretches the whole map over every sample.
            shift: (B, 2) rows and columns, int64, by which each sample's map is rolled round.

        Returns:
            (B, C, H, W).
        """
        if self.kind == "none":
            return features
        height, width = features.shape[-2:]
        # Bicubic weights need float32: in bfloat16 the map would be resampled on a coarse grid.
        code = self.map.float()
        if window is None:
            code = F.interpolate(code, (height, width), mode="bicubic", align_corners=False)
        else:
            code = _crop(code, window.float(), height, width)
        if shift is not None:
            code = _roll(code, shift)
        return features + code.to(features.dtype)


class Fixed(nn.Module):
    """A position map that learns no more: resized once, as long as pictures keep their size.

    Args:
        position: What is fixed; must not change any more.
    """

    def __init__(self, position: Position) -> None:
        super().__init__()
        self.position = position
        self._code: Tensor | None = None

    def forward(
        self, features: Tensor, window: Tensor | None = None, shift: Tensor | None = None
    ) -> Tensor:
        """As `Position.forward`."""
        if self.position.kind == "none" or window is not None or shift is not None:
            added: Tensor = self.position(features, window, shift)
            return added
        code, wanted = self._code, features[:1]
        if code is None or (code.shape, code.dtype, code.device) != (
            *(wanted.shape, wanted.dtype, wanted.device),
        ):
            self._code = code = self.position(torch.zeros_like(wanted))
        return features + code


def sinusoid(channels: int, height: int, width: int) -> Tensor:
    """Two-dimensional sinusoid code (half the channels for y, half for x).

    Wavelengths form a geometric series from 4 cells to 4 times the side (at 2 cells every sine
    would be zero), each as a sine and a cosine: the one-dimensional code of Vaswani et al., 2017,
    used once per axis.

    Returns:
        (channels, height, width), float32 in [-1, 1].
    """
    assert channels % 4 == 0, "a sinusoid code needs a multiple of 4 channels"
    quarter = channels // 4

    def axis(length: int) -> Tensor:
        wavelengths = 4 * torch.logspace(0, 1, quarter, base=length)
        angle = 2 * math.pi * torch.arange(length)[None] / wavelengths[:, None]
        return torch.cat((angle.sin(), angle.cos()))

    return torch.cat(
        (
            axis(height)[:, :, None].expand(-1, -1, width),
            axis(width)[:, None, :].expand(-1, height, -1),
        )
    )


def _roll(code: Tensor, shift: Tensor) -> Tensor:
    """Rolls the map (1 or B, C, H, W) round by each sample's own shift (B, 2)."""
    height, width = code.shape[-2:]
    down, right = shift[:, 0, None], shift[:, 1, None]
    rows = (torch.arange(height, device=code.device) - down) % height  # (B, H)
    columns = (torch.arange(width, device=code.device) - right) % width  # (B, W)
    code = code.expand(len(shift), -1, -1, -1)
    code = code.gather(2, rows[:, None, :, None].expand(*code.shape[:3], width))
    return code.gather(3, columns[:, None, None].expand(-1, *code.shape[1:3], -1))


def _crop(code: Tensor, window: Tensor, height: int, width: int) -> Tensor:
    """Samples the part `window` of the map at height x width points, (B, C, height, width)."""
    rows = (torch.arange(height, device=code.device) + 0.5) / height
    columns = (torch.arange(width, device=code.device) + 0.5) / width
    top, left, tall, wide = window.unbind(1)
    y = (top[:, None] + tall[:, None] * rows) * 2 - 1
    x = (left[:, None] + wide[:, None] * columns) * 2 - 1
    grid = torch.stack(
        (x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)), dim=-1
    )
    return F.grid_sample(
        code.expand(len(window), -1, -1, -1),
        grid,
        mode="bicubic",
        padding_mode="border",
        align_corners=False,
    )
