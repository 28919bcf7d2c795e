"""A training run on disk: everything needed to go on as if it had never stopped."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from liir.errors import InputError
from liir.files import save_state
from liir.presets import Preset, from_dict, to_dict

FILE = "checkpoint.pt"
# What torch.load raises on files cut short, overwritten or made by something else; InputError,
# a ValueError, stands for configurations of another version.
_DAMAGE = (RuntimeError, EOFError, OSError, TypeError, ValueError, LookupError, AttributeError)


@dataclass
class Checkpoint:
    """The state of a run after `step` steps.

    Attributes:
        preset: The run's configuration.
        step: Steps done.
        steps: Steps in all; None while a run given in minutes is still being timed.
        minutes: The budget of such a run.
        seconds: Time spent training so far, over all runs.
        data: `clips.digest` of the shots it is trained on.
        objective: The state of the encoder, the bank and the momentum copy.
        optimizer: The optimizer's state.
        rng: Torch's random state on the CPU.
        init: The weights it began from, None if from random ones.
        teacher: The weights that show it matches, None if none do.
        recent: The losses of the last steps, for `Guard`.
        second: The step that the second stage began with; None: it has not.
        dtype: What the encoder computes in; None: as the device likes it.
    """

    preset: Preset
    step: int
    steps: int | None
    minutes: float | None
    seconds: float
    data: str
    objective: dict[str, Any]
    optimizer: dict[str, Any]
    rng: torch.Tensor
    init: str | None = None
    # Older checkpoints have none of these.
    teacher: str | None = None
    recent: list[float] = field(default_factory=list)
    second: int | None = None
    dtype: str | None = None


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Writes the checkpoint; the one before stays whole until the new one is.

    Raises:
        InputError: The disk is full, or the folder is not there or not to be written to.
    """
    state = {**vars(checkpoint), "preset": to_dict(checkpoint.preset)}
    save_state(folder / FILE, state)


def restore(folder: Path) -> Checkpoint:
    """Reads the checkpoint of a run.

    Raises:
        InputError: There is none, or it is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"{folder}: no {FILE} to resume from; leave --resume out to start anew")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = Checkpoint(**{**state, "preset": from_dict(state["preset"])})
        if "second" not in state and found.steps is not None:  # an older one
            begins = math.ceil(found.preset.training.second_stage * found.steps)
            found.second = begins if found.step > begins else None
        return found
    except (*_DAMAGE, pickle.UnpicklingError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path}: damaged, or not a liir checkpoint: {reason}") from error
