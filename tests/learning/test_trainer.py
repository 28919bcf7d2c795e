"""Runs that stop, resume, run out of disk or of numbers; and learn."""

import json
import logging
import math
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from liir.encoder import read_weights
from liir.errors import InputError
from liir.learning import checkpoint as checkpoints
from liir.learning import monitor, objective, trainer
from liir.learning.checkpoint import Checkpoint, restore
from liir.learning.clips import Batch, Pairs
from liir.learning.trainer import Progress, train
from liir.presets import ModelConfig, Preset, TrainingConfig, small, to_dict
from liir.video import VideoWriter

TINY = Preset(
    name="tiny",
    model=ModelConfig(width=0.125, position_grid=8),
    training=TrainingConfig(
        batch=2, crop=32, crop_source=(24, 48), gap=2, chunk=6, reuse=2, radius=3, warmup=2
    ),
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A texture that moves by a few pixels a frame."""
    small = np.random.default_rng(0).integers(0, 256, (18, 42, 3), dtype=np.uint8)
    texture = np.asarray(Image.fromarray(small).resize((168, 72), Image.Resampling.BICUBIC))
    path = tmp_path_factory.mktemp("clips") / "texture.mp4"
    with VideoWriter(path) as writer:
        for i in range(24):
            writer.write(texture[:, 3 * i : 3 * i + 96])
    return path


@pytest.fixture(scope="module")
def whole(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps in one go."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train([clip], TINY, out, steps=6, workers=0)
    return out


def kill_at(step: int, number: int = signal.SIGTERM) -> Callable[[Progress], None]:
    def progress(at: Progress) -> None:
        if at.step == step:
            os.kill(os.getpid(), number)

    return progress


def differences(a: Any, b: Any, name: str = "") -> list[str]:
    """Where two states are not the same bit for bit."""
    if isinstance(a, Tensor):
        return [] if torch.equal(a, b) else [name]
    if isinstance(a, Checkpoint):
        a, b = vars(a) | {"seconds": 0}, vars(b) | {"seconds": 0}
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        return [line for key in a for line in differences(a[key], b[key], f"{name}.{key}")]
    return [] if a == b else [name]


# --- a run


def test_what_a_run_leaves(whole: Path) -> None:
    names = {"checkpoint.pt", "weights.safetensors", "config.json", "clips.json", "log.jsonl"}
    assert {path.name for path in whole.iterdir()} == names
    state = restore(whole)
    assert (state.step, state.steps, state.minutes, state.preset) == (6, 6, None, TINY)
    assert state.seconds > 0
    encoder, preset = read_weights(whole / "weights.safetensors")
    assert preset == TINY
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, state.objective[f"encoder.{name}"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 1), (signal.SIGINT, 0)])
def test_resumed_equals_uninterrupted(
    clip: Path, whole: Path, tmp_path: Path, number: int, workers: int
) -> None:
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    train([clip], TINY, tmp_path, steps=6, workers=workers, progress=kill_at(3, number))
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    half = restore(tmp_path)
    assert (half.step, half.steps) == (3, 6)
    torch.manual_seed(99)  # the state comes from the checkpoint, not from this process
    steps: list[int] = []
    weights = train(
        [clip],
        TINY,
        tmp_path,
        resume=True,
        workers=workers,
        progress=lambda p: steps.append(p.step),
    )
    assert steps == [4, 5, 6]
    assert differences(restore(whole), restore(tmp_path)) == []
    assert weights.read_bytes()[-1000:] == (whole / weights.name).read_bytes()[-1000:]
    assert differences(half, restore(tmp_path)) != []


def test_finished_run_resumes_to_nothing_or_to_more(clip: Path, tmp_path: Path) -> None:
    train([clip], TINY, tmp_path, steps=1, workers=0)
    before = restore(tmp_path)
    train([clip], TINY, tmp_path, resume=True, workers=0)
    assert differences(before, restore(tmp_path)) == []
    train([clip], TINY, tmp_path, resume=True, steps=2, workers=0)
    assert restore(tmp_path).step == 2


def test_log(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "LOG_STEPS", 2)
    losses: list[float] = []
    train([clip], TINY, tmp_path, steps=4, workers=0, progress=lambda p: losses.append(p.loss))
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries] == [2, 4]
    for entry, pair in zip(entries, (losses[:2], losses[2:]), strict=True):
        assert entry["loss"] == pytest.approx(sum(pair) / 2, abs=1e-4)
    assert entries[0]["learning_rate"] == TINY.training.learning_rate


def test_learns(clip: Path, tmp_path: Path) -> None:
    config = TrainingConfig(**{**vars(TINY.training), "batch": 4, "warmup": 5})
    preset = Preset(name="tiny", model=TINY.model, training=config)
    losses: list[float] = []  # about 3.3, by 3 % up and down, to begin with
    train([clip], preset, tmp_path, steps=40, workers=0, progress=lambda p: losses.append(p.loss))
    assert np.mean(losses[-8:]) < 0.9 * np.mean(losses[:8])


def test_views_tell_what_they_do_not_show(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing else asks for known matches."""
    asked: list[Tensor] = []
    true = objective.in_reach
    monkeypatch.setattr(
        objective, "in_reach", lambda *given: asked.append(given[0]) or true(*given)
    )
    for share, expected in ((0.0, 0), (1.0, 2)):
        preset = replace(TINY, training=replace(TINY.training, view_share=share))
        train([clip], preset, tmp_path / str(share), steps=2, workers=0)
        assert len(asked) == expected


# --- minutes


class Clock(SimpleNamespace):
    """Stands in for `time`: two seconds pass between steps."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_minutes_become_steps_once(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(trainer, "time", clock)
    monkeypatch.setattr(trainer, "TIMED_STEPS", 3)
    lengths: list[int | None] = []

    def progress(at: Progress) -> None:
        clock.now += 2
        lengths.append(at.steps)
        if at.step in (2, 5):
            os.kill(os.getpid(), signal.SIGTERM)

    train([clip], TINY, tmp_path, minutes=0.2, workers=0, progress=progress)
    state = restore(tmp_path)
    assert (state.step, state.steps, state.minutes, state.seconds) == (2, None, 0.2, 2.0)
    train([clip], TINY, tmp_path, resume=True, workers=0, progress=progress)
    # 2 s before the third step is done: 12 s have room for 18.
    assert lengths == [None, None, 18, 18, 18]
    assert restore(tmp_path).steps == 18
    clock.now += 1000  # what happens between the runs does not count, nor how slow the rest is
    train([clip], TINY, tmp_path, resume=True, workers=0, progress=progress)
    assert lengths[5:] == [18] * 13
    assert restore(tmp_path).step == 18


# --- what can go wrong


def poisoned(function: Callable[..., Any], at: int, poison: Callable[[Any], Any]) -> Any:
    """The function, whose result is poisoned at one call."""
    calls = iter(range(1000))

    def call(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        return poison(result) if next(calls) == at else result

    return call


def test_numbers_that_are_none_stop_the_run(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train([clip], TINY, tmp_path / "good", steps=6, workers=0, progress=kill_at(3))
    good = restore(tmp_path / "good")
    poisons = {
        "loss": (objective, "intra_video_losses", lambda all: {"intra": all["intra"] * math.nan}),
        "input": (trainer, "rgb_to_lab", lambda lab: lab * math.inf),  # through the batch norms
        "gradient": (
            objective,
            "intra_video_losses",
            lambda all: {"intra": all["intra"] + (all["intra"] * 0).sqrt()},
        ),
    }
    for kind, (module, name, poison) in poisons.items():
        with monkeypatch.context() as patch:
            patch.setattr(module, name, poisoned(getattr(module, name), 3, poison))
            with pytest.raises(InputError, match=r"at step 3 .*texture\.mp4 frames \d+, \d+; "):
                train([clip], TINY, tmp_path / kind, steps=6, workers=0)
        assert differences(good, restore(tmp_path / kind)) == []
        read_weights(tmp_path / kind / "weights.safetensors")


def test_a_full_disk_does_not_end_the_run(
    clip: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(trainer, "_SAVE_SECONDS", -1.0)
    monkeypatch.setattr(monitor, "LOG_STEPS", 1)
    save = checkpoints.save
    full = {2, 3}

    def fill(state: Checkpoint, folder: Path) -> None:
        if state.step in full:
            raise InputError("checkpoint.pt: cannot be written (No space left on device)")
        save(state, folder)

    def watch(at: Progress) -> None:
        on_disk.append(restore(tmp_path).step if (tmp_path / checkpoints.FILE).exists() else 0)

    on_disk: list[int] = []
    monkeypatch.setattr(checkpoints, "save", fill)
    (tmp_path / "log.jsonl").mkdir()  # no room for the log either
    with caplog.at_level(logging.WARNING):
        train([clip], TINY, tmp_path, steps=6, workers=0, progress=watch)
    assert on_disk == [0, 1, 1, 1, 4, 5]
    messages = [record.getMessage() for record in caplog.records]
    assert sum("No space left" in message for message in messages) == 2
    assert sum("log.jsonl: step" in message for message in messages) == 6
    assert differences(restore(whole), restore(tmp_path)) == []

    full.add(7)
    with pytest.raises(InputError, match="No space left"):
        train([clip], TINY, tmp_path, steps=7, resume=True, workers=0)
    assert restore(tmp_path).step == 6


def test_presets_are_checked(clip: Path, tmp_path: Path) -> None:
    """From Python as from the command line, before anything is written."""
    wrong = {
        r"shifting cannot be 'rolled'": {"shifting": "rolled"},
        r"'crop=36': is not a multiple of 8": {"crop": 36},
        r"gap 6: .* --set chunk=7": {"gap": 6},
    }
    for message, change in wrong.items():
        preset = replace(TINY, training=replace(TINY.training, **change))
        with pytest.raises(InputError, match=message):
            train([clip], preset, tmp_path / "run", steps=2, workers=0)
    with pytest.raises(InputError, match="did you mean small"):
        train([clip], "smal", tmp_path / "run", steps=2, workers=0)
    assert not (tmp_path / "run").exists()


def test_a_preset_by_its_name(clip: Path, tmp_path: Path) -> None:
    train([clip], "small", tmp_path, steps=1, workers=0)
    assert restore(tmp_path).preset == small()


def test_refusals(clip: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds a run already; use --resume"):
        train([clip], TINY, whole, steps=3)
    with pytest.raises(InputError, match="to resume from"):
        train([clip], TINY, tmp_path / "none", resume=True)
    for length in ({}, {"steps": 3, "minutes": 1.0}):
        with pytest.raises(InputError, match="either --steps N or --minutes M"):
            train([clip], TINY, tmp_path / "new", **length)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="either --steps N or --minutes M"):
        train([clip], TINY, whole, steps=3, minutes=1.0, resume=True)
    for length in ({"steps": 0}, {"minutes": -1.0}, {"minutes": math.nan}):
        with pytest.raises(InputError, match="must be positive"):
            train([clip], TINY, tmp_path / "new", **length)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot be used here"):
        train([clip], TINY, tmp_path / "new", steps=3, device="gpu")
    with pytest.raises(InputError, match="no such file or folder"):
        train([tmp_path / "nowhere"], TINY, tmp_path / "new", steps=3)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file.*: no run can be kept there"):
        train([clip], TINY, tmp_path / "file" / "run", steps=3)


def test_checkpoint_of_another_network(clip: Path, whole: Path, tmp_path: Path) -> None:
    state = restore(whole)
    wider = Preset(name="wide", model=ModelConfig(width=0.25), training=TINY.training)
    checkpoints.save(Checkpoint(**{**vars(state), "preset": wider}), tmp_path)
    with pytest.raises(InputError, match="does not fit its configuration"):
        train([clip], TINY, tmp_path, resume=True)


# --- the processes that decode


def test_death_of_a_process_is_told(clip: Path, tmp_path: Path) -> None:
    def progress(at: Progress) -> None:
        # Once: to ask for children again would take note of the death before the loader can.
        if killed:
            return
        child = multiprocessing.active_children()[0]
        killed.append(child)
        status = Path(f"/proc/{child.pid}/status")
        if status.exists():  # Linux: Ctrl-C is for the parent alone to hear
            ignored = int(status.read_text().split("SigIgn:")[1].split()[0], 16)
            deaf.append(bool(ignored >> (signal.SIGINT - 1) & 1))
        child.kill()

    deaf: list[bool] = []
    killed: list[multiprocessing.Process] = []
    with pytest.raises(InputError, match="a decoding process died"):
        train([clip], TINY, tmp_path, steps=500, workers=1, progress=progress)
    assert all(deaf)


def test_job_schedulers_end_the_processes_first(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = trainer.load

    def two(pairs: Pairs, workers: int, start: int) -> Iterator[Batch | None]:
        yield from islice(batches(pairs, 0, start), 2)
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")

    monkeypatch.setattr(trainer, "load", two)
    train([clip], TINY, tmp_path, steps=6)
    assert restore(tmp_path).step == 2


SCRIPT = """
import os, signal, sys
from liir.learning.trainer import train
from liir.presets import from_dict

def interrupt(at):
    if at.step == 2:
        # To all processes at once, as terminals and job schedulers do.
        os.killpg(0, signal.SIGTERM)
        os.killpg(0, signal.SIGINT)

if __name__ == "__main__":
    train([sys.argv[1]], from_dict(eval(sys.argv[2])), "run", steps=500, workers=1,
          progress=interrupt)
"""


def test_ctrl_c_is_quiet(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py", str(clip), repr(to_dict(TINY))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert restore(tmp_path / "run").step == 2
