"""The training loop: batches in, weights out; stops and resumes at any step."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from liir import launch
from liir.colour import rgb_to_lab
from liir.encoder import FILE, pick_dtype, write_weights
from liir.errors import InputError
from liir.learning import checkpoint as checkpoints
from liir.learning import distributed
from liir.learning import start as starts
from liir.learning.checkpoint import Checkpoint
from liir.learning.clips import Batch, Pairs
from liir.learning.distributed import Team
from liir.learning.faults import tell_faults
from liir.learning.guard import Guard
from liir.learning.loading import following, load
from liir.learning.monitor import Monitor, Monitoring, Step
from liir.learning.objective import Objective, bank_shape, never_begins, quick_products
from liir.learning.places import Source, find_videos
from liir.learning.schedule import learning_rate
from liir.learning.shots import Shot, digest, index_shots
from liir.learning.signals import interrupted_by_term, stop_on_signals
from liir.learning.teacher import Teacher
from liir.presets import Preset
from liir.settings import checked

_log = logging.getLogger(__name__)
WEIGHTS = FILE
TIMED_STEPS = 50  # before a budget in minutes becomes a number of steps
_SAVE_SECONDS = 180.0


@dataclass(frozen=True)
class Progress:
    """Where a run stands; handed to the progress callback after every step.

    Attributes:
        step: Steps done.
        steps: Steps in all; None while being timed.
        loss: Of the last step.
        learning_rate: Of the last step.
    """

    step: int
    steps: int | None
    loss: float
    learning_rate: float


@distributed.together
def train(
    folders: Sequence[str | Path],
    preset: Preset | str,
    out: str | Path,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    resume: bool | Literal["auto"] = False,
    init: str | Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    monitoring: Monitoring | None = None,
    progress: Callable[[Progress], None] | None = None,
    indexing: Callable[[int, int], None] | None = None,
) -> Path:
    """Trains an encoder on unlabelled video; Ctrl-C and SIGTERM leave a checkpoint.

    Decoding processes are started afresh ("spawn"), so a script calls this under
    `if __name__ == "__main__":`; with `workers=0` it need not. Processes started by torchrun
    train together: each on its part of the batch, and the first writes and reports.

    Args:
        folders: Videos, or folders of videos or of frames, nested at will.
        preset: What to train and how, or a preset's name; on resume the run's own is used.
        out: The run's folder: checkpoint.pt, weights.safetensors, log.jsonl, config.json.
        steps: Length of the run. Give this or `minutes`.
        minutes: Budget; becomes a number of steps after 50 timed ones.
        resume: Go on from the run's checkpoint; "auto": if there is one, and the preset is its own.
        init: Weights to begin with, by the names that `liir.load` knows, of any preset that is as
            wide or narrower; see `start.read`. None begins with random ones.
        device: As in `liir.load`.
        workers: Processes that decode, 0 to decode in this one; default one, or this one's share of
            a quarter of the cores. The batches are the same.
        monitoring: What to tell beyond the log's numbers; nothing of it changes the result.
        progress: Called after every step, in the first process.
        indexing: Called, before the first step, with the number of videos looked through and of
            all videos.

    Returns:
        The weights file.

    Raises:
        InputError: Bad data, folder or settings, a loss that is no longer a number, or a disk
            that is still full at the end (before that it is logged, and training goes on).
    """
    out = Path(out)
    if steps is minutes is None and resume is not True:
        raise InputError("give the length of the run: either --steps N or --minutes M")
    _check_length(steps, minutes)
    if resume is True and init is not None:
        raise InputError("--init begins a new run and --resume goes on with one: give one of them")
    team, monitoring = distributed.current(), monitoring or Monitoring()
    preset = team.from_first(partial(checked, preset))
    team.from_first(partial(bank_shape, preset.training))  # complains if it cannot be
    team.from_first(monitoring.check)
    target = team.device(device)
    state, start = team.from_first(partial(starts.begun, out, preset, resume, init))
    preset = state.preset if state else preset
    began = start.name if start else state.init if state else None
    teacher = starts.teacher(preset.training, target, state)
    slots = team.slots(preset.training.batch, fixed=state is not None)
    wanted = (state and state.dtype) or preset.training.dtype
    dtype = team.from_first(partial(pick_dtype, wanted, target))
    videos = team.from_first(partial(find_videos, folders, preset.training.mix))
    if state is None:
        length = {"steps": steps, "minutes": minutes}
        team.from_first(partial(starts.note, out, preset, folders, began, dtype, **length))
    shots, faults = team.from_first(partial(_indexed, videos, out, preset, indexing))
    team.from_first(partial(starts.check_shots, shots, preset.training))
    pairs = Pairs(shots, preset.training, slots)
    data = digest(shots)
    if state is not None and state.data != data:
        raise team.mistake(
            f"{out}: the run began with other videos; give all of those and no more, or start "
            "another run"
        )
    run = _Run(preset, out, target, dtype, steps, minutes, data, state, team, teacher)
    run.init = began
    if start is not None:
        run.objective.start_from(start.state)
    if workers is None:
        workers = max(1, (os.cpu_count() or 1) // (4 * launch.local_size()))
    try:
        watch: AbstractContextManager[Monitor | None] = nullcontext()
        with stop_on_signals() as stopped:
            if team.first:
                watch = closing(Monitor(out, run.objective, monitoring, run.step))
            with watch as monitor:
                run.loop(pairs, workers, stopped, monitor, progress)
    except RuntimeError as error:  # torch raises it wherever the loop happens to be
        if "DataLoader worker" not in str(error):
            raise
        raise InputError(
            f"{out}: a decoding process died, for want of memory or because a script calls train "
            "outside `if __name__ == '__main__':`; resume with more memory, or workers=0"
        ) from error
    finally:
        if team.first:
            tell_faults(faults | run.faults, len(videos), out, run.step, run.seconds)
    return out / WEIGHTS


def _check_length(steps: int | None, minutes: float | None) -> None:
    if steps is not None and minutes is not None:
        raise InputError("give the length of the run: either --steps N or --minutes M")
    if (steps is not None and steps < 1) or (minutes is not None and not minutes > 0):
        raise InputError("the length of the run must be positive")


def _indexed(
    videos: Sequence[Source],
    out: Path,
    preset: Preset,
    indexing: Callable[[int, int], None] | None,
) -> tuple[list[Shot], dict[str, str]]:
    """The shots, and why videos cannot be read; ended by a signal, it keeps what was found."""
    with interrupted_by_term():
        return index_shots(videos, out / "clips.json", indexing, preset.training.cuts)


class _Run:
    """The state of a run and its loop."""

    def __init__(
        self,
        preset: Preset,
        out: Path,
        device: torch.device,
        dtype: torch.dtype,
        steps: int | None,
        minutes: float | None,
        data: str,
        state: Checkpoint | None,
        team: Team,
        teacher: Teacher | None,
    ) -> None:
        config = preset.training
        torch.manual_seed(config.seed)
        self.preset, self.out, self.device, self.data, self.team = preset, out, device, data, team
        self.objective = Objective(preset, dtype, team, teacher).to(device)
        # For its convolutions; what is not four-dimensional stays as it is.
        self.objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.objective.encoder.parameters(),
            config.learning_rate,
            weight_decay=config.weight_decay,
        )
        self.step, self.steps, self.minutes, self.seconds = 0, steps, minutes, 0.0
        self.init: str | None = None
        self.second: int | None = None  # the step that the second stage began with
        self.saved: int | None = None  # the step that the checkpoint on disk is of
        self.teacher = teacher
        self.guard = Guard(config.explosion, state.recent if state else ())
        self.faults: dict[str, str] = {}
        if state is not None:
            try:
                self.objective.load_state_dict(state.objective)
                self.optimizer.load_state_dict(state.optimizer)
            except (RuntimeError, ValueError, LookupError) as error:
                raise team.mistake(
                    f"{out}: its checkpoint does not fit its configuration; start a new run"
                ) from error
            torch.set_rng_state(state.rng)
            self.step, self.seconds, self.second = state.step, state.seconds, state.second
            self.saved = state.step
            same = minutes in (None, state.minutes)
            self.steps = steps or (state.steps if same else None)
            self.minutes = minutes or state.minutes
        self._tell_of_bank()
        self._set_length()
        self.parallel = team.parallel(self.objective, device)

    def loop(
        self,
        pairs: Pairs,
        workers: int,
        stopped: threading.Event,
        monitor: Monitor | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        """Steps until the run is full or `stopped`; saves every few minutes and at the end."""
        saved = start = time.monotonic()
        before = self.seconds
        with closing(load(pairs, workers, self.step)) as batches:
            while self.steps is None or self.step < self.steps:
                try:
                    batch = following(batches, stopped)
                except Exception:
                    if self.step:  # what was learned is not lost with the data
                        self._try_to_save()
                    raise
                if self.team.anywhere(batch is None) or batch is None:
                    break
                self.faults |= batch.faults
                rate = learning_rate(self.step, self.steps, self.preset.training)
                losses, norm = self._step(batch, rate)
                self.seconds = before + time.monotonic() - start
                self._set_length()
                if monitor is not None:
                    taken = Step(self.step, self.steps, losses, norm, rate, self.seconds)
                    start += monitor.after(taken, batch, stopped.is_set)
                if progress and self.team.first:
                    progress(Progress(self.step, self.steps, sum(losses.values()), rate))
                if time.monotonic() - saved > _SAVE_SECONDS:
                    self._try_to_save()
                    saved = time.monotonic()
        self._gather_faults()
        self.team.from_first(self.save)

    def _gather_faults(self) -> None:
        """Every process decodes other videos; the first one tells of all."""
        for faults in self.team.from_all(lambda: self.faults):
            self.faults = {**self.faults, **faults}

    def _step(self, batch: Batch, rate: float) -> tuple[dict[str, float], float]:
        """One step of gradient descent; returns the losses by name and the gradient's norm."""
        parameters = list(self.objective.encoder.parameters())
        statistics = [buffer.clone() for buffer in self.objective.encoder.buffers()]
        drawn = torch.get_rng_state()
        self.optimizer.zero_grad(set_to_none=True)
        with quick_products(self.objective.dtype):
            losses = self._losses(batch)
            # Each process has its part of the sum; their gradients are averaged.
            loss = self.team.size * torch.stack(list(losses.values())).sum()
            loss.backward()
        parts = [float(value.detach()) for value in losses.values()]
        values = dict(zip(losses, self.team.total(parts), strict=True))
        norm = float(nn.utils.clip_grad_norm_(parameters, self.preset.training.clip_norm))
        if trouble := self.team.from_first(lambda: self.guard.trouble(values, norm)):
            # The bad batch has been through the batch norms already: what is saved has not.
            for buffer, old in zip(self.objective.encoder.buffers(), statistics, strict=True):
                buffer.copy_(old)
            torch.set_rng_state(drawn)
            # The step before may have done the harm: what was saved earlier is rather to be kept,
            # and leads here again.
            if self.saved is None:
                self._try_to_save()
            saved = self.team.from_first(lambda: self.saved)
            self._gather_faults()
            names = chain(*self.team.from_all(lambda: batch.names))
            kept = "nothing is kept" if saved is None else f"what is kept is from step {saved}"
            raise self.team.mistake(
                f"{self.out}: at step {self.step} {trouble} (clips: {'; '.join(names)}); {kept}; "
                "start anew with a lower learning rate (--init goes on from its weights), or "
                "without those clips"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.objective.follow()
        if self.second is None and self._in_second_stage():
            self.second = self.step
        self.step += 1
        return values, norm

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        self.objective.train()
        crop = self.preset.model.position_fit == "crop"
        losses: dict[str, Tensor] = self.parallel(
            rgb_to_lab(batch.rgb.to(self.device)),  # (B, T, 3, H, W)
            batch.dropped.to(self.device),
            batch.videos.to(self.device),
            batch.window.to(self.device) if crop else None,
            self._in_second_stage(),
            batch.correspondence.to(self.device),
        )
        return losses

    def _in_second_stage(self) -> bool:
        """Whether this step is. A run that is made longer stays in the stage it has reached."""
        if self.second is not None or self.steps is None:  # unknown in the first steps alone
            return self.second is not None
        return self.step >= self.preset.training.second_stage * self.steps

    def _set_length(self) -> None:
        if self.steps is None and self.step >= TIMED_STEPS:
            assert self.minutes is not None
            self.seconds = self.team.from_first(lambda: self.seconds)
            self.steps = max(TIMED_STEPS, round(60 * self.minutes * self.step / self.seconds))
            self._tell_of_bank()

    def _tell_of_bank(self) -> None:
        """Once, when the length is known."""
        if self.team.first and self.steps is not None and self.second is None:
            why = never_begins(self.preset.training, self.steps)
            if why is not None:
                _log.warning("%s", why)

    def _try_to_save(self) -> None:
        if not self.team.first:
            return
        try:
            self.save()
        except InputError as error:
            _log.warning("not saved, tried again later: %s", error)

    def save(self) -> None:
        """Writes checkpoint and weights.

        Raises:
            InputError: They cannot be written; those from before stay whole.
        """
        state = Checkpoint(
            preset=self.preset,
            step=self.step,
            steps=self.steps,
            minutes=self.minutes,
            seconds=self.seconds,
            data=self.data,
            objective=self.objective.state_dict(),
            optimizer=self.optimizer.state_dict(),
            rng=torch.get_rng_state(),
            init=self.init,
            teacher=self.teacher.name if self.teacher else None,
            recent=[*self.guard.recent],
            second=self.second,
            dtype=str(self.objective.dtype).removeprefix("torch."),
        )
        checkpoints.save(state, self.out)
        self.saved = self.step
        notes = {"steps": str(self.step), "seconds": str(round(self.seconds))}
        notes |= {"init": self.init} if self.init else {}
        write_weights(self.out / WEIGHTS, self.objective.learned.state_dict(), self.preset, notes)
