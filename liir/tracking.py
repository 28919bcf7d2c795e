"""Labels through a video: one step a frame, and the whole job around it.

Legend: R reference frames, C channels, H W pixels, h w feature cells, K label channels: first the
background, then one per object, then one per keypoint. Object ids are kept apart from channels.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from liir.annotations import VOID, Annotation, as_annotation, check_frames
from liir.encoder import Model
from liir.errors import InputError
from liir.grid import Grid
from liir.keypoints import draw_blob, read_points
from liir.matching import match, normalise, reconstruct
from liir.memory import Memory, Reference
from liir.presets import TrackingConfig
from liir.video import Frame, Video, open_video
from liir.votes import vote

_NO_PICTURE = np.empty((0, 0, 3), dtype=np.uint8)
_BAND = 64
"""Rows up-sampled at once: a float map of all objects at full size is never held."""

Source = Video | str | Path | NDArray[np.generic] | Iterable[NDArray[np.generic]]
AnnotationLike = Annotation | str | Path | NDArray[np.generic]


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
            scores = _without(scores, [1 + self.ids.index(i) for i in self.annotation.ids])
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


class Tracker:
    """Carries labels from frame to frame; one call of `step` for each.

    Args:
        model: What `liir.load` returned.
        config: Tracking settings; default the model's own.
    """

    def __init__(self, model: Model, config: TrackingConfig | None = None) -> None:
        self.model = model
        self.config = config or model.preset.tracking
        self.memory = Memory(self.config)
        self.ids: tuple[int, ...] = ()
        self.names: tuple[str, ...] = ()
        self.count = 0
        self._grid: Grid | None = None

    @torch.inference_mode()
    def step(
        self, image: NDArray[np.uint8] | Frame, annotation: AnnotationLike | None = None
    ) -> Result:
        """Labels the next frame.

        Args:
            image: (H, W, 3) uint8 RGB, or a `Frame`.
            annotation: What is known of this frame: its objects and points replace what was
                tracked, from here on.

        Returns:
            The frame's labels; all background before the first annotation.

        Raises:
            InputError: The image is not RGB bytes or changes size, or the annotation does not
                fit it.
        """
        frame = image if isinstance(image, Frame) else Frame(self.count, float(self.count), image)
        grid = self._fit(frame)
        given = None
        if annotation is not None:
            size = (grid.height, grid.width)
            given = as_annotation(annotation, frame=frame.index, size=size)
            self._add_labels(given)
        objects = 1 + len(self.ids)
        scores = torch.zeros(objects + len(self.names), *grid.cells, device=grid.device)
        scores[0] = 1.0
        if len(scores) > 1:
            picture = grid.resize(frame.rgb)
            keys = normalise(self.model.encode(picture), self.config.similarity)
            if len(self.memory):
                scores = self._propagate(keys)
            if given is not None:
                scores = self._overrule(scores, given, grid)
            self._remember(keys, scores, given is not None)
        self.count += 1
        points = dict(zip(self.names, read_points(scores[objects:], grid), strict=True))
        if given is not None:
            points |= {name: (x, y, 1.0) for name, (x, y) in given.points.items()}
        return Result(
            frame.index, frame.time, frame.rgb, self.ids, scores[:objects], grid, points, given
        )

    def state(self) -> dict[str, Any]:
        """All that later steps depend on, for `torch.save`; later steps leave it as it is."""
        return {
            "count": self.count,
            "ids": list(self.ids),
            "names": list(self.names),
            "memory": self.memory.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes back, or on, to where `state` was taken from a tracker of the same settings."""
        self.count = state["count"]
        self.ids, self.names = tuple(state["ids"]), tuple(state["names"])
        self.memory.restore(state["memory"])

    def _fit(self, frame: Frame) -> Grid:
        """The grid of the frame, the same for all."""
        rgb = frame.rgb
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise InputError(
                f"frame {frame.index}: an image is (H, W, 3) uint8 RGB, not {rgb.shape} {rgb.dtype}"
            )
        height, width = rgb.shape[:2]
        if self._grid is None:
            self._grid = Grid(height, width, self.config.size, self.model.device)
        if (height, width) != (self._grid.height, self._grid.width):
            raise InputError(
                f"frame {frame.index}: is {width}x{height}, the frames before were "
                f"{self._grid.width}x{self._grid.height}; use a new Tracker for another video"
            )
        return self._grid

    def _add_labels(self, annotation: Annotation) -> None:
        """Opens channels for objects and points not named before."""
        ids = tuple(i for i in annotation.ids if i not in self.ids)
        names = tuple(n for n in annotation.points if n not in self.names)
        # Objects stand before points: both are inserted at the end of their kind.
        self.memory.add_labels(1 + len(self.ids), len(ids))
        self.ids += ids
        self.memory.add_labels(1 + len(self.ids) + len(self.names), len(names))
        self.names += names

    def _propagate(self, query: Tensor) -> Tensor:
        """Label scores of a frame from those of its references, (K, h, w) float32."""
        config = self.config
        references = self.memory.references(self.count)
        keys = torch.stack([r.keys for r in references])
        cells = query.shape[1:]
        if config.topk is None:

            def tally(values: Tensor) -> Tensor:
                planes = values.T.unflatten(1, (len(references), *cells)).transpose(0, 1)
                rebuilt, _ = reconstruct(
                    query[None],
                    keys[None],
                    planes[None],
                    radius=config.radius,
                    temperature=config.temperature,
                )
                return rebuilt[0].flatten(1).T
        else:
            tally = match(
                query,
                keys,
                radius=config.radius,
                topk=config.topk,
                temperature=config.temperature,
            ).tally
        return vote(tally, references, 1 + len(self.ids)).T.reshape(-1, *cells)

    def _overrule(self, tracked: Tensor, annotation: Annotation, grid: Grid) -> Tensor:
        """Puts an annotation over tracked scores (K, h, w).

        Cells keep what was tracked in the share that the annotation leaves to others; void takes
        its share away, so that void cells vote for nothing.
        """
        scores = tracked.clone()
        objects = 1 + len(self.ids)
        if annotation.labels is not None:
            labels = torch.from_numpy(annotation.labels).to(grid.device)
            channels = {i: 1 + self.ids.index(i) for i in annotation.ids}
            taken = torch.isin(labels, labels.new_tensor((*annotation.ids, VOID)))
            others = _without(scores[:objects], list(channels.values()))
            scores[:objects] = others * (1 - grid.to_cells(taken[None]))
            for i, channel in channels.items():
                scores[channel] = grid.to_cells((labels == i)[None])[0]
        for name, (x, y) in annotation.points.items():
            blob = draw_blob(x, y, self.config.point_sigma, grid)
            scores[objects + self.names.index(name)] = blob
        return scores

    def _remember(self, keys: Tensor, scores: Tensor, annotated: bool) -> None:
        """Stores the frame as a reference."""
        values = scores.flatten(1).T.contiguous()
        if self.config.feedback == "hard" and not annotated:
            objects = 1 + len(self.ids)
            best = values[:, :objects].argmax(1, keepdim=True)
            values[:, :objects] = torch.zeros_like(values[:, :objects]).scatter(1, best, 1.0)
        known = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
        self.memory.add(Reference(self.count, keys, values, known, annotated))


