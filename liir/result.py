"""What tracking says of a frame.

Legend: H W pixels, h w feature cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from liir.annotations import Annotation
from liir.errors import InputError
from liir.grid import Grid

_BAND = 64
"""Rows up-sampled at once: a float map of all objects at full size is never held."""


@dataclass(frozen=True)
class Result:
    """The labels of one frame.

    Attributes:
        index: Frame number in the video.
        time: Seconds from the video's start.
        rgb: (H, W, 3) uint8, the frame itself.
        ids: Object ids, in the order of the channels of `scores` after the background.
        scores: (1 + objects, h, w) float32 shares of background and objects, summing to one.
        grid: How cells lie in the frame.
        points: Keypoints: name to (x, y, confidence), x and y in pixels of the frame.
        annotation: What was given for this frame, if anything; its labels hold exactly.
    """

    index: int
    time: float
    rgb: NDArray[np.uint8]
    ids: tuple[int, ...]
    scores: Tensor
    grid: Grid
    points: Mapping[str, tuple[float, float, float]]
    annotation: Annotation | None = None

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(H, W) uint8 object ids, 0 background."""
        return self._maps[0]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """(H, W) float32 in [0, 1]: the share of the label that won."""
        return self._maps[1]

    @cached_property
    def objects(self) -> dict[int, float]:
        """Mean confidence over each object's pixels; 0 where the object is not in the frame."""
        labels = self.labels.ravel()
        count = np.bincount(labels, minlength=256)
        total = np.bincount(labels, weights=self.confidence.ravel(), minlength=256)
        return {i: float(total[i] / count[i]) if count[i] else 0.0 for i in self.ids}

    def probability(self, object_id: int) -> NDArray[np.float32]:
        """(H, W) float32 in [0, 1]: the share of one object.

        Raises:
            InputError: No object has that id.
        """
        if object_id not in self.ids:
            raise InputError(f"no object {object_id}; there are {', '.join(map(str, self.ids))}")
        channel = 1 + self.ids.index(object_id)
        share = self.grid.to_pixels(self.scores[channel : channel + 1])[0].cpu().numpy()
        if self.annotation is not None and self.annotation.labels is not None:
            spoken = np.isin(self.annotation.labels, self.annotation.ids)
            share = np.where(spoken, self.annotation.labels == object_id, share)
        clipped: NDArray[np.float32] = np.clip(share, 0, 1).astype(np.float32)
        return clipped

    @cached_property
    def _maps(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        grid = self.grid
        labels = torch.empty(grid.height, grid.width, dtype=torch.uint8)
        confidence = torch.empty(grid.height, grid.width)
        ids = torch.tensor((0, *self.ids), dtype=torch.uint8)
        scores = self.scores
        if self.annotation is not None and self.annotation.labels is not None:
            # Its objects are drawn from the annotation itself, to the pixel.
            scores = without(scores, [1 + self.ids.index(i) for i in self.annotation.ids])
        for top in range(0, grid.height, _BAND):
            rows = slice(top, top + _BAND)
            best, channel = grid.to_pixels(scores, rows).max(dim=0)
            labels[rows] = ids[channel.cpu()]
            confidence[rows] = best.clamp(0, 1).cpu()
        found, sure = labels.numpy(), confidence.numpy()
        if self.annotation is not None and self.annotation.labels is not None:
            spoken = np.isin(self.annotation.labels, self.annotation.ids)
            found[spoken] = self.annotation.labels[spoken]
            sure[spoken] = 1.0
        return found, sure


def without(scores: Tensor, channels: list[int]) -> Tensor:
    """Shares of the labels but some.

    Args:
        scores: (K, h, w) shares of the labels, background first.
        channels: Labels to leave out.

    Returns:
        (K, h, w): zero for those, the others summing to one; background where none is left.
    """
    scores = scores.clone()
    scores[channels] = 0.0
    scores[0] += (scores.sum(0) <= 1e-6).float()
    return scores / scores.sum(0)
