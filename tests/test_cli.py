"""The command line: what it prints, what it refuses and how, and that nothing is lost by it."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import liir
import liir.labelling
from liir.annotations import voc_palette
from liir.encoder import Encoder, write_weights
from liir.learning import trainer
from liir.presets import ModelConfig, Preset, TrackingConfig, TrainingConfig
from liir.tracking import Tracker
from liir.video import VideoWriter

FRAMES, HEIGHT, WIDTH = 6, 48, 64
TINY = ModelConfig(width=0.125, pixel_channels=8, region_channels=8)


Run = Callable[..., Any]  # the fixture of tests/conftest.py


def picture(index: int) -> tuple[np.ndarray, np.ndarray]:
    """A frame (H, W, 3) of noise that stands still, a bright square on it, and its mask (H, W)."""
    rgb = np.random.default_rng(0).integers(0, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:30, 8 + 2 * index : 28 + 2 * index] = 1
    rgb[mask == 1] += np.uint8(120)
    return rgb, mask


def write_mask(path: Path, labels: np.ndarray) -> None:
    image = Image.fromarray(labels)
    image.putpalette(voc_palette().tobytes())
    image.save(path)


def write_clip(path: Path) -> None:
    with VideoWriter(path, rate=10) as writer:
        for index in range(FRAMES):
            writer.write(picture(index)[0])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip, the same as images, a mask of its first frame, a point, and a tiny model."""
    root = tmp_path_factory.mktemp("world")
    torch.manual_seed(0)
    state = Encoder(TINY).state_dict()
    tracking = TrackingConfig(size=HEIGHT, radius=4)
    preset = Preset(name="tiny", model=TINY, tracking=tracking)
    write_weights(root / "tiny.safetensors", state, preset)

    write_clip(root / "clip.mp4")
    (root / "empty.mp4").touch()
    (root / "frames").mkdir()
    for index in range(FRAMES):
        Image.fromarray(picture(index)[0]).save(root / "frames" / f"{index + 1:03d}.png")
    write_mask(root / "mask.png", picture(0)[1])
    (root / "nose.csv").write_text("frame,name,x,y\n0,nose,20,15\n")
    return root


@pytest.fixture
def track(run: Run, world: Path) -> Run:
    """`liir track VIDEO ... ` with the tiny model, and a good mask unless another is given."""

    def call(video: object, *words: object) -> Any:
        given = [str(word) for word in words]
        if "--annotation" not in given:
            given += ["--annotation", f"0={world}/mask.png"]
        if "--model" not in given:
            given += ["--model", f"{world}/tiny.safetensors"]
        return run("track", video, "--dtype", "float32", *given)

    return call


def labels(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.asarray(Image.open(path)) for path in (folder / "masks").iterdir()}


# --- The program


def test_version_and_help_do_not_wait_for_torch() -> None:
    code = (
        "import sys; from liir.cli import main; main(['--version']); main(['--help']); "
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "liir", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"liir {liir.__version__}\n")


def test_no_words_print_the_usage(run: Run) -> None:
    outcome = run()
    assert outcome.code == 2
    assert outcome.out == ""
    assert "liir track" in outcome.err


@pytest.mark.parametrize("verb", ["track", "train", "evaluate"])
def test_help_of_a_verb_has_examples(run: Run, verb: str) -> None:
    outcome = run(verb, "--help")
    assert outcome.code == 0
    assert f"$ liir {verb} " in outcome.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("trakc a.mp4", "track"),
        ("--verson", "--version"),
        ("track a.mp4 --annotatoin 0=a.png --out b", "--annotation"),
        ("track a.mp4 --annotation 0=a.png", "--out"),
        ("track a.mp4 --annotation 0=a.png --out b --start x", "--start"),
        ("train a", "--out"),
        ("evaluate davis2016", "ROOT"),
    ],
)
def test_misspelt_words_are_told_in_short(run: Run, words: str, told: str) -> None:
    outcome = run(*words.split())
    assert outcome.code == 2
    assert outcome.out == ""
    assert told in outcome.err
    assert len(outcome.err.splitlines()) <= 15
    assert "Traceback" not in outcome.err