def track(
    model: Model,
    video: Source,
    annotations: Mapping[int, AnnotationLike],
    *,
    config: TrackingConfig | None = None,
    start: int = 0,
    stop: int | None = None,
    tracker: Tracker | None = None,
) -> Iterator[Result]:
    """Labels every frame of a video.

    Frames before the first annotation are labelled backwards from it, the others forwards.

    Args:
        model: What `liir.load` returned.
        video: Anything `liir.video.open_video` reads.
        annotations: Frame number to what is known of that frame. A later annotation adds objects,
            or replaces the labels of its own objects from there on.
        config: Tracking settings; default the model's own.
        start: First frame to label.
        stop: Frame to stop before; None for the end.
        tracker: What goes forwards; a new one if None. One that has labelled the frames before
            `start` goes on from there, with the annotations from there on, if any.

    Yields:
        One result a frame, in order.

    Raises:
        InputError: The video or an annotation cannot be used, an annotated frame does not exist,
            or frames before the first annotation are asked of a source that cannot go backwards.
    """
    video = video if isinstance(video, Video) else open_video(video)
    tracker = tracker or Tracker(model, config)
    if not annotations and not tracker.count:
        raise InputError("nothing is annotated: give at least one frame's labels or points")
    end = video.length if stop is None else stop
    check_frames(annotations, start, end)
    given = {
        frame: as_annotation(value, frame=frame, size=video.size)
        for frame, value in sorted(annotations.items())
    }
    first = min(given, default=start)
    if first == start or tracker.count:
        for frame in video.frames(start, stop):
            yield tracker.step(frame, given.pop(frame.index, None))
    else:
        with tempfile.TemporaryFile() as file:
            spool = _Spool(file)
            _label_backwards(Tracker(model, config), video, given[first], first, start, spool)
            for frame in video.frames(start, stop):
                if frame.index < first:
                    yield spool.pop(frame)
                else:
                    yield tracker.step(frame, given.pop(frame.index, None))
    if given:
        missing = ", ".join(map(str, given))
        raise InputError(f"{video.name}: annotated frame {missing} was not found in the video")


def _without(scores: Tensor, channels: list[int]) -> Tensor:
    """Shares (K, h, w) of the labels but `channels`, summing to one: background if none is left."""
    scores = scores.clone()
    scores[channels] = 0.0
    scores[0] += (scores.sum(0) <= 1e-6).float()
    return scores / scores.sum(0)


def _label_backwards(
    tracker: Tracker, video: Video, annotation: Annotation, first: int, start: int, spool: _Spool
) -> None:
    """Labels frames first-1 ... start from the annotation of frame `first`."""
    tracker.step(video.frame(first), annotation)
    for frame in video.backwards(first, start):
        spool.push(tracker.step(frame))


class _Spool:
    """Results on disk, last in first out: labels of frames met backwards, told forwards.

    Only scores and points are kept (the frame is decoded again), compressed and in half
    precision: about 100 KiB a frame.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.waiting: list[tuple[int, int, Result]] = []

    def push(self, result: Result) -> None:
        """Writes a result away."""
        packed = zlib.compress(result.scores.half().cpu().numpy().tobytes(), level=1)
        light = replace(result, rgb=_NO_PICTURE, scores=torch.empty(0))
        self.waiting.append((self.file.tell(), len(packed), light))
        self.file.write(packed)

    def pop(self, frame: Frame) -> Result:
        """The result of the latest frame pushed, which must be this one."""
        at, length, result = self.waiting.pop()
        assert result.index == frame.index, "frames come back in another order"
        self.file.seek(at)
        packed = np.frombuffer(zlib.decompress(self.file.read(length)), dtype=np.float16)
        shape = (1 + len(result.ids), *result.grid.cells)
        scores = torch.from_numpy(packed.astype(np.float32)).view(shape)
        return replace(result, rgb=frame.rgb, scores=scores.to(result.grid.device))
