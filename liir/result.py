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
from torch.nn import functional as F

from liir.annotations import Annotation
from liir.errors import InputError
from liir.grid import Grid
from liir.guide import Guide


@dataclass(frozen=True, repr=False)
class Result:
    """The labels of one frame.

    Attributes:
        index: Frame number in the video.
        time: Presentation time in seconds, as the video has it.
        rgb: (H, W, 3) uint8, the frame itself.
        ids: Object ids, in the order of the channels of `scores` after the background.
        scores: (1 + objects, h, w) float32 shares of background and objects, summing to one but
            for cells that were annotated as void.
        grid: How cells lie in the frame.
        points: Keypoints: name to (x, y, confidence), x and y in pixels of the frame.
        threshold: Confidence below which a keypoint counts as invisible.
        annotation: What was given for this frame, if anything; its labels hold exactly.
        guide_radius: As of `TrackingConfig`, for reading shares between cells.
    """

    index: int
    time: float
    rgb: NDArray[np.uint8]
    ids: tuple[int, ...]
    scores: Tensor
    grid: Grid
    points: Mapping[str, tuple[float, float, float]]
    threshold: float = 0.0
    annotation: Annotation | None = None
    guide_radius: int = 0

    def __repr__(self) -> str:
        height, width = self.rgb.shape[:2]
        return (
            f"Result(index={self.index}, size={width}x{height}, ids={self.ids}, "
            f"points={len(self.points)})"
        )

    def visible(self, name: str) -> bool:
        """Whether a keypoint is thought to be seen in this frame.

        Raises:
            InputError: No keypoint has that name.
        """
        if name not in self.points:
            raise InputError(f"no point {name!r}; there are {', '.join(self.points) or 'none'}")
        return self.points[name][2] >= self.threshold

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
        scores, spoken = self._tracked
        every = torch.ones_like(scores[channel], dtype=torch.bool)
        _, _, linear, added = self._guide.read(scores[channel], every)
        share = (linear + added).cpu().numpy()
        if spoken is not None and self.annotation is not None:
            share = np.where(spoken, self.annotation.labels == object_id, share)
        clipped: NDArray[np.float32] = np.clip(share, 0, 1).astype(np.float32)
        return clipped

    @cached_property
    def _guide(self) -> Guide:
        return Guide(self.rgb, self.grid, self.guide_radius)

    @cached_property
    def _tracked(self) -> tuple[Tensor, NDArray[np.bool_] | None]:
        """Shares where the annotation is silent, and the pixels (H, W) where it is not.

        Annotated objects are drawn from the annotation alone, to the pixel.
        """
        if self.annotation is None or self.annotation.labels is None:
            return self.scores, None
        channels = [1 + self.ids.index(i) for i in self.annotation.ids]
        return without(self.scores, channels), np.isin(self.annotation.labels, self.annotation.ids)

    @cached_property
    def _maps(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        scores, spoken = self._tracked
        found, sure = strongest(scores, self.ids, self._guide)
        if spoken is not None and self.annotation is not None:
            assert self.annotation.labels is not None
            found[spoken] = self.annotation.labels[spoken]
            sure[spoken] = 1.0
        return found, sure


def strongest(
    scores: Tensor, ids: tuple[int, ...], guide: Guide
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The label of every pixel, and its share.

    Each object is up-sampled where it may win alone, and many objects cost little more than one.
    The background has what colours do not add to objects.

    Args:
        scores: (K, h, w) shares, background first.
        ids: Of the K - 1 objects.
        guide: Reads them at pixels.

    Returns:
        (H, W) uint8 ids, and (H, W) float32 in [0, 1]; of equal shares, the first wins.
    """
    ground = guide.grid.to_pixels(scores[:1])[0]
    best = torch.zeros_like(ground)
    labels = torch.zeros_like(ground, dtype=torch.uint8)
    least = _least(scores)
    for number, share in zip(ids, scores[1:], strict=True):
        rows, columns, mine, added = guide.read(share, (share >= least) & (share > 0))
        ground[rows, columns] -= added
        mine += added
        held, owner = best[rows, columns], labels[rows, columns]
        owner[mine > held] = number
        torch.maximum(held, mine, out=held)
    labels[ground >= best] = 0
    best = torch.maximum(best, ground)
    return labels.cpu().numpy(), best.clamp_(0, 1).cpu().numpy()


def _least(scores: Tensor) -> Tensor:
    """What a label has in one of the four cells around a pixel, at least, to win it: (h, w).

    That is the average share, and a quarter of the largest share in some cell around the pixel:
    one of the four counts for a quarter or more, and so does the label that is strongest there.
    """
    quarter = -F.max_pool2d(-scores.amax(0, keepdim=True), 3, 1, 1)[0] / 4
    rounded = 1 - 1e-4
    return torch.maximum(scores.sum(0) / len(scores), quarter) * rounded


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
