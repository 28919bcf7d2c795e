"""The command line of `liir show`: one function a figure; each returns the file it wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, UseAppendAction, arg

from liir.errors import InputError
from liir.inputs import nearest
from liir.show.sequences import components, errors, results
from liir.show.use import AS_IS, Count, Out, Using
from liir.terminal import bar

# Torch takes seconds to import: the figures do so once their options are read.

Video = Annotated[Positional[Path], arg(metavar="VIDEO")]
Frame = Annotated[int, arg(metavar="FRAME")]


def show(words: Sequence[str]) -> str:
    """Draws the figure that the first word names.

    Args:
        words: Of the command line, after `liir show`.

    Returns:
        What to tell: the figure's file, or which figures there are.

    Raises:
        InputError: There is no such figure, or its input cannot be used.
    """
    if not words:
        raise InputError(f"say which figure to show: {', '.join(FIGURES)}")
    name = words[0]
    if name in ("-h", "--help"):
        lines = ["usage: liir show FIGURE ... --out FILE", ""]
        for name, figure in FIGURES.items():
            lines += [f"  {name:<11} {(figure.__doc__ or '').splitlines()[0]}"]
        return "\n".join([*lines, "", "liir show FIGURE --help tells all about one."])
    if name not in FIGURES:
        hint = nearest(name, FIGURES)
        raise InputError(f"unknown figure {name!r}{hint} (there are: {', '.join(FIGURES)})")
    config = (tyro.conf.FlagCreatePairsOff,)
    file = tyro.cli(FIGURES[name], prog=f"liir show {name}", args=words[1:], config=config)
    return str(file)


# --- Labels that lie in files


def overlay(
    labels: Annotated[Positional[Path], arg(metavar="LABELS")],
    /,
    *,
    out: Out,
    video: Annotated[Path | None, arg(metavar="VIDEO")] = None,
    frame: Annotated[int | None, arg(metavar="FRAME")] = None,
) -> Path:
    """Labels over their video: an mp4, or a PNG of one frame.

    $ liir show overlay labelled/ --frame 40 --out frame40.png
    $ liir show overlay masks/ --video dog.mp4 --out dog-masks.mp4

    Args:
        labels: What liir track wrote; a folder of label images, named by frame number or like the
            frames; or points (CSV: frame,name,x,y).
        out: An mp4 or PNG.
        video: The video; for what liir track wrote, only if it has moved.
        frame: Frame of a PNG.
    """
    from liir.show.labelled import open_labelled
    from liir.show.overlay import show_overlay

    with bar("frame") as told:
        show_overlay(
            open_labelled(labels, video),
            out,
            frame=frame,
            progress=lambda done, total: told(done, total, 0, ""),
        )
    return out


def sheet(
    labels: Annotated[Positional[Path], arg(metavar="LABELS")],
    /,
    *,
    out: Out,
    video: Annotated[Path | None, arg(metavar="VIDEO")] = None,
    frames: Count = 12,
    columns: Count = 4,
) -> Path:
    """Some labelled frames, evenly spread, on a sheet.

    $ liir show sheet labelled/ --out sheet.png --frames 6 --columns 3

    Args:
        labels: As in liir show overlay.
        out: A PNG.
        video: As in liir show overlay.
        frames: Frames at most.
        columns: Frames in a row.
    """
    from liir.show.labelled import open_labelled
    from liir.show.overlay import show_sheet

    show_sheet(open_labelled(labels, video), out, frames=frames, columns=columns)
    return out


# --- What a model sees


def affinity(
    video: Video,
    /,
    *,
    frame: Frame,
    at: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="X,Y")],
    out: Out,
    model: Annotated[str, arg(metavar="NAME")] = "small",
    annotated: Frame = 0,
    use: Using = AS_IS,
) -> Path:
    """Where a pixel's mass goes in each of its references, with and without the prior.

    $ liir show affinity dog.mp4 --frame 40 --at 320,180 --out affinity.png

    The percentages are what each reference has of all the mass; the brightest cell is the same
    in both rows. A model that tracks without the prior is shown with two Gaussians.

    Args:
        video: A video, or a folder of images.
        frame: The pixel's frame.
        at: The pixel, or several.
        out: A PNG.
        model: As in liir track.
        annotated: The annotated frame, which decides the references.
        use: How the model computes.
    """
    from liir.show.attention import show_affinity
    from liir.show.output import check_apart
    from liir.video import open_video

    places = [_place(text) for text in at]
    check_apart(out, video)
    opened, loaded = open_video(video), use.load(model)
    show_affinity(
        loaded,
        opened,
        out,
        frame=frame,
        places=places,
        config=loaded.preset.tracking,
        annotated=annotated,
    )
    return out


def features(
    video: Video,
    /,
    *,
    out: Out,
    model: Annotated[str, arg(metavar="NAME")] = "small",
    frames: Count = 6,
    start: Frame = 0,
    stop: Annotated[int | None, arg(name="end", metavar="FRAME")] = None,
    use: Using = AS_IS,
) -> Path:
    """Features as colours, the same over the whole video: what keeps its colour is found again.

    $ liir show features dog.mp4 --out features.mp4

    Args:
        video: A video, or a folder of images.
        out: A PNG of some frames, or an mp4 of all.
        model: As in liir track.
        frames: Frames of the PNG, at most.
        start: First frame.
        stop: Frame to stop before.
        use: How the model computes.
    """
    from liir.show.features import show_features
    from liir.show.output import check_apart
    from liir.video import open_video

    check_apart(out, video)
    opened, loaded = open_video(video), use.load(model)
    with bar("frame") as told:
        show_features(
            loaded,
            opened,
            out,
            config=loaded.preset.tracking,
            frames=frames,
            start=start,
            stop=stop,
            progress=lambda done, total: told(done, total, 0, ""),
        )
    return out


def _place(text: str) -> tuple[float, float]:
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        raise InputError(f"--at {text}: give a pixel as X,Y, such as 320,180") from None
    return x, y


# --- Training runs


def curves(
    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN...")],
    /,
    *,
    out: Out,
    over: Literal["steps", "hours"] = "steps",
    smooth: Annotated[int | None, arg(metavar="N")] = None,
) -> Path:
    """Losses, scores, learning rate, features and bank of training runs, side by side.

    $ liir show curves run another-run --over hours --out curves.png

    Args:
        runs: Folders that liir train wrote.
        out: A PNG.
        over: What to draw over.
        smooth: Entries that a curve is the mean of; a hundredth of all if not given.
    """
    from liir.show.curves import show_curves

    show_curves(runs, out, over=over, smooth=smooth)
    return out


FIGURES: Mapping[str, Callable[..., Path]] = {
    figure.__name__: figure
    for figure in (overlay, sheet, components, results, affinity, features, errors, curves)
}
