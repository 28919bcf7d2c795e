"""Features made better for somebody's own footage, without a label: gentle training."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from liir.colour import rgb_to_lab
from liir.encoder import find_weights, read_header, read_weights, write_weights
from liir.errors import InputError
from liir.files import writing
from liir.learning.objective import approach
from liir.learning.places import find_videos
from liir.learning.trainer import Progress, train
from liir.presets import Preset
from liir.video import open_video

LEARNING_RATE = 1e-4
"""A tenth of a new run's: what the weights know must not be forgotten."""
WARMUP = 20
SHARE, GREY_SHARE = 0.25, 0.5
"""Of the way from what the weights were to what training makes of them, with and without colour: a
clip may teach the wrong thing, and a part of the way loses less where it does (docs/training.md).
What is grey is farther from what the weights know, and gains more."""
_GREY = 0.02  # mean magnitude of scaled a and b below which there is no colour to rebuild
_LOOKED_AT = 5  # frames of a video


def adapt(
    folders: Sequence[str | Path],
    weights: str | Path,
    out: str | Path,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    device: str = "auto",
    workers: int | None = None,
    share: float | None = None,
    progress: Callable[[Progress], None] | None = None,
    indexing: Callable[[int, int], None] | None = None,
) -> Path:
    """Continues the training of weights on unlabelled footage.

    Footage without colour has none to rebuild: its brightness is rebuilt from its detail. What is
    written lies between the weights before and after, as Wortsman et al., Robust fine-tuning of
    zero-shot models, 2022, have it.

    Args:
        folders: Videos, or folders of videos or of frames.
        weights: Where to begin, by the names that `liir.load` knows.
        out: The weights file to write.
        steps: As in `train`.
        minutes: As in `train`.
        device: As in `train`.
        workers: As in `train`.
        share: How far from the weights before (0) to those after (1); if None, `SHARE`, or for
            footage without colour `GREY_SHARE`.
        progress: As in `train`; what it raises ends the training, and nothing is written.
        indexing: As in `train`.

    Returns:
        `out`.

    Raises:
        InputError: As `train`; a share that is none; or `out` is there already.
        KeyboardInterrupt: A signal stopped the training; nothing is written.
    """
    out = Path(out)
    if out.exists():
        raise InputError(f"{out}: is there already; give another --out")
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: weights are written; let the name end in .safetensors")
    if share is not None and not 0 < share <= 1:
        raise InputError(f"share {share}: how far to go, above 0 and at most 1")
    videos = [source.path for source in find_videos(folders)]
    encoder, preset = find_weights(weights)
    grey = is_grey(videos)
    preset = gentle(preset, grey)
    if share is None:
        share = GREY_SHARE if grey else SHARE
    last: list[Progress] = []

    def follow(state: Progress) -> None:
        last[:] = [state]
        if progress is not None:
            progress(state)

    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".adapting-") as run:
            made = train(
                folders,
                preset,
                Path(run) / "run",
                steps=steps,
                minutes=minutes,
                init=weights,
                device=device,
                workers=workers,
                progress=follow,
                indexing=indexing,
            )
            if not last or last[0].steps is None or last[0].step < last[0].steps:
                raise KeyboardInterrupt(f"{out} is not written; the same command begins anew")
            learned, preset = read_weights(made)
            approach(encoder, learned, share)
            notes = {**read_header(made)[1], "share": f"{share:g}"}
            write_weights(out, encoder.state_dict(), preset, notes)
    return out


def gentle(preset: Preset, grey: bool) -> Preset:
    """The preset of weights, with settings for going on: one stage, slowly."""
    training = replace(
        preset.training,
        learning_rate=LEARNING_RATE,
        warmup=WARMUP,
        second_stage=1.0,
        inter_weight=0.0,  # it needs two videos or more
        compact_weight=0.0,
        contrast_weight=0.0,  # it needs photographs, or views
        mix=(),
        rebuild="lightness" if grey else "colour",
    )
    return replace(preset, training=training)


def is_grey(videos: Sequence[Path]) -> bool:
    """Whether videos have no colour to speak of, by a few frames of each."""
    found = []
    for path in videos[:50]:
        try:
            video = open_video(path)
            length = video.length or 1
            for index in sorted({round(i) for i in np.linspace(0, length - 1, _LOOKED_AT)}):
                rgb = torch.from_numpy(video.frame(index).rgb[::4, ::4].copy()).permute(2, 0, 1)
                found.append(float(rgb_to_lab(rgb)[1:].abs().mean()))
        except InputError:  # the trainer tells, and leaves it out
            continue
    return bool(found) and float(np.median(found)) < _GREY
