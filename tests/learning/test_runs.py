"""Runs that go on: the whole objective, other videos, minutes given twice."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from liir.encoder import read_weights
from liir.errors import InputError
from liir.learning import checkpoint as checkpoints
from liir.learning import guard, monitor, objective, trainer
from liir.learning.checkpoint import Checkpoint, restore
from liir.learning.trainer import Progress, learning_rate, train
from liir.presets import ModelConfig, Preset, TrainingConfig
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


def two_clips(folder: Path, clip: Path) -> list[Path]:
    """The clip, and another one."""
    other = folder / "other.mp4"
    rng = np.random.default_rng(5)
    with VideoWriter(other) as writer:
        for _ in range(8):
            writer.write(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    return [clip, other]


WHOLE = replace(
    TINY,
    training=replace(
        TINY.training, inter_weight=0.5, compact_weight=1.0, compact_threshold=0.05,
        second_stage=0.3, bank_frames=2, bank_points=2, inter_radius=1,
    ),
)  # fmt: skip


def test_the_whole_objective_resumes_bit_for_bit(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bank, momentum head and the random shifts of position maps included."""
    monkeypatch.setattr(monitor, "LOG_STEPS", 1)
    clips = two_clips(tmp_path, clip)
    train(clips, WHOLE, tmp_path / "whole", steps=8, workers=0)
    train(clips, WHOLE, tmp_path / "half", steps=8, workers=0, progress=kill_at(5))
    torch.manual_seed(99)
    train(clips, WHOLE, tmp_path / "half", workers=0, resume=True)
    assert differences(restore(tmp_path / "whole"), restore(tmp_path / "half")) == []
    log = [json.loads(line) for line in (tmp_path / "whole/log.jsonl").read_text().splitlines()]
    assert "compact" not in log[1]
    assert {"intra", "compact", "inter"} <= set(log[-1])


def test_what_is_beyond_the_paper_resumes_bit_for_bit(clip: Path, tmp_path: Path) -> None:
    """Choices of what to cover, the mean over steps, several references, views, a teacher."""
    changes = {"cover": 0.5, "light": 0.2, "grey_share": 0.3, "average": 0.9, "references": 2}
    changes |= {"pieces": 0.5, "contrast_weight": 1.0, "view_share": 0.5, "teacher": "random:small"}
    beyond = replace(TINY, training=replace(TINY.training, **changes))
    train([clip], beyond, tmp_path / "whole", steps=6, workers=0)
    train([clip], beyond, tmp_path / "half", steps=6, workers=0, progress=kill_at(3))
    torch.manual_seed(99)
    train([clip], beyond, tmp_path / "half", workers=0, resume=True)
    whole = restore(tmp_path / "whole")
    assert differences(whole, restore(tmp_path / "half")) == []
    kept, _ = read_weights(tmp_path / "whole/weights.safetensors")
    for name, value in kept.state_dict().items():  # the mean is what is used
        torch.testing.assert_close(
            value.float(), whole.objective[f"average.{name}"].float(), rtol=1e-3, atol=1e-3
        )
    name = "pixel_head.weight"
    assert not torch.equal(whole.objective[f"average.{name}"], whole.objective[f"encoder.{name}"])


def test_contrast_wants_views(clip: Path, tmp_path: Path) -> None:
    wanted = replace(TINY, training=replace(TINY.training, contrast_weight=1.0))
    with pytest.raises(InputError, match="view_share"):
        train([clip], wanted, tmp_path / "run", steps=2, workers=0)
    shown = replace(wanted, training=replace(wanted.training, view_share=1.0))
    train([clip], shown, tmp_path / "run", steps=2, workers=0)