# --- Track


def test_track_writes_what_it_names_and_does_not_overwrite_it(
    track: Run, world: Path, tmp_path: Path
) -> None:
    given = ["--annotation", f"0={world}/mask.png", "--annotation", f"{world}/nose.csv"]
    outcome = track(world / "clip.mp4", *given, "--out", tmp_path)
    assert outcome.code == 0, outcome
    assert outcome.err == ""  # no bar where there is no terminal
    assert re.search(rf"labelled {FRAMES} frames in .* frames/s", outcome.out)
    for name in ("masks", "labels.json", "points.csv", "confidence.csv", "overlay.mp4"):
        assert str(tmp_path / name) in outcome.out
        assert (tmp_path / name).exists()
    found = labels(tmp_path)
    assert sorted(found) == [f"{index:05d}" for index in range(FRAMES)]
    np.testing.assert_array_equal(found["00000"], picture(0)[1])

    outcome = track(world / "clip.mp4", *given, "--out", tmp_path)
    assert outcome.code == 2
    assert "--resume goes on" in outcome.err
    outcome = track(world / "clip.mp4", *given, "--out", tmp_path, "--resume")
    assert outcome.code == 0
    assert "finished before" in outcome.out
    assert track(world / "clip.mp4", *given, "--out", tmp_path, "--force").code == 0


def test_track_part_of_a_folder_of_images_backwards_too(
    track: Run, world: Path, tmp_path: Path
) -> None:
    # Named like an image, the mask is of that image: 003.png is frame 2.
    write_mask(tmp_path / "003.png", picture(2)[1][::2, ::2].copy())
    given = ["--annotation", tmp_path, "--resize-annotation", "--soft", "--set", "recent=1"]
    outcome = track(world / "frames", *given, "--out", tmp_path / "out", "--start", 1, "--end", 5)
    assert outcome.code == 0, outcome
    found = labels(tmp_path / "out")
    assert sorted(found) == ["002", "003", "004", "005"]
    expected = picture(2)[1][::2, ::2].repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(found["003"], expected)
    assert any((tmp_path / "out" / "soft").rglob("*.png"))


def test_an_interrupted_job_says_so_and_goes_on_to_the_same_labels(
    track: Run, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Tracker.step

    def stopping(self: Tracker, *args: Any, **kwargs: Any) -> Any:
        if self.count == 4:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "step", stopping)
        outcome = track(world / "clip.mp4", "--out", tmp_path / "a")
    assert outcome.code == 130
    assert len(outcome.err.splitlines()) == 1
    assert re.search(r"\d frames are finished in .*--resume", outcome.err)
    assert 0 < len(labels(tmp_path / "a")) < FRAMES

    assert track(world / "clip.mp4", "--out", tmp_path / "a", "--resume").code == 0
    assert track(world / "clip.mp4", "--out", tmp_path / "b").code == 0
    again, straight = labels(tmp_path / "a"), labels(tmp_path / "b")
    assert again.keys() == straight.keys()
    for name, expected in straight.items():
        np.testing.assert_array_equal(again[name], expected)


def test_a_folder_of_videos_survives_a_bad_one(track: Run, world: Path, tmp_path: Path) -> None:
    clips, masks, out = (tmp_path / name for name in ("clips", "masks", "out"))
    (masks / "frames").mkdir(parents=True)
    shutil.copytree(world / "frames", clips / "frames")
    for video, name in (("clip", "00012"), ("empty", "empty"), ("clip", "unknown")):
        shutil.copy(world / f"{video}.mp4", clips / f"{name}.mp4")
    for name in ("00012", "empty"):  # a name that is a number does not make it frame 12
        shutil.copy(world / "mask.png", masks / f"{name}.png")
    write_mask(masks / "frames" / "001.png", picture(0)[1])

    outcome = track(clips, "--annotation", masks, "--out", out)
    assert outcome.code == 2
    errors = outcome.err.splitlines()
    assert len(errors) == 2
    assert all(line.startswith("liir: error: ") for line in errors)
    assert "empty.mp4" in errors[0]
    assert "unknown.mp4" in errors[1]
    assert "2 of 4 videos are labelled; failed: empty.mp4, unknown.mp4" in outcome.out
    assert len(labels(out / "00012")) == len(labels(out / "frames")) == FRAMES

    for name in ("empty", "unknown"):
        (clips / f"{name}.mp4").unlink()
    before = (out / "00012" / "masks" / "00001.png").stat().st_mtime_ns
    outcome = track(clips, "--annotation", masks, "--out", out)
    assert outcome.code == 0
    assert outcome.out.count("finished before") == 2
    assert (out / "00012" / "masks" / "00001.png").stat().st_mtime_ns == before


