"""How training runs went, side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from liir.errors import InputError
from liir.learning.monitor import LOG
from liir.show import plot
from liir.show.output import suffix, write_png

Over = Literal["steps", "hours"]

# What is drawn, if a run has told it: its key, and what it is.
_PANELS = {
    "loss": "loss, all parts",
    "validation_J&F": "J&F on the validation folder, %",
    "intra": "intra-video reconstruction",
    "inter": "inter-video reconstruction",
    "compact": "compactness",
    "contrast": "contrast between views",
    "learning_rate": "learning rate",
    "gradient": "norm of the gradient",
    "feature_spread": "spread of the features (0: all the same)",
    "feature_dimensions": "dimensions that features vary in",
    "bank_age": "age of the bank, steps",
}
_ACROSS = 3


def show_curves(
    runs: Sequence[Path], out: Path, *, over: Over = "steps", smooth: int | None = None
) -> None:
    """Draws what runs have logged: losses, scores, learning rate, features, bank.

    Args:
        runs: Folders of runs, or their logs.
        out: A PNG.
        over: What they are drawn over.
        smooth: Entries that a curve is the mean of; None for a hundredth of its own.

    Raises:
        InputError: A run has no log, or matplotlib is not installed, or it cannot be written.
    """
    suffix(out, ".png")
    if smooth is not None and smooth < 1:
        raise InputError(f"--smooth {smooth}: give 1 or more")
    logs = {name: read_log(path) for name, path in _names(runs).items()}
    keys = [key for key in _PANELS if any(key in entry for log in logs.values() for entry in log)]
    rows = -(-len(keys) // _ACROSS)
    made = plot.figure(1600, 340 * rows + 40 + 24 * -(-len(logs) // 4))
    panels = made.subplots(rows, _ACROSS, squeeze=False).ravel()
    for axes, key in zip(panels, keys, strict=False):
        plot.plain(axes, _PANELS[key])
        for place, log in enumerate(logs.values()):
            where, values = _curve(log, key, over)
            if not len(values):
                continue
            scored = key.startswith("validation")
            window = 1 if scored or key == "learning_rate" else smooth or max(1, len(values) // 100)
            style = plot.line(place) | ({"marker": "o", "markersize": "4"} if scored else {})
            if window > 1:
                axes.plot(where, values, alpha=0.2, linewidth=0.8, color=style["color"])
            factor = 100 if scored else 1
            axes.plot(where, factor * _smoothed(values, window), linewidth=1.6, **style)
        low, high = axes.get_ylim()
        if high - low < 1e-6 * abs(high):  # all the same but for rounding, which is not to be seen
            axes.set_ylim(min(0, 2 * low), max(0, 2 * high))
        axes.set_xlabel("hours of training" if over == "hours" else "steps", fontsize=10)
    for axes in panels[len(keys) :]:
        axes.set_visible(False)
    handles = [plot.handle(place) for place in range(len(logs))]
    made.legend(handles, list(logs), loc="outside upper left", ncols=4, frameon=False, fontsize=12)
    write_png(out, plot.drawn(made))


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of a run's log, those left out that the run took again after an interruption.

    Args:
        path: The run's folder, or its log.

    Raises:
        InputError: There is no such log, or nothing in it.
    """
    file = path / LOG if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"{path}: holds no {LOG}; give the folder that liir train wrote")
    entries: list[dict[str, Any]] = []
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error
    for place, line in enumerate(lines):
        try:
            entry = json.loads(line)
            step, _ = int(entry["step"]), float(entry["seconds"])
        except (ValueError, LookupError, TypeError):
            if place == len(lines) - 1:  # a run that was killed may leave half a line
                break
            raise InputError(f"{file}: line {place + 1} is not from liir train") from None
        while entries and (
            entries[-1]["step"] > step or (entries[-1]["step"] == step and "loss" in entry)
        ):
            entries.pop()
        entries.append(entry)
    if not entries:
        raise InputError(f"{file}: is empty: the run has taken too few steps to tell of any")
    return entries


def _names(runs: Sequence[Path]) -> dict[str, Path]:
    """Runs by the shortest end of their path that tells them apart."""
    if not runs:
        raise InputError("nothing to draw: name the folders of runs")
    places = [run.absolute().parent if run.is_file() else run.absolute() for run in runs]
    if len({*places}) < len(places):
        raise InputError("a run is named twice")
    length = 1
    while len({place.parts[-length:] for place in places}) < len(places):
        length += 1
    return {"/".join(p.parts[-length:]): run for p, run in zip(places, runs, strict=True)}


def _curve(
    log: Sequence[Mapping[str, Any]], key: str, over: Over
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.float64]]]:
    told = [entry for entry in log if isinstance(entry.get(key), int | float)]
    where = [entry["seconds"] / 3600 if over == "hours" else entry["step"] for entry in told]
    return np.array(where, np.float64), np.array([entry[key] for entry in told], np.float64)


def _smoothed(
    values: np.ndarray[Any, np.dtype[np.float64]], window: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Mean over a window around each value, which is cut off at the ends."""
    total = np.concatenate(([0.0], np.cumsum(values)))
    place = np.arange(len(values))
    low = np.maximum(place - (window - 1) // 2, 0)
    high = np.minimum(place + window // 2 + 1, len(values))
    mean: np.ndarray[Any, np.dtype[np.float64]] = (total[high] - total[low]) / (high - low)
    return mean
