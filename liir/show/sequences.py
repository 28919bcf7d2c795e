"""The figures of `liir show` that are of a benchmark's sequences: one function a figure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from liir.errors import InputError
from liir.show.use import AS_IS, Count, Out, Use, Using
from liir.terminal import bar

# Torch takes seconds to import: the figures do so once their options are read.
if TYPE_CHECKING:
    from liir.show.takes import Clip, Entry, Stage, Take

Benchmark = Annotated[Positional[str], arg(metavar="BENCHMARK")]
Root = Annotated[Positional[Path], arg(metavar="ROOT")]
What = Annotated[Positional[tuple[str, ...]], arg(metavar="[NAME=]WHAT...")]
Sequence_ = Annotated[str | None, arg(metavar="NAME")]
Split = Annotated[str | None, arg(metavar="NAME")]
Points = Annotated[Path | None, arg(metavar="CSV")]


def components(
    benchmark: Benchmark,
    root: Root,
    what: What,
    /,
    *,
    out: Out,
    sequence: Sequence_ = None,
    frames: Count = 6,
    points: Points = None,
    split: Split = None,
    use: Using = AS_IS,
) -> Path:
    """One video in rows: the ground truth, then what each model makes of it, with its score.

    $ liir show components davis2016 DAVIS baseline.safetensors +position=position.safetensors
          full=results/ --sequence goat --out components.png

    Args:
        benchmark: As in liir evaluate.
        root: The data set's folder.
        what: Models, folders of finished predictions, copy (the first annotation repeated) or
            flow (carried along optical flow); a row each. NAME= before one of them is what the
            row is called.
        out: A PNG of some frames, or an mp4 in which all play side by side.
        sequence: Which sequence.
        frames: Frames in a row of the PNG, at most.
        points: Table for badja or points, if not the one in ROOT.
        split: As in liir evaluate.
        use: How models compute.
    """
    from liir.show.components import show_components
    from liir.show.takes import Stage, truth

    stage = Stage(benchmark, root, points, split)
    clip, takes = _takes(stage, sequence, what, out, (".png", ".mp4"), use)
    show_components(clip, [truth(clip), *takes], out, frames=frames)
    return out


def results(
    benchmark: Benchmark,
    root: Root,
    what: Annotated[Positional[str], arg(metavar="WHAT")] = "small",
    /,
    *,
    out: Out,
    sequences: Annotated[tuple[str, ...], arg(metavar="NAME...")] = (),
    frames: Count = 6,
    points: Points = None,
    split: Split = None,
    use: Using = AS_IS,
) -> Path:
    """Strips over time, one for each sequence, with its score: objects, parts or keypoints.

    $ liir show results davis2016 DAVIS small --sequences goat libby --out objects.png
    $ liir show results semantic chen small --out parts.png
    $ liir show results badja DAVIS results/ --points badja.csv --out keypoints.png

    Args:
        benchmark: As in liir evaluate.
        root: The data set's folder.
        what: A model, a folder of finished predictions, copy or flow.
        out: A PNG.
        sequences: Only these.
        frames: Frames in a strip, at most.
        points: Table for badja or points, if not the one in ROOT.
        split: As in liir evaluate.
        use: How models compute.
    """
    from liir.show.results import show_results
    from liir.show.takes import Stage

    stage = Stage(benchmark, root, points, split)
    clips = [stage.clip(name) for name in sequences] or [*stage.clips.values()]
    _check_out(out, clips, ".png")
    entry = stage.entry(what, clips, use.load)
    takes = _run(stage, [(clip, entry) for clip in clips])
    strips = [(clip, dataclasses.replace(take, name=clip.name)) for clip, take in takes]
    show_results(strips, out, frames=frames)
    return out


def errors(
    benchmark: Benchmark,
    root: Root,
    what: What,
    /,
    *,
    out: Out,
    sequence: Sequence_ = None,
    split: Split = None,
    use: Using = AS_IS,
) -> Path:
    """J of every frame over time, and the worst frames.

    $ liir show errors davis2016 DAVIS small --sequence goat --out errors.png

    Args:
        benchmark: As in liir evaluate; one whose truth is masks.
        root: The data set's folder.
        what: Models, folders of finished predictions, copy or flow, perhaps with NAME= before;
            a line each. The frames are the worst of the first.
        out: A PNG.
        sequence: Which sequence.
        split: As in liir evaluate.
        use: How models compute.
    """
    from liir.show.errors import show_errors
    from liir.show.takes import Stage

    clip, takes = _takes(Stage(benchmark, root, split=split), sequence, what, out, (".png",), use)
    show_errors(clip, takes, out)
    return out


def _takes(
    stage: Stage,
    sequence: str | None,
    what: Sequence[str],
    out: Path,
    kinds: Sequence[str],
    use: Use,
) -> tuple[Clip, list[Take]]:
    """What each of several models makes of one sequence."""
    if not what:
        raise InputError("name what to draw: models, folders of predictions, copy or flow")
    clip = stage.clip(sequence)
    _check_out(out, [clip], *kinds)
    entries = [stage.entry(text, [clip], use.load) for text in what]
    return clip, [take for _, take in _run(stage, [(clip, entry) for entry in entries])]


def _check_out(out: Path, clips: Sequence[Clip], *kinds: str) -> None:
    """Complains of a figure's file before models run for it, not after."""
    from liir.show.output import check_apart, suffix

    for clip in clips:
        check_apart(out, clip.folder, *clip.masks.values())
    suffix(out, *kinds)


def _run(stage: Stage, jobs: Sequence[tuple[Clip, Entry]]) -> list[tuple[Clip, Take]]:
    total, done, takes = sum(len(clip.stems) - clip.start for clip, _ in jobs), 0, []
    with bar("frame") as told:
        for clip, entry in jobs:

            def progress(note: str = f"{clip.name}, {entry.name}") -> None:
                nonlocal done
                done += 1
                told(done, total, 0, note)

            takes.append((clip, stage.take(clip, entry, progress)))
    return takes
