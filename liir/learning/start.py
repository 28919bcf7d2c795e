"""What a run begins with: its own checkpoint, or weights of any run; and its folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from liir.encoder import FILE, find_weights, fingerprint
from liir.errors import InputError
from liir.files import remove_partial, written
from liir.learning import checkpoint as checkpoints
from liir.learning.checkpoint import Checkpoint
from liir.learning.shots import Shot
from liir.learning.teacher import Teacher
from liir.learning.widening import widened
from liir.presets import ModelConfig, Preset, TrainingConfig, to_dict

_log = logging.getLogger(__name__)
_MAP = "position.map"
_SAME = ("pixel_channels", "region_channels")
"""What weights and run must agree on."""


@dataclass(frozen=True)
class Start:
    """Weights to begin with.

    Attributes:
        name: Which they are, for the run's records.
        state: An encoder's state, float32 on the CPU, without the position map where the weights
            bring none.
    """

    name: str
    state: dict[str, Tensor]


def begun(
    out: Path, preset: Preset, resume: bool | Literal["auto"], init: str | Path | None
) -> tuple[Checkpoint | None, Start | None]:
    """The run to go on with, or the weights to begin a new one with, or neither.

    Args:
        out: The run's folder.
        preset: What to train, if the run begins.
        resume: Whether to go on; "auto": if there is a checkpoint, which has to be of that preset.
        init: As in `read`; None for random weights.

    Raises:
        InputError: There is no run to go on with, or one in the way of a new one; or the weights
            do not fit.
    """
    remove_partial(out)
    there = (out / checkpoints.FILE).exists()
    if not there and (out / FILE).exists():
        raise InputError(
            f"{out}: holds the weights of a run, and no {checkpoints.FILE} to go on from: use "
            f"another folder (--init {out / FILE} begins with them)"
        )
    if resume is True or (resume == "auto" and there):
        state = checkpoints.restore(out)
        if resume == "auto" and state.preset != preset:
            raise InputError(
                f"{out}: its run has other settings: give the same (they are in config.json), or "
                "another folder"
            )
        return state, None
    if there:
        raise InputError(f"{out}: holds a run already; use --resume or another folder")
    return None, read(init, preset.model) if init is not None else None


def read(init: str | Path, model: ModelConfig) -> Start:
    """Finds weights and fits them to the run's network.

    Convolutions and batch norms (with their statistics) are taken as they are, in a wider network
    with copies of their channels (see `widened`). Of the position:
    a learned map is taken, resized if its grid is another; if the run has no learned map it is
    left out; if the weights have none, the run's begins at random, as in a new run.

    Args:
        init: As in `liir.load`.
        model: The run's network.

    Raises:
        InputError: There are no such weights, or they are wider, or of another head size.
    """
    encoder, preset = find_weights(init)
    width = preset.model.width
    if width > model.width:
        raise InputError(
            f"{init}: its network has width {width}, and this run's is narrower, {model.width}: "
            f"add --set width={width}, or let it teach this one (--set teacher={init})"
        )
    for field in _SAME:
        own, wanted = getattr(preset.model, field), getattr(model, field)
        if own != wanted:
            raise InputError(
                f"{init}: its network has {field} {own}, this run's {wanted}; "
                f"add --set {field}={own}, or begin with other weights"
            )
    state = dict(encoder.state_dict())
    name = f"{init} ({preset.name}, {fingerprint(encoder)})"
    if model.position != preset.model.position:
        _log.warning(
            "%s: trained with position %s, this run has %s: the network has to get used to it",
            *(init, preset.model.position, model.position),
        )
    if width < model.width:
        state = widened(state, replace(preset.model, width=model.width))
    if model.position != "learnable":
        state.pop(_MAP, None)
    elif _MAP in state and state[_MAP].shape[-1] != model.position_grid:
        side = (model.position_grid, model.position_grid)
        state[_MAP] = F.interpolate(state[_MAP], side, mode="bicubic", align_corners=False)
    return Start(name, state)


def teacher(
    config: TrainingConfig, device: torch.device, state: Checkpoint | None
) -> Teacher | None:
    """Who shows a run what matches; None if nobody is to.

    Args:
        config: Names the weights.
        device: Where the run trains.
        state: What the run goes on from, if it does.

    Raises:
        InputError: There are no such weights, they are not those that the run began with, or
            nothing would be learned from them.
    """
    if not config.teacher:
        return None
    if config.contrast_weight == 0:
        raise InputError(
            f"teacher {config.teacher}: nothing is learned from it without --set "
            "contrast_weight=0.1, say"
        )
    found = Teacher(config.teacher, device, config.radius)
    if state is not None and state.teacher != found.name:
        raise InputError(
            f"teacher {config.teacher}: the run began with {state.teacher}, this is {found.name}; "
            "put that one back, or start another run"
        )
    return found


def note(
    out: Path,
    preset: Preset,
    folders: Sequence[str | Path],
    init: str | None,
    dtype: torch.dtype,
    **length: float | None,
) -> None:
    """Makes a new run's folder; writes there, to config.json, what the run was begun with.

    Args:
        out: The folder.
        preset: All settings.
        folders: What is trained on.
        init: The weights it begins with.
        dtype: What the network computes in, which `preset` may have left open.
        length: Steps and minutes, as they were given.

    Raises:
        InputError: No folder or file can be made there.
    """
    told = to_dict(preset) | {"init": init, "dtype": str(dtype).removeprefix("torch."), **length}
    told |= {"folders": [str(folder) for folder in folders], "version": version("liir")}
    try:
        out.mkdir(parents=True, exist_ok=True)
        with written(out / "config.json") as partly:
            partly.write_text(json.dumps(told, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"{out}: no run can be kept there ({error.strerror})") from error


def check_shots(shots: Sequence[Shot], config: TrainingConfig) -> None:
    """Sees that there is what the losses need.

    Raises:
        InputError: There is one video alone, or nothing whose match is known.
    """
    if config.inter_weight > 0 and len({shot.video for shot in shots}) < 2:
        raise InputError(
            "inter-video reconstruction needs two videos or more, and all of these hold the same: "
            "add footage, or do without it (--set inter_weight=0)"
        )
    known = config.view_share > 0 or config.teacher or any(shot.still for shot in shots)
    if config.contrast_weight > 0 and not known:
        raise InputError(
            "contrast needs two views of a picture, whose match is known: add photographs "
            "(stills:FOLDER), or take views of video frames (--set view_share=0.5); or a teacher"
        )
