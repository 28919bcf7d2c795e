"""What a training run tells while it runs: numbers always; pictures and scores where asked for.

Nothing here changes a run: features are those of the step itself, scores are those of a copy of
the encoder, and random states are put back.

Legend: B samples, T frames of each, C channels, H W pixels, h w cells.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from liir.encoder import ready
from liir.errors import InputError
from liir.evaluation import benchmarks
from liir.learning.clips import Batch
from liir.learning.objective import Objective
from liir.learning.samples import draw_affinity, draw_reconstruction

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_log = logging.getLogger(__name__)
LOG = "log.jsonl"
EVENTS = "tensorboard"
LOG_STEPS = 10
PICTURE_STEPS = 500


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """What a run tells beyond its numbers.

    Attributes:
        tensorboard: Write events for TensorBoard to the run's folder (extra `log`).
        validate: A folder in the layout of DAVIS to score the features on now and then; None: no.
        every: Minutes of training between two such scores.
    """

    tensorboard: bool = False
    validate: Path | None = None
    every: float = 30.0

    def check(self) -> None:
        """Sees that all that is asked for can be had.

        Raises:
            InputError: TensorBoard is not installed, or the folder is not one to score on.
        """
        if not self.every > 0:
            raise InputError(f"--validate-every {self.every:g}: give a positive number of minutes")
        if self.validate is not None:
            benchmarks.benchmark(_protocol(self.validate)).sequences(self.validate)
        if self.tensorboard:
            _summary_writer()


class Step(NamedTuple):
    """A step that was taken.

    Attributes:
        done: Steps done, this one included.
        steps: Steps in all; None while not known.
        losses: By name.
        gradient: Norm of the gradient before it was clipped.
        rate: Learning rate.
        seconds: Time spent training so far.
    """

    done: int
    steps: int | None
    losses: Mapping[str, float]
    gradient: float
    rate: float
    seconds: float


class Monitor:
    """Watches a run.

    Args:
        out: The run's folder.
        objective: What is trained.
        config: What to tell.
        step: Steps done before; events of later ones, left by a run that was killed, go.
    """

    def __init__(self, out: Path, objective: Objective, config: Monitoring, step: int = 0) -> None:
        self.out, self.objective, self.config = out, objective, config
        self.recent: list[Step] = []
        self.seconds: float | None = None  # of the step before
        self.pushed = (step, self._pushed())
        self.writer: SummaryWriter | None = None
        self._write(step + 1)
        seen: dict[str, Tensor] = {}

        # Not a method: copies of the encoder, made for a score, would copy the monitor with it.
        def keep(head: nn.Module, _: object, features: Tensor) -> None:
            if head.training:
                seen["features"] = features.detach()

        self._seen = seen
        self._hook = objective.encoder.pixel_head.register_forward_hook(keep)

    def close(self) -> None:
        """Tells of the last steps, lets go of the encoder, and finishes the files."""
        self._tell_recent()
        self._hook.remove()
        if self.writer is not None:
            self._write(self.pushed[0], lambda writer: writer.close())

    def after(self, step: Step, batch: Batch, stopped: Callable[[], bool]) -> float:
        """Tells of a step.

        Args:
            step: The step.
            batch: What it learned from.
            stopped: Whether the run is to end; a score under way is then given up.

        Returns:
            Seconds taken that are not the training's.
        """
        self.recent.append(step)
        last = step.done == step.steps
        if step.done % LOG_STEPS == 0 or last:
            self._tell_recent()
        pictured = step.done % PICTURE_STEPS == 0 or step.done == 1 or last
        if self.config.tensorboard and pictured:
            self._pictures(step.done, batch)
        before = step.seconds if self.seconds is None else self.seconds
        self.seconds, period = step.seconds, 60 * self.config.every
        due = last or step.seconds // period > before // period
        if self.config.validate is None or not due or stopped():
            return 0.0
        return self._validate(self.config.validate, step, stopped)

    # --- Numbers

    def _tell_recent(self) -> None:
        """Tells of the steps that nothing was told of yet, if there are any."""
        if self.recent:
            self._tell(self.recent[-1].done, self._numbers())
            self.recent.clear()

    def _numbers(self) -> dict[str, float]:
        """Means of some steps' losses and gradients, and the state of features and bank."""
        count = len(self.recent)
        entry = {"loss": round(sum(sum(s.losses.values()) for s in self.recent) / count, 5)}
        for name in dict.fromkeys(name for step in self.recent for name in step.losses):
            values = [step.losses[name] for step in self.recent if name in step.losses]
            entry[name] = round(sum(values) / len(values), 5)
        entry["learning_rate"] = self.recent[-1].rate
        entry["gradient"] = round(sum(step.gradient for step in self.recent) / count, 5)
        if "features" in self._seen:
            found = statistics(self._seen["features"])  # no numbers of a step that ended the run
            entry |= {f"feature_{k}": v for k, v in found.items() if math.isfinite(v)}
        entry |= {f"bank_{name}": value for name, value in self._bank().items()}
        return entry | {"seconds": round(self.recent[-1].seconds, 1)}

    def _pushed(self) -> int:
        bank = self.objective.bank
        return 0 if bank is None else int(bank.pushed)

    def _bank(self) -> dict[str, float]:
        """Share of the bank that is filled, mean age of its frames in steps, videos they are of."""
        bank, pushed, step = self.objective.bank, self._pushed(), self.recent[-1].done
        if bank is None or not pushed:
            return {}
        before, self.pushed = self.pushed, (step, pushed)
        frames = (pushed - before[1]) / max(1, step - before[0])  # a step
        held = min(pushed, len(bank.videos))
        known = bank.videos[bank.videos >= 0].unique()
        numbers = {"filled": round(held / len(bank.videos), 4), "videos": float(len(known))}
        # Where it began to be filled among these steps, their mean tells nothing.
        return numbers | ({"age": round((held - 1) / 2 / frames, 2)} if before[1] else {})

    def _tell(self, step: int, entry: Mapping[str, float]) -> None:
        """Appends an entry to the log and, where it is wanted, to TensorBoard's."""
        try:
            with (self.out / LOG).open("a") as log:
                log.write(json.dumps({"step": step, **entry}) + "\n")
        except OSError as error:  # a full disk must not end a run of hours
            _log.warning("%s/%s: step %d not logged: %s", self.out, LOG, step, error)

        def show(writer: SummaryWriter) -> None:
            for name, value in entry.items():
                if name != "seconds":
                    writer.add_scalar(_tag(name), value, step)

        self._write(step, show)

    def _write(self, step: int, show: Callable[[SummaryWriter], None] | None = None) -> None:
        """Shows TensorBoard something of a step, if it is wanted.

        A disk that is full costs it that, and the next time there is another file.
        """
        if not self.config.tensorboard:
            return
        try:
            if self.writer is None:
                self.writer = _summary_writer()(str(self.out / EVENTS), purge_step=step)
            if show is not None:
                show(self.writer)
                self.writer.flush()  # or it would be told at some later step
        except OSError as error:
            _log.warning("%s/%s: step %d not shown: %s", self.out, EVENTS, step, error)
            self.writer = None

    # --- Pictures

    def _pictures(self, step: int, batch: Batch) -> None:
        """Shows TensorBoard how the last step rebuilt its colours, and from where."""
        assert self.objective.shown is not None
        features, config = self._seen["features"], self.objective.preset.training
        features = features.float().unflatten(0, batch.rgb.shape[:2])
        pictures = {
            "reconstruction": draw_reconstruction(batch, self.objective.shown, features, config),
            "affinity": draw_affinity(self.objective.shown[0], features, config),
        }

        def show(writer: SummaryWriter) -> None:
            for name, picture in pictures.items():
                writer.add_image(name, picture, step, dataformats="HWC")

        self._write(step, show)

    # --- Scores

    def _validate(self, root: Path, step: Step, stopped: Callable[[], bool]) -> float:
        """Scores the features by tracking with them; returns the seconds it took."""
        begun = time.monotonic()

        def watch(_: benchmarks.Progress) -> None:
            if stopped():
                raise _GivenUpError

        device = next(self.objective.encoder.parameters()).device
        try:
            # Tracking draws no random numbers; should it ever, training goes on with its own.
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                model = ready(
                    self.objective.learned, self.objective.preset, "trained", str(device), "auto"
                )
                report = benchmarks.evaluate(_protocol(root), root, model, progress=watch)
            entry = {
                f"validation_{name.removesuffix('-Mean')}": round(report.summary[name], 5)
                for name in ("J&F-Mean", "J-Mean", "F-Mean")
            }
            self._tell(step.done, entry | {"seconds": round(step.seconds, 1)})
        except _GivenUpError:
            pass
        except (InputError, OSError) as error:  # a score is not worth a run of hours
            _log.warning("step %d not validated: %s", step.done, error)
        return time.monotonic() - begun