def test_one_video_has_no_others(clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(clip.read_bytes())
    with pytest.raises(InputError, match="inter_weight=0"):
        train([clip, copy], WHOLE, tmp_path / "run", steps=2, workers=0)


def test_resume_wants_the_same_videos(clip: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    with pytest.raises(InputError, match="other videos"):
        train(two_clips(tmp_path, clip), TINY, tmp_path / "run", steps=7, workers=0, resume=True)
    moved = tmp_path / "elsewhere.mp4"
    moved.write_bytes(clip.read_bytes())
    train([moved], TINY, tmp_path / "run", steps=7, workers=0, resume=True)
    assert restore(tmp_path / "run").step == 7


def test_a_mixture_resumes_bit_for_bit(clip: Path, tmp_path: Path) -> None:
    places = two_clips(tmp_path, clip)
    mixed = replace(TINY, training=replace(TINY.training, mix=(3, 1), draw="frames"))
    train(places, mixed, tmp_path / "whole", steps=6, workers=0)
    train(places, mixed, tmp_path / "half", steps=6, workers=0, progress=kill_at(3))
    train(places, TINY, tmp_path / "half", workers=0, resume=True)  # its own mix is kept
    assert differences(restore(tmp_path / "whole"), restore(tmp_path / "half")) == []
    with pytest.raises(InputError, match="other videos"):
        train(places[::-1], mixed, tmp_path / "half", steps=7, workers=0, resume=True)
    with pytest.raises(InputError, match="2 shares, but there are 1 places"):
        train(places[:1], mixed, tmp_path / "half", steps=7, workers=0, resume=True)


def test_videos_and_photographs_train_together(clip: Path, tmp_path: Path) -> None:
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 256, (40, 50 + i, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    mixed = replace(WHOLE, training=replace(WHOLE.training, mix=(1, 1)))
    places = [clip, f"stills:{tmp_path}"]
    train(places, mixed, tmp_path / "run", steps=4, workers=0)
    assert restore(tmp_path / "run").step == 4
    train(places[1:], TINY, tmp_path / "alone", steps=2, workers=0)  # no video is needed


def test_minutes_given_again_change_nothing(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "TIMED_STEPS", 2)
    states: list[Progress] = []
    options: dict[str, Any] = {"workers": 0, "minutes": 1.0}
    train([clip], TINY, tmp_path, progress=kill_at(4), **options)
    length = restore(tmp_path).steps
    assert length is not None

    def stop(state: Progress) -> None:
        states.append(state)
        os.kill(os.getpid(), signal.SIGTERM)

    train([clip], TINY, tmp_path, resume=True, progress=stop, **options)
    assert states[0].steps == length
    assert states[0].learning_rate == learning_rate(4, length, TINY.training)


def test_an_explosion_ends_the_run_before_its_step(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train([clip], TINY, tmp_path / "good", steps=6, workers=0, progress=kill_at(3))
    monkeypatch.setattr(guard, "_LEAST", 2)
    losses, calls = objective.intra_video_losses, iter(range(99))

    def exploding(*args: Any, **options: Any) -> dict[str, Tensor]:
        factor = 100.0 if next(calls) == 3 else 1.0
        return {name: factor * loss for name, loss in losses(*args, **options).items()}

    monkeypatch.setattr(objective, "intra_video_losses", exploding)
    with pytest.raises(InputError, match=r"at step 3 the loss is .*texture\.mp4 frames \d+, \d+"):
        train([clip], TINY, tmp_path / "run", steps=6, workers=0)
    assert differences(restore(tmp_path / "good"), restore(tmp_path / "run")) == []


def test_what_was_saved_before_an_explosion_is_kept(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step before may have done the harm. The same comes again from there."""
    train([clip], TINY, tmp_path, steps=6, workers=0, progress=kill_at(2))
    convert, calls = trainer.rgb_to_lab, iter(range(99))
    monkeypatch.setattr(
        trainer, "rgb_to_lab", lambda rgb: convert(rgb) * (np.nan if next(calls) == 2 else 1)
    )
    before = [(tmp_path / name).read_bytes() for name in ("checkpoint.pt", "weights.safetensors")]
    with pytest.raises(InputError, match=r"at step 4 .*; what is kept is from step 2; "):
        train([clip], TINY, tmp_path, workers=0, resume=True)
    assert before == [(tmp_path / n).read_bytes() for n in ("checkpoint.pt", "weights.safetensors")]


def test_nothing_of_a_step_that_is_not_taken_is_saved(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the random numbers that it drew: shifts of position, points for the bank."""
    clips = two_clips(tmp_path, clip)
    train(clips, WHOLE, tmp_path / "good", steps=8, workers=0, progress=kill_at(5))
    convert, calls = trainer.rgb_to_lab, iter(range(99))
    monkeypatch.setattr(
        trainer, "rgb_to_lab", lambda rgb: convert(rgb) * (np.nan if next(calls) == 5 else 1)
    )
    with pytest.raises(InputError, match=r"at step 5 .*; what is kept is from step 5; "):
        train(clips, WHOLE, tmp_path / "run", steps=8, workers=0)
    assert differences(restore(tmp_path / "good"), restore(tmp_path / "run")) == []

    def full(*_: Any) -> None:
        raise InputError("no space")

    monkeypatch.setattr(checkpoints, "save", full)
    calls = iter(range(99))
    with pytest.raises(InputError, match="; nothing is kept; "):
        train(clips, WHOLE, tmp_path / "full", steps=8, workers=0)


def test_a_run_made_longer_stays_in_its_second_stage(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "LOG_STEPS", 1)
    clips = two_clips(tmp_path, clip)
    late = replace(WHOLE, training=replace(WHOLE.training, second_stage=0.5))
    train(clips, late, tmp_path / "run", steps=8, workers=0)
    assert restore(tmp_path / "run").second == 4
    state = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)
    del state["second"]  # as older checkpoints are
    torch.save(state, tmp_path / "run/checkpoint.pt")
    options: dict[str, Any] = {"workers": 0, "resume": True}
    train(clips, late, tmp_path / "run", steps=40, progress=kill_at(10), **options)
    train(clips, late, tmp_path / "run", progress=kill_at(11), **options)
    found = restore(tmp_path / "run")
    assert (found.second, found.step, found.steps) == (4, 11, 40)
    assert found.objective["bank.pushed"] == 7 * late.training.batch
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log if "inter" in entry] == [6, 7, 8, 9, 10, 11]

    train(clips, late, tmp_path / "early", steps=8, workers=0, progress=kill_at(3))
    train(clips, late, tmp_path / "early", steps=40, progress=kill_at(5), **options)
    assert restore(tmp_path / "early").second is None


def test_a_run_keeps_its_number_format(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pick = trainer.pick_dtype
    for auto in ("bfloat16", "float32"):  # what this machine likes, and another one
        here = partial(lambda auto, name, at: pick({"auto": auto}.get(name, name), at), auto)
        monkeypatch.setattr(trainer, "pick_dtype", here)
        stop = kill_at(2 if auto == "bfloat16" else 4)
        train([clip], TINY, tmp_path / "auto", workers=0, resume="auto", steps=4, progress=stop)
    wanted = replace(TINY, training=replace(TINY.training, dtype="bfloat16"))
    train([clip], wanted, tmp_path / "wanted", steps=4, workers=0)
    for name in ("auto", "wanted"):
        assert restore(tmp_path / name).dtype == "bfloat16"
        assert json.loads((tmp_path / name / "config.json").read_text())["dtype"] == "bfloat16"
    auto, same = (restore(tmp_path / name).objective for name in ("auto", "wanted"))
    assert differences(auto, same) == []
    train([clip], TINY, tmp_path / "plain", steps=4, workers=0)
    assert differences(auto, restore(tmp_path / "plain").objective) != []


def test_clips_shorter_than_the_gap(tmp_path: Path) -> None:
    """Pairs lie as far apart as there is room for."""
    for seed in range(2):
        folder = tmp_path / "clips" / str(seed)
        folder.mkdir(parents=True)
        rng = np.random.default_rng(seed)
        for i in range(2 + seed):
            pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    far = replace(TINY, training=replace(TINY.training, gap=9, chunk=12))
    train([tmp_path / "clips"], far, tmp_path / "run", steps=3, workers=0)
    assert restore(tmp_path / "run").step == 3


def test_a_full_scratch_ends_the_run_with_a_checkpoint(
    make: Any, clip: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make.shard(tmp_path / "s.tar", {"texture.mp4": clip})

    def fill(at: Progress) -> None:
        if at.step == 4:
            monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))

    with pytest.raises(InputError, match=r"^\S+: no room .* in TMPDIR$"):
        train([path], TINY, tmp_path / "run", steps=6, workers=0, progress=fill)
    monkeypatch.undo()
    assert restore(tmp_path / "run").step == 4
    train([path], TINY, tmp_path / "run", workers=0, resume=True)
    assert differences(restore(whole), restore(tmp_path / "run")) == []


def test_sigterm_while_videos_are_looked_through(clip: Path, tmp_path: Path) -> None:
    """Nothing to save yet but what was found, which is kept."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        train(
            two_clips(tmp_path, clip),
            TINY,
            tmp_path / "run",
            steps=6,
            indexing=lambda done, _: os.kill(os.getpid(), signal.SIGTERM) if done == 1 else None,
        )
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(json.loads((tmp_path / "run" / "clips.json").read_text())) == 1


def test_a_run_that_goes_on_leaves_its_configuration_alone(clip: Path, tmp_path: Path) -> None:
    """On a full disk, even to write the same again could lose it."""
    train([clip], TINY, tmp_path, steps=1, workers=0)
    told = json.loads((tmp_path / "config.json").read_text())
    assert (told["name"], told["steps"], told["folders"]) == ("tiny", 1, [str(clip)])
    (tmp_path / "config.json").write_text("as it was")
    train([clip], TINY, tmp_path, steps=2, workers=0, resume=True)
    assert (tmp_path / "config.json").read_text() == "as it was"


def test_a_bank_that_is_never_full_is_told(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its loss would join at the step after the one that fills it: each time, and not before."""
    clips = two_clips(tmp_path, clip)
    monkeypatch.setattr(monitor, "LOG_STEPS", 1)

    def run(name: str, **options: Any) -> bool:
        caplog.clear()
        changes = {"second_stage": 0.5, "bank_frames": 5} | options.pop("changes", {})
        preset = replace(WHOLE, training=replace(WHOLE.training, **changes))
        train(clips, preset, tmp_path / name, workers=0, **options)
        told = [r for r in caplog.records if "never begins" in r.getMessage()]
        assert len(told) < 2
        log = (tmp_path / name / "log.jsonl").read_text()
        assert bool(told) != ("inter" in json.loads(log.splitlines()[-1]))
        return bool(told)

    assert run("short", steps=6)
    (record,) = (r for r in caplog.records if "never begins" in r.getMessage())
    assert "of 5 frames is full 3 steps into the second stage, which has 3; " in record.getMessage()
    assert "--set bank_frames=2" in record.getMessage()
    assert not run("mended", steps=6, changes={"bank_frames": 2})
    assert not run("long", steps=8)
    monkeypatch.setattr(trainer, "TIMED_STEPS", 2)
    assert run("minutes", minutes=1e-6)  # two steps
    assert objective.never_begins(replace(WHOLE.training, second_stage=1.0), 6) is None
    assert objective.never_begins(replace(WHOLE.training, inter_weight=0.0), 1) is None


def test_the_bank_knows_its_videos(clip: Path, tmp_path: Path) -> None:
    clips = two_clips(tmp_path, clip)
    train(clips, WHOLE, tmp_path / "run", steps=6, workers=0)
    index = json.loads((tmp_path / "run" / "clips.json").read_text())
    held = {*restore(tmp_path / "run").objective["bank.videos"].tolist()}
    assert held <= {entry["video"] for entry in index.values()}


def test_a_crop_has_its_part_of_the_position_map(clip: Path, tmp_path: Path) -> None:
    losses: dict[str, list[float]] = {"resize": [], "crop": []}
    for fit, seen in losses.items():
        preset = replace(TINY, model=replace(TINY.model, position_fit=fit))
        out = tmp_path / fit
        train([clip], preset, out, steps=2, workers=0, progress=lambda p, s=seen: s.append(p.loss))
    assert losses["resize"] != pytest.approx(losses["crop"], rel=1e-6)
