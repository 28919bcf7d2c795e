"""What a run tells: numbers that are right, and nothing that changes it."""

import json
import logging
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from liir.encoder import ready
from liir.errors import InputError
from liir.evaluation import benchmarks
from liir.learning import monitor, trainer
from liir.learning.checkpoint import restore
from liir.learning.monitor import Monitoring, statistics
from liir.learning.objective import Objective
from liir.learning.trainer import Progress, train
from liir.presets import ModelConfig, Preset, TrackingConfig, TrainingConfig
from liir.video import VideoWriter

TINY = Preset(
    name="tiny",
    model=ModelConfig(width=0.125, position_grid=8, pixel_channels=8, region_channels=8),
    tracking=TrackingConfig(size=0, radius=3),
    training=TrainingConfig(
        batch=2,
        crop=32,
        crop_source=(24, 48),
        gap=2,
        chunk=6,
        reuse=2,
        radius=3,
        warmup=2,
        second_stage=0.0,
        inter_weight=0.5,
        bank_frames=6,
        bank_points=2,
        shifting="roll",
    ),
)
FRAMES = 5


def texture(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (18, 42, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((168, 72), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two textures that move by a few pixels a frame."""
    folder = tmp_path_factory.mktemp("clips")
    for seed in range(2):
        with VideoWriter(folder / f"{seed}.mp4") as writer:
            for i in range(12):
                writer.write(texture(seed)[:, 3 * i : 3 * i + 96])
    return folder


@pytest.fixture(scope="module")
def davis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One sequence in the layout of DAVIS: a square that moves with its texture."""
    root = tmp_path_factory.mktemp("davis")
    for kind in ("JPEGImages", "Annotations"):
        (root / kind / "move").mkdir(parents=True)
    for i in range(FRAMES):
        Image.fromarray(texture(5)[:, 3 * i : 3 * i + 96]).save(
            root / f"JPEGImages/move/{i:05}.jpg", quality=95
        )
        mask = np.zeros((72, 96), np.uint8)
        mask[20:50, 50 - 3 * i : 80 - 3 * i] = 1
        Image.fromarray(mask).save(root / f"Annotations/move/{i:05}.png")
    return root


def entries(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def scores(run: Path) -> list[dict[str, Any]]:
    return [entry for entry in entries(run) if "validation_J&F" in entry]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return restore(run).objective


# --- numbers


def test_statistics_tell_collapsed_features_from_healthy_ones() -> None:
    healthy = torch.randn(4, 8, 30, 30)
    told = statistics(3 * healthy)
    assert told["norm"] == pytest.approx(3 * 8**0.5, rel=0.05)
    assert told["spread"] > 0.98
    assert told["dimensions"] == pytest.approx(8, rel=0.03)
    same = torch.ones(4, 8, 30, 30) + 0.01 * healthy
    assert statistics(same)["spread"] < 0.01
    line = torch.randn(4, 1, 30, 30) * torch.randn(8, 1, 1)
    assert statistics(line)["dimensions"] == pytest.approx(1, abs=0.01)


def test_every_step_is_told_of(clips: Path, tmp_path: Path) -> None:
    """Whether a run ends at its end, at a signal, or at a loss that is none."""
    losses: list[float] = []

    def progress(at: Progress) -> None:
        losses.append(at.loss)
        if at.step == 13:
            os.kill(os.getpid(), signal.SIGTERM)

    train([clips], TINY, tmp_path, steps=16, workers=0, progress=progress)
    train([clips], TINY, tmp_path, workers=0, resume=True, progress=progress)
    told = entries(tmp_path)
    assert [entry["step"] for entry in told] == [10, 13, 16]
    for entry, some in zip(told, (losses[:10], losses[10:13], losses[13:]), strict=True):
        assert entry["loss"] == pytest.approx(sum(some) / len(some), abs=1e-4)


def test_what_is_told_of_a_run_that_broke_down_is_json(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert, calls = trainer.rgb_to_lab, iter(range(99))
    monkeypatch.setattr(
        trainer, "rgb_to_lab", lambda rgb: convert(rgb) * (np.nan if next(calls) == 3 else 1)
    )
    with pytest.raises(InputError, match="at step 3 the loss is"):
        train([clips], TINY, tmp_path, steps=6, workers=0)
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 3
    assert "NaN" not in line


def test_numbers_of_a_run(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "LOG_STEPS", 2)
    train([clips], TINY, tmp_path, steps=8, workers=0)
    told = entries(tmp_path)
    assert [entry["step"] for entry in told] == [2, 4, 6, 8]
    for entry in told:
        assert entry["gradient"] > 0
        assert 0 < entry["feature_spread"] <= 1
        assert 1 <= entry["feature_dimensions"] <= 8
        assert entry["feature_norm"] > 0
        assert 1 <= entry["bank_videos"] <= 2
    # Two frames a step into a bank of six: full after three steps, then 2.5 / 2 steps old.
    assert [entry["bank_filled"] for entry in told] == [0.6667, 1, 1, 1]
    assert [entry.get("bank_age") for entry in told] == [None, 1.25, 1.25, 1.25]
    assert "inter" not in told[0]
    assert "inter" in told[-1]
    assert told[-1]["loss"] == pytest.approx(told[-1]["intra"] + told[-1]["inter"], abs=1e-4)


# --- scores


def test_validation_and_pictures_change_nothing(
    clips: Path, davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    evaluate = benchmarks.evaluate

    def wasteful(*args: Any, **options: Any) -> Any:
        torch.rand(7)  # should tracking ever draw random numbers
        return evaluate(*args, **options)

    monkeypatch.setattr(benchmarks, "evaluate", wasteful)
    monkeypatch.setattr(monitor, "PICTURE_STEPS", 2)
    monkeypatch.setattr(monitor, "LOG_STEPS", 2)
    train([clips], TINY, tmp_path / "plain", steps=6, workers=0)
    watching = Monitoring(validate=davis, every=1e-7, tensorboard=True)
    train([clips], TINY, tmp_path / "watched", steps=6, workers=0, monitoring=watching)
    plain, watched = weights(tmp_path / "plain"), weights(tmp_path / "watched")
    assert plain.keys() == watched.keys()
    assert [name for name in plain if not torch.equal(plain[name], watched[name])] == []
    assert torch.equal(restore(tmp_path / "plain").rng, restore(tmp_path / "watched").rng)
    scored = [entry for entry in entries(tmp_path / "watched") if "validation_J&F" in entry]
    assert [entry["step"] for entry in scored] == [2, 3, 4, 5, 6]
    for entry in scored:
        assert 0 < entry["validation_J"] <= 1
        both = (entry["validation_J"] + entry["validation_F"]) / 2
        assert entry["validation_J&F"] == pytest.approx(both, abs=1e-4)
    told = [entry for entry in entries(tmp_path / "watched") if "loss" in entry]
    assert [e["loss"] for e in told] == [e["loss"] for e in entries(tmp_path / "plain")]


def test_the_last_score_is_that_of_the_weights(clips: Path, davis: Path, tmp_path: Path) -> None:
    watching = Monitoring(validate=davis, every=1000)
    train([clips], TINY, tmp_path, steps=3, workers=0, monitoring=watching)
    (entry,) = scores(tmp_path)
    assert entry["step"] == 3
    # Those of the checkpoint: the file of weights is in half precision.
    trained = Objective(TINY)
    trained.load_state_dict(restore(tmp_path).objective)
    model = ready(trained.encoder, TINY, "trained", "cpu", "auto")
    report = benchmarks.evaluate("davis2017", davis, model)
    assert entry["validation_J&F"] == pytest.approx(report.summary["J&F-Mean"], abs=1e-4)


def test_time_spent_on_scores_is_not_the_runs(
    clips: Path, davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(monitor, "time", clock)
    monkeypatch.setattr(trainer, "time", clock)

    def slow(*_: Any, **__: Any) -> Any:
        clock.now += 1000
        return SimpleNamespace(summary={"J&F-Mean": 0.5, "J-Mean": 0.5, "F-Mean": 0.5})

    def progress(_: Progress) -> None:
        clock.now += 60

    monkeypatch.setattr(benchmarks, "evaluate", slow)
    watching = Monitoring(validate=davis, every=2)
    options: dict[str, Any] = {"workers": 0, "monitoring": watching, "progress": progress}
    train([clips], TINY, tmp_path, steps=8, **options)
    # A minute from step to step: after two, four and six, and at the end.
    assert [(e["step"], e["seconds"]) for e in scores(tmp_path)] == [
        *[(3, 120.0), (5, 240.0), (7, 360.0), (8, 420.0)]
    ]
    assert restore(tmp_path).seconds == 420


def test_a_score_that_fails_or_is_interrupted_ends_nothing(
    clips: Path, davis: Path, tmp_path: Path, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = benchmarks.evaluate

    def gone(*_: Any, **__: Any) -> Any:
        raise InputError("00003.jpg: cannot be read")

    watching = Monitoring(validate=davis, every=1000)
    monkeypatch.setattr(benchmarks, "evaluate", gone)
    with caplog.at_level(logging.WARNING):
        train([clips], TINY, tmp_path / "a", steps=2, workers=0, monitoring=watching)
    assert "step 2 not validated: 00003.jpg: cannot be read" in caplog.text
    assert restore(tmp_path / "a").step == 2

    frames: list[int] = []

    def interrupted(*args: Any, progress: Any, **options: Any) -> Any:
        def watch(at: Any) -> None:
            frames.append(at.done)
            os.kill(os.getpid(), signal.SIGTERM)
            progress(at)

        return evaluate(*args, progress=watch, **options)

    monkeypatch.setattr(benchmarks, "evaluate", interrupted)
    train([clips], TINY, tmp_path / "b", steps=2, workers=0, monitoring=watching)
    assert frames == [1]
    assert restore(tmp_path / "b").step == 2
    assert scores(tmp_path / "b") == []


@pytest.mark.parametrize(
    ("lists", "protocol"),
    [
        ([], "davis2017"),
        (["ImageSets/val.txt"], "davis2016"),
        (["ImageSets/480p/val.txt"], "davis2016"),
        (["ImageSets/2016/val.txt", "ImageSets/2017/val.txt"], "davis2017"),
    ],
)
def test_protocol_of_a_folder(tmp_path: Path, lists: list[str], protocol: str) -> None:
    for name in lists:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert monitor._protocol(tmp_path) == protocol


# --- TensorBoard


def test_events(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(monitor, "LOG_STEPS", 2)
    monkeypatch.setattr(monitor, "PICTURE_STEPS", 4)

    def kill(at: Progress) -> None:
        if at.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    watching = Monitoring(tensorboard=True)
    options: dict[str, Any] = {"workers": 0, "monitoring": watching}
    train([clips], TINY, tmp_path, steps=8, progress=kill, **options)
    train([clips], TINY, tmp_path, resume=True, **options)
    events = EventAccumulator(str(tmp_path / "tensorboard"), {"images": 0, "scalars": 0})
    events.Reload()
    tags = events.Tags()
    assert tags["images"] == ["reconstruction", "affinity"]
    assert {"loss/total", "loss/intra", "loss/inter"} <= {*tags["scalars"]}
    assert {"training/learning_rate", "training/gradient", "bank/age"} <= {*tags["scalars"]}
    assert {"feature/norm", "feature/spread", "feature/dimensions"} <= {*tags["scalars"]}
    losses = {event.step: event.value for event in events.Scalars("loss/total")}
    told = {entry["step"]: entry["loss"] for entry in entries(tmp_path)}
    assert losses == pytest.approx(told)
    assert [event.step for event in events.Images("affinity")] == [1, 4, 8]
    shown = events.Images("reconstruction")[0]
    assert (shown.width, shown.height) > (5 * 32, 2 * 32)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_costs_events_alone(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.summary.writer.record_writer import RecordWriter

    monkeypatch.setattr(monitor, "LOG_STEPS", 1)
    monkeypatch.setattr(monitor, "PICTURE_STEPS", 2)
    write, full = RecordWriter.write, {"disk": False}

    def filled(self: RecordWriter, data: bytes) -> None:
        if full["disk"]:
            raise OSError(28, "No space left on device")
        write(self, data)

    def progress(at: Progress) -> None:
        full["disk"] = 3 <= at.step < 6 or at.step == 8

    monkeypatch.setattr(RecordWriter, "write", filled)
    watching = Monitoring(tensorboard=True)
    with caplog.at_level(logging.WARNING):
        train([clips], TINY, tmp_path, steps=8, workers=0, monitoring=watching, progress=progress)
    assert restore(tmp_path).step == 8
    assert [entry["step"] for entry in entries(tmp_path)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert "log.jsonl" not in caplog.text
    assert "tensorboard: step 4 not shown: [Errno 28] No space left on device" in caplog.text
    events = EventAccumulator(str(tmp_path / "tensorboard"), {"images": 0, "scalars": 0})
    events.Reload()
    assert [event.step for event in events.Scalars("loss/total")] == [1, 2, 3, 7, 8]


def test_what_cannot_be_had_is_told_before_the_run(
    clips: Path, davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    refused = {
        r"pip install 'liir\[log\]'": Monitoring(tensorboard=True),
        "nowhere: expected a folder JPEGImages": Monitoring(validate=tmp_path / "nowhere"),
        "give a positive number of minutes": Monitoring(validate=davis, every=0),
    }
    for message, watching in refused.items():
        with pytest.raises(InputError, match=message):
            train([clips], TINY, tmp_path / "run", steps=2, monitoring=watching)
    assert not (tmp_path / "run").exists()