class _GivenUpError(Exception):
    """The run is to end."""


def statistics(features: Tensor) -> dict[str, float]:
    """What tells healthy features from collapsed ones.

    Args:
        features: (N, C, h, w), not normalised.

    Returns:
        "norm": mean length. "spread": 1 less the squared length of the mean unit vector, 0 where
        all features point the same way. "dimensions": how many dimensions unit vectors vary in,
        (sum of variances)^2 / sum of squared variances along the principal axes, 1 to C.
    """
    flat = features.float().movedim(1, -1).flatten(0, -2)  # (N h w, C)
    unit = F.normalize(flat, dim=1)
    mean = unit.mean(0)
    covariance = unit.T @ unit / len(unit) - mean[:, None] * mean
    total, squares = covariance.trace(), covariance.square().sum()
    numbers = {
        "norm": flat.norm(dim=1).mean(),
        "spread": 1 - mean.square().sum(),
        "dimensions": total.square() / squares.clamp_min(1e-20),
    }
    return {name: round(float(value), 4) for name, value in numbers.items()}


def _tag(name: str) -> str:
    """Where TensorBoard shows a number: "feature_norm" under "feature", losses under "loss"."""
    if name in ("learning_rate", "gradient"):
        return f"training/{name}"
    group, _, rest = name.partition("_")
    if group in ("feature", "bank", "validation"):
        return f"{group}/{rest}"
    return "loss/total" if name == "loss" else f"loss/{name}"


def _protocol(root: Path) -> str:
    """The protocol that a folder in the layout of DAVIS is scored by.

    That of 2016 where its lists are the only ones; else all objects of every sequence.
    """
    lists = root / "ImageSets"
    several = (lists / "2017").is_dir() or not lists.is_dir()
    return "davis2017" if several else "davis2016"


def _summary_writer() -> type[SummaryWriter]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "--tensorboard needs the extra log, which is not installed: pip install 'liir[log]'"
        ) from None
    return SummaryWriter
