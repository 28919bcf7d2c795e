"""What makes predictions for a sequence: a model, or the first annotation repeated."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
from PIL import Image

from liir.annotations import VOID, Annotation, Labels
from liir.encoder import Model
from liir.evaluation.layouts import Sequence
from liir.evaluation.stored import Predicted, Prediction
from liir.presets import TrackingConfig
from liir.tracking import Tracker, track
from liir.video import open_video

Source = Callable[[Sequence], Iterable[Prediction]]
"""Gives the predictions of a sequence in order of time."""


def copied(sequence: Sequence) -> Iterator[Predicted]:
    """The baseline that repeats the first annotation on every frame.

    Objects that are given later are put over it from there on.
    """
    first = sequence.annotations[sequence.start]
    labels = np.zeros((1, 1), np.uint8)
    points = {name: (x, y, 1.0) for name, (x, y) in first.points.items()}
    for index in range(sequence.start, len(sequence.stems)):
        new = sequence.annotations.get(index)
        if new is not None and new.labels is not None:
            given = np.where(new.labels == VOID, np.uint8(0), new.labels)
            labels = np.where(given != 0, given, labels)
        yield Predicted(index, labels, points)


def tracked(
    model: Model, config: TrackingConfig | None = None, square: int | None = None
) -> Source:
    """A model as a source.

    Args:
        model: what tracks.
        config: other tracking settings than its own.
        square: side in pixels that frames are squeezed to, whatever their form, as JHMDB (320) and
            VIP (560) are tracked in the literature; None for the settings' short side.
    """

    def source(sequence: Sequence) -> Iterable[Prediction]:
        if square is not None:
            settings = replace(config or model.preset.tracking, size=0)
            return _squeezed(Tracker(model, settings), sequence, square)
        start = sequence.start  # what lies before is not scored
        return track(model, sequence.folder, sequence.annotations, config=config, start=start)

    return source


def _squeezed(tracker: Tracker, sequence: Sequence, side: int) -> Iterator[Predicted]:
    """Predictions from frames of side x side pixels, brought back to the frames' own size."""
    video = open_video(sequence.folder)
    height, width = video.size

    def there(x: float, y: float) -> tuple[float, float]:
        return min(x * side / width, side - 1e-3), min(y * side / height, side - 1e-3)

    for frame in video.frames(sequence.start, len(sequence.stems)):
        given = sequence.annotations.get(frame.index)
        if given is not None:
            given = Annotation(
                None if given.labels is None else _resized(given.labels, (side, side)),
                given.ids,
                {name: there(x, y) for name, (x, y) in given.points.items()},
            )
        picture = Image.fromarray(frame.rgb).resize((side, side), Image.Resampling.BILINEAR)
        result = tracker.step(np.asarray(picture), given)
        points = {
            name: (x * width / side, y * height / side, sure)
            for name, (x, y, sure) in result.points.items()
        }
        labels = _resized(result.labels, (height, width))
        original = sequence.annotations.get(frame.index)
        if original is not None and original.labels is not None:
            # What was given holds to the pixel, as without squeezing.
            labels = np.where(np.isin(labels, original.ids), np.uint8(0), labels)
            labels = np.where(np.isin(original.labels, original.ids), original.labels, labels)
        yield Predicted(frame.index, labels, points, result.objects)


def _resized(labels: Labels, size: tuple[int, int]) -> Labels:
    image = Image.fromarray(labels).resize(size[::-1], Image.Resampling.NEAREST)
    return np.array(image, np.uint8)
