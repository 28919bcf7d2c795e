"""Labels through a video: one step a frame, and the whole job around it.

Legend: R reference frames, C channels, h w feature cells, K label channels: first the background,
then one per object, then one per keypoint. Object ids are kept apart from channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from liir.annotations import VOID, Annotation, as_annotation, check_frames
from liir.common_fate import go_along, still_unseen
from liir.compactness import condensed, condensed_window
from liir.encoder import Model
from liir.errors import InputError
from liir.frames import DEFAULT_RATE
from liir.grid import Grid
from liir.heap import trim
from liir.keypoints import draw_blob, read_points
from liir.matching import match, normalise, window_tally
from liir.memory import Memory, Reference
from liir.newcomers import newcomers, yield_to_background
from liir.presets import TrackingConfig
from liir.result import Result, without
from liir.spool import Spool
from liir.video import Frame, Video, open_video
from liir.votes import vote

Source = Video | str | Path | NDArray[np.generic] | Iterable[NDArray[np.generic]]
AnnotationLike = Annotation | str | Path | NDArray[np.generic]

_TRIM_STEPS = 32  # between two times that freed memory is given back


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
        if isinstance(image, Frame):
            frame = image
        else:  # copied: a camera may hand out one buffer again and again, or a view of it
            frame = Frame(self.count, self.count / DEFAULT_RATE, np.array(image))
        grid = self._fit(frame)
        given, corrects = None, False
        if annotation is not None:
            size = (grid.height, grid.width)
            given = as_annotation(annotation, frame=frame.index, size=size)
            corrects = not {*given.ids, *given.points}.isdisjoint((*self.ids, *self.names))
            self._add_labels(given)
        objects = 1 + len(self.ids)
        scores = torch.zeros(objects + len(self.names), *grid.cells, device=grid.device)
        scores[0] = 1.0
        if len(scores) > 1:
            picture = grid.resize(frame.rgb)
            keys = normalise(self.model.encode(picture), self.config.similarity)
            unseen = None
            if len(self.memory):
                scores, unseen = self._propagate(keys)
            if given is not None:
                scores = self._overrule(scores, given, grid)
                unseen = unseen if given.labels is None else None
            self._remember(keys, scores, unseen, given is not None, corrects)
        self.count += 1
        if self.count % _TRIM_STEPS == 0:
            trim()
        places = read_points(scores[objects:], self.config.point_sigma, grid)
        points = dict(zip(self.names, places, strict=True))
        if given is not None:
            points |= {name: (x, y, 1.0) for name, (x, y) in given.points.items()}
        return Result(
            index=frame.index,
            time=frame.time,
            rgb=frame.rgb,
            ids=self.ids,
            scores=scores[:objects],
            grid=grid,
            points=points,
            threshold=self.config.point_threshold,
            annotation=given,
            guide_radius=self.config.guide_radius,
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
            model = self.model
            self._grid = Grid(
                height, width, self.config.size, model.device, model.stride, model.offset
            )
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

    def _propagate(self, query: Tensor) -> tuple[Tensor, Tensor | None]:
        """Label scores (K, h, w) of a frame from its references'; what is unseen of its cells."""
        config = self.config
        references = self.memory.references(self.count)
        # Stacked with the channels closest in memory, as the encoder leaves them.
        keys = torch.stack([r.keys.permute(1, 2, 0) for r in references]).permute(0, 3, 1, 2)
        cells = (query.shape[1], query.shape[2])
        tally: Callable[[Tensor], Tensor]
        matches = unseen = None
        radius, temperature = config.radius, config.temperature
        if config.topk is None and config.gaussians:
            tally = condensed_window(query, keys, config)
        elif config.topk is None:
            tally = window_tally(query, keys, radius=radius, temperature=temperature)
        else:
            radii = self.memory.radii(references)
            matches = match(query, keys, radius=radii, topk=config.topk, temperature=temperature)
            tally = matches.tally
            if config.gaussians:
                tally = condensed(matches, len(references), cells, config)
        objects = 1 + len(self.ids)
        scores = vote(tally, references, objects)
        if matches is not None and config.rival_margin:
            new = newcomers(matches, cells, config)
            labels = yield_to_background(scores[:, :objects], new, cells)
            if config.common_fate and objects > 1:
                before = [
                    torch.zeros_like(new) if r.unseen is None else r.unseen for r in references
                ]
                unseen = still_unseen(matches, torch.cat(before), new, config)
                latest = len(references) - 1
                labels = go_along(matches, latest, labels, unseen, cells, config)
            scores[:, :objects] = labels
        return scores.T.reshape(-1, *cells), unseen

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
            others = without(scores[:objects], list(channels.values()))
            scores[:objects] = others * (1 - grid.to_cells(taken[None]))
            for i, channel in channels.items():
                scores[channel] = grid.to_cells((labels == i)[None])[0]
        for name, (x, y) in annotation.points.items():
            blob = draw_blob(x, y, self.config.point_sigma, grid)
            scores[objects + self.names.index(name)] = blob
        return scores

    def _remember(
        self,
        keys: Tensor,
        scores: Tensor,
        unseen: Tensor | None,
        annotated: bool,
        corrects: bool,
    ) -> None:
        """Stores the frame as a reference."""
        values = scores.flatten(1).T.contiguous()
        if self.config.feedback == "hard" and not annotated:
            objects = 1 + len(self.ids)
            best = values[:, :objects].argmax(1, keepdim=True)
            values[:, :objects] = torch.zeros_like(values[:, :objects]).scatter(1, best, 1.0)
        known = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
        self.memory.add(Reference(self.count, keys, values, known, annotated, unseen), corrects)


def track(
    model: Model,
    video: Source,
    annotations: Mapping[int, AnnotationLike],
    *,
    config: TrackingConfig | None = None,
    start: int = 0,
    stop: int | None = None,
    tracker: Tracker | None = None,
    backwards: Callable[[int], None] | None = None,
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
        backwards: Called with the number of each frame labelled backwards, which all come before
            the first result.

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
            yield tracker.step(frame, _given(given, frame, video))
    else:
        with Spool() as spool:
            back = Tracker(model, config)
            back.step(video.frame(first), given[first])
            for frame in video.backwards(first, start):
                spool.push(back.step(frame))
                if backwards is not None:
                    backwards(frame.index)
            for frame in video.frames(start, stop):
                if frame.index >= first:
                    yield tracker.step(frame, _given(given, frame, video))
                elif (result := spool.pop(frame)) is not None:
                    yield result
    _given(given, None, video)


def _given(given: dict[int, Annotation], frame: Frame | None, video: Video) -> Annotation | None:
    """Takes the annotation of a frame out, if there is one.

    Raises:
        InputError: An annotated frame before this one (None: the end) has not come.
    """
    missing = min(given, default=None)
    if missing is not None and (frame is None or missing < frame.index):
        raise InputError(
            f"{video.name}: annotated frame {missing} is not there or cannot be decoded; "
            "annotate another"
        )
    return None if frame is None else given.pop(frame.index, None)