def test_a_folder_of_videos_survives_any_error(
    track: Run, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        shutil.copy(world / "frames" / "001.png", tmp_path / "clips" / name / "001.png")
        (tmp_path / "masks").mkdir(exist_ok=True)
        shutil.copy(world / "mask.png", tmp_path / "masks" / f"{name}.png")
    errors = [RuntimeError("shapes\ndiffer"), MemoryError()]
    label_video = liir.labelling.label_video

    def failing(*args: Any, **kwargs: Any) -> Any:
        if errors:
            raise errors.pop(0)
        return label_video(*args, **kwargs)

    monkeypatch.setattr("liir.labelling.label_video", failing)
    outcome = track(
        tmp_path / "clips", "--annotation", tmp_path / "masks", "--out", tmp_path / "out"
    )
    assert outcome.code == 1
    first, second = outcome.err.splitlines()
    assert first.endswith("a: RuntimeError: shapes differ")
    assert "out of memory" in second
    assert "1 of 3 videos are labelled; failed: a, b" in outcome.out
    assert len(labels(tmp_path / "out" / "c")) == 1


# --- Train, and use what was trained

QUICK = (
    "--width 0.125 --workers 0 --set batch=2 --set crop=32 --set chunk=4 --set gap=2 --set radius=2"
)


def test_train_stops_and_resumes_and_its_weights_track(
    run: Run, track: Run, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = trainer._Run._step

    def stopping(self: trainer._Run, *args: Any) -> float:
        if self.step == 1:
            signal.raise_signal(signal.SIGINT)
        return step(self, *args)

    start = ["train", world / "frames", "--out", tmp_path / "run"]
    with monkeypatch.context() as patch:
        patch.setattr(trainer._Run, "_step", stopping)
        more = ["--set", "tracking.size=48", "--set", "position=none"]
        outcome = run(*start, "--steps", 3, *QUICK.split(), *more)
    assert outcome.code == 130, outcome
    assert "2 steps are kept" in outcome.err
    assert "--resume" in outcome.err

    # What ends with another code than 0, torchrun starts again.
    load = trainer.load

    def interrupted(*args: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return load(*args)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "load", interrupted)
        patch.setattr("liir.cli.size", lambda: 2)
        outcome = run(*start, "--resume", "--workers", 0)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    assert "interrupted; 2 steps are kept" in outcome.out

    outcome = run(*start, "--resume", "--workers", 0)
    assert outcome.code == 0, outcome
    weights = tmp_path / "run" / "weights.safetensors"
    assert run(*start, "--resume", "--workers", 0).code == 0  # there is nothing left to do
    assert str(weights) in outcome.out
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["training"]["batch"] == 2
    assert config["training"]["radius"] == 2  # and not that of the tracking
    assert config["tracking"] == {**config["tracking"], "size": 48, "radius": 20}
    assert config["model"] == {**config["model"], "width": 0.125, "position": "none"}
    assert config["training"]["crop_source"] == [*TrainingConfig().crop_source]

    outcome = track(world / "clip.mp4", "--model", weights, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome
    assert len(labels(tmp_path / "out")) == FRAMES


def test_train_interrupted_before_its_first_step_says_so(
    run: Run, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = trainer.load

    def interrupted(*args: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return batches(*args)

    monkeypatch.setattr(trainer, "load", interrupted)
    words = ["train", world / "frames", "--out", tmp_path / "run", "--steps", 3]
    outcome = run(*words, *QUICK.split())
    assert outcome.code == 130
    assert outcome.out == ""
    assert "0 steps are kept" in outcome.err
