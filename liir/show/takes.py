"""What models, or folders of predictions, make of a sequence of a benchmark, ready to be drawn.

Legend: H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from liir.annotations import VOID
from liir.encoder import Model
from liir.errors import InputError
from liir.evaluation import benchmarks, flow, layouts, stored
from liir.evaluation.benchmarks import Prediction, Source
from liir.figures import Picture, Points
from liir.frames import Frame
from liir.video import open_video

Clip = layouts.Sequence
Load = Callable[[str], Model]

_BASELINES: Mapping[str, tuple[str, Source]] = {
    "copy": ("first frame copied", benchmarks.copied),
    "flow": ("optical flow", flow.warped),
}


@dataclass(frozen=True)
class Entry:
    """What predicts.

    Attributes:
        name: What to call it.
        source: Gives the predictions of a sequence.
    """

    name: str
    source: Source


@dataclass(frozen=True)
class Take:
    """The predictions for a sequence.

    Attributes:
        name: Of what made them.
        labels: (H, W) uint8 ids by frame; empty where points are tracked.
        points: By frame.
        score: The first of the benchmark's numbers, in words.
    """

    name: str
    labels: dict[int, Picture] = field(default_factory=dict)
    points: dict[int, Points] = field(default_factory=dict)
    score: str = ""


class Stage:
    """Sequences of a benchmark.

    Args:
        benchmark: As in `liir evaluate`.
        root: The data set's folder.
        points: Joints for badja or points, if not the table in the folder.
        split: As in `liir evaluate`; None for the customary one.

    Raises:
        InputError: There is no such benchmark, or the folder is of another layout.
    """

    def __init__(
        self, benchmark: str, root: Path, points: Path | None = None, split: str | None = None
    ) -> None:
        self.benchmark = benchmark
        self.protocol = benchmarks.benchmark(benchmark, points, split)
        self.clips = {clip.name: clip for clip in self.protocol.sequences(root)}

    def clip(self, name: str | None) -> Clip:
        """The sequence of that name, or the only one.

        Raises:
            InputError: There is none of that name, or several and no name.
        """
        if name is None and len(self.clips) == 1:
            return next(iter(self.clips.values()))
        if name not in self.clips:
            asked = "say which sequence, with --sequence" if name is None else f"no {name!r}"
            raise InputError(f"{self.benchmark}: {asked}; there are {', '.join(self.clips)}")
        return self.clips[name]

    def entry(self, text: str, clips: Sequence[Clip], load: Load) -> Entry:
        """What a word of the command line stands for.

        Args:
            text: A model, a folder of predictions, "copy" or "flow", perhaps with NAME= before it.
            clips: Those that predictions are wanted for.
            load: Loads a model.

        Raises:
            InputError: There is no such model, or a prediction is missing.
        """
        name, sign, what = text.partition("=")
        if not sign or Path(text).exists():
            name, what = "", text
        folder = Path(what)
        if what in _BASELINES:
            own, source = _BASELINES[what]
            return Entry(name or own, source)
        if not folder.is_dir() or (folder / "config.json").is_file():  # of a transformer
            model = load(what)
            # Every run calls its weights the same.
            own = folder.parent.name if folder.stem == "weights" else folder.stem
            return Entry(name or own or what, benchmarks.tracked(model))
        place = stored.within(folder, self.benchmark, self.clips)
        stored.check_stored(place, clips, self.clips)
        return Entry(name or folder.name, partial(stored.stored, place))

    def take(self, clip: Clip, entry: Entry, progress: Callable[[], None] | None = None) -> Take:
        """Runs a sequence.

        Args:
            clip: The sequence.
            entry: What predicts.
            progress: Called after each frame.
        """
        take = Take(entry.name)

        def kept() -> Iterator[Prediction]:
            for prediction in entry.source(clip):
                if not clip.joints:
                    take.labels[prediction.index] = prediction.labels
                take.points[prediction.index] = prediction.points
                yield prediction
                if progress is not None:
                    progress()

        if clip.hidden:
            for _ in kept():
                pass
            return take
        scores = self.protocol.summary(self.protocol.score(clip, kept()))
        name, value = next(iter(scores.items()), ("", np.nan))
        word = "" if np.isnan(value) else f"{name.removesuffix('-Mean')} {100 * value:.1f}"
        return Take(take.name, take.labels, take.points, word)


def truth(clip: Clip) -> Take:
    """The ground truth of a sequence, or what of it is given, of the frames that are shown."""
    frames = scored(clip)
    # Beside joints, masks are there for the size of the animal alone.
    labels = {i: clip.truth(i) for i in frames if i in clip.masks and not clip.joints}
    points: dict[int, Points] = {
        i: {name: (*clip.joints[i][name], 1.0) for name in joints(clip) if name in clip.joints[i]}
        for i in frames
        if i in clip.joints
    }
    return Take("given" if clip.hidden else "ground truth", labels, points)


def joints(clip: Clip) -> tuple[str, ...]:
    """Names of the joints that are tracked."""
    return tuple(clip.annotations[clip.start].points)


def scored(clip: Clip) -> list[int]:
    """The first frame and those that are scored; where the truth is hidden, all that are kept."""
    if clip.hidden:
        return [i for i in range(clip.start, len(clip.stems)) if clip.kept(i)]
    return sorted({clip.start, *clip.counted})


def ranks(clip: Clip) -> Picture:
    """(256,) uint8 the colour of each id: those of the first annotations have the first colours.

    Ids are not contiguous in every set, and only the first colours suit all eyes. What is neither
    given nor allowed in a prediction is void.
    """
    known = [*clip.ids, *sorted((clip.allowed or frozenset()) - {0, VOID, *clip.ids})]
    table = np.full(256, VOID, np.uint8)
    table[0] = 0
    table[known] = np.arange(1, len(known) + 1)
    return table


def chosen(clip: Clip, count: int) -> list[int]:
    """At most `count` frames of a sequence, evenly spread over those of `scored`.

    Raises:
        InputError: There would be none.
    """
    if count < 1:
        raise InputError(f"--frames {count}: give 1 or more")
    frames = scored(clip)
    places = np.linspace(0, len(frames) - 1, count)
    return [frames[place] for place in sorted({round(place) for place in places})]


def pictures(clip: Clip) -> Callable[[int], Frame]:
    """Reads frames of a sequence by number."""
    return open_video(clip.folder).frame
