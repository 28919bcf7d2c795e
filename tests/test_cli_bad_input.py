"""Bad input on the command line: exit code 2, one line that tells how to mend it, nothing lost."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from liir.encoder import Encoder, write_weights
from liir.presets import ModelConfig, Preset
from liir.video import VideoWriter

Run = Callable[..., Any]  # the fixture of tests/conftest.py


@pytest.fixture
def track(run: Run, world: Path) -> Run:
    """`liir track VIDEO ...` with a good mask and model unless others are given."""

    def call(video: object, *words: object) -> Any:
        given = [str(word) for word in words]
        if "--annotation" not in given:
            given += ["--annotation", f"0={world}/mask.png"]
        if "--model" not in given:
            given += ["--model", f"{world}/tiny.safetensors"]
        return run("track", video, "--dtype", "float32", *given)

    return call


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good input, and beside it every kind of bad input."""
    root = tmp_path_factory.mktemp("world")
    tiny = ModelConfig(width=0.125, pixel_channels=8, region_channels=8)
    state = Encoder(tiny).state_dict()
    write_weights(root / "tiny.safetensors", state, Preset(name="tiny", model=tiny))
    wide = Preset(name="wide", model=ModelConfig(width=0.25))
    write_weights(root / "other.safetensors", state, wide)
    whole = (root / "tiny.safetensors").read_bytes()
    (root / "damaged.safetensors").write_bytes(whole[: len(whole) // 2])

    for name in ("nothing", "mixed", "frames", "many"):
        (root / name).mkdir()
    for path in (root / "clip.mp4", root / "many" / "clip.mp4"):
        with VideoWriter(path, rate=10) as writer:
            for level in range(6):
                writer.write(np.full((48, 64, 3), 40 * level, np.uint8))
    (root / "empty.mp4").touch()
    (root / "text.mp4").write_text("not a video, but long enough to look at " * 50)
    (root / "cut.mp4").write_bytes((root / "clip.mp4").read_bytes()[:100])
    Image.new("RGB", (64, 48)).save(root / "mixed" / "001.png")
    Image.new("RGB", (30, 20)).save(root / "mixed" / "002.png")
    for name in ("001.png", "002.png"):
        Image.new("RGB", (64, 48)).save(root / "frames" / name)

    mask = np.eye(48, 64, dtype=np.uint8)
    for name, values in (("mask", mask), ("blank", mask * 0), ("small", mask[::2, ::2].copy())):
        Image.fromarray(values).save(root / f"{name}.png")
    Image.new("RGB", (64, 48), "red").save(root / "colours.png")
    Image.fromarray(mask.astype(np.uint16) * 300).save(root / "deep.png")
    (root / "torn.png").write_bytes((root / "mask.png").read_bytes()[:60])
    for name, point in (("nan", "nan,15"), ("outside", "200,15")):
        (root / f"{name}.csv").write_text(f"frame,name,x,y\n0,nose,{point}\n")
    (root / "bad.json").write_text('{"images": [')
    return root


# What is said after `liir track`, W standing for the world; and what the message must tell.
BAD = {
    "missing": ("W/none.mp4", ["none.mp4"]),
    "empty": ("W/empty.mp4", ["empty.mp4", "empty"]),
    "text": ("W/text.mp4", ["text.mp4"]),
    "cut short": ("W/cut.mp4", ["cut.mp4"]),
    "no images": ("W/nothing", ["nothing", "images"]),
    "mixed sizes": ("W/mixed", ["002.png", "30x20", "64x48"]),
    "no annotation file": ("W/clip.mp4 --annotation 0=W/none.png", ["none.png"]),
    "no file after =": ("W/clip.mp4 --annotation 0=", ["0=", "FRAME=FILE"]),
    "frame below": ("W/clip.mp4 --annotation -1=W/mask.png", ["-1"]),
    "frame beyond": ("W/clip.mp4 --annotation 6=W/mask.png", ["frame 6", "0 to 5"]),
    "mask size": ("W/clip.mp4 --annotation W/small.png", ["32x24", "64x48", "--resize-annotation"]),
    "no object": ("W/clip.mp4 --annotation W/blank.png", ["blank.png", "no object"]),
    "colours": ("W/clip.mp4 --annotation W/colours.png", ["colours.png", "RGB"]),
    "too many ids": ("W/clip.mp4 --annotation W/deep.png", ["deep.png", "300"]),
    "torn mask": ("W/clip.mp4 --annotation W/torn.png", ["torn.png"]),
    "NaN": ("W/clip.mp4 --annotation W/nan.csv", ["nan.csv", "line 2", "nose"]),
    "outside": ("W/clip.mp4 --annotation W/outside.csv", ["outside.csv", "(200, 15)", "64x48"]),
    "JSON": ("W/clip.mp4 --annotation W/bad.json", ["bad.json"]),
    "two on one": (
        "W/clip.mp4 --annotation 0=W/mask.png --annotation 0=W/mask.png",
        ["mask.png", "frame 0"],
    ),
    "empty folder": ("W/clip.mp4 --annotation W/nothing", ["nothing", "no annotation"]),
    "videos, one mask": ("W/many --annotation W/mask.png", ["many", "folder", "clip.png"]),
    "videos, other names": ("W/many --annotation W/frames", ["frames", "clip.png"]),
    "unknown model": ("W/clip.mp4 --model smalll", ["smalll", "bundled"]),
    "unknown preset": ("W/clip.mp4 --model random:smal", ["smal", "small"]),
    "architecture": ("W/clip.mp4 --model W/other.safetensors", ["other.safetensors", "8x3x7x7"]),
    "damaged model": ("W/clip.mp4 --model W/damaged.safetensors", ["damaged.safetensors"]),
    "no model at all": ("W/clip.mp4 --model W/mask.png", ["mask.png", "safetensors"]),
    "device": ("W/clip.mp4 --device abacus", ["abacus"]),
    "threads": ("W/clip.mp4 --threads 0", ["--threads 0"]),
    "size": ("W/clip.mp4 --size 3", ["size=3", "32"]),
    "negative size": ("W/clip.mp4 --size -480", ["size=-480"]),
    "start": ("W/clip.mp4 --start 6", ["frame 6", "0 to 5"]),
    "negative start": ("W/clip.mp4 --start -1", ["-1", "0 to 5"]),
    "end": ("W/clip.mp4 --start 2 --end 2", ["clip.mp4", "0 to 5"]),
    "setting": ("W/clip.mp4 --set radios=3", ["radios", "radius"]),
    "type": ("W/clip.mp4 --set radius=far", ["radius", "far"]),
    "range": ("W/clip.mp4 --set topk=0", ["topk=0"]),
    "no value": ("W/clip.mp4 --set radius", ["FIELD=VALUE"]),
    "both": ("W/clip.mp4 --resume --force", ["--resume", "--force"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_touched(
    track: Run, world: Path, tmp_path: Path, case: str
) -> None:
    words, told = BAD[case]
    (tmp_path / "keep.txt").write_text("mine")
    before = {path.name for path in world.rglob("*")}
    video, *rest = words.replace("W", str(world)).split()
    for out in (tmp_path, tmp_path / "new"):
        check(track(video, *rest, "--out", out), told)
        assert [path.name for path in tmp_path.iterdir()] == ["keep.txt"]
    assert {path.name for path in world.rglob("*")} == before


def check(outcome: Any, told: list[str]) -> None:
    """Exit code 2 and one line that tells what it must."""
    assert outcome.code == 2, outcome
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert outcome.err.startswith("liir: error: ")
    assert [word for word in told if word not in outcome.err] == [], outcome.err


def test_the_output_cannot_be_written(
    track: Run, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        check(track(world / "clip.mp4", "--out", out), ["file"])
    monkeypatch.setattr(os, "access", lambda *_: False)
    check(track(world / "clip.mp4", "--out", tmp_path / "new"), ["new", "cannot be written"])
    assert (tmp_path / "file").read_text() == "mine"


def test_too_little_memory_is_one_line(
    track: Run, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("liir.labelling.label_video", greedy)
    outcome = track(world / "clip.mp4", "--out", tmp_path / "out")
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert "--size" in outcome.err
    assert "--device cpu" in outcome.err


def test_a_full_disk_is_told(
    track: Run, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "masks/00003.png")

    monkeypatch.setattr("liir.labelling.label_video", full)
    told = ["masks/00003.png", os.strerror(errno.ENOSPC), "--resume"]
    check(track(world / "clip.mp4", "--out", tmp_path / "out"), told)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("train W/nothing --steps 2", ["nothing"]),
        ("train W/none --steps 2", ["none"]),
        ("train --steps 2", ["nothing to train on"]),
        ("train W/frames", ["--steps", "--minutes"]),
        ("train W/frames --steps 2 --minutes 1", ["--steps", "--minutes"]),
        ("train W/frames --steps 0", ["positive"]),
        ("train W/frames --steps 2 --preset smal", ["smal", "small"]),
        ("train W/frames --steps 2 --set crop=100", ["crop=100", "8"]),
        ("train W/frames --steps 2 --set learning_rat=1", ["learning_rate"]),
        ("train W/frames --steps 2 --width 0", ["width=0"]),
        ("train W/frames --steps 2 --workers -1", ["-1"]),
        ("train W/frames --steps 2 --mix 1 2", ["2 shares", "1 places"]),
        ("train stills:W/nothing --steps 2", ["nothing"]),
        ("train stills:W/none W/frames --steps 2", ["none"]),
        ("train W/frames --steps 2 --set view_share=1.5", ["view_share", "1 or less"]),
        ("train W/frames --steps 2 --mix -1", ["mix", "positive"]),
        ("train W/frames --resume --seed 3", ["seed=3"]),
        ("train W/frames --resume --preset base", ["--preset base"]),
        ("train W/frames --resume", ["checkpoint"]),
        ("train W/frames --resume --init small", ["--init", "--resume"]),
        ("train W/frames --steps 2 --init smal", ["smal", "small"]),
        ("train W/frames --steps 2 --init small --width 0.25", ["width 0.5", "0.25"]),
        ("evaluate davis2061 W", ["davis2061", "davis2016"]),
        ("evaluate davis2016 W", ["val.txt"]),
        ("evaluate davis2016 W --model small --baseline copy", ["--model", "--baseline"]),
        ("evaluate davis2016 W --baseline copy --size 64", ["size=64"]),
    ],
)
def test_bad_input_of_the_other_verbs(
    run: Run, world: Path, tmp_path: Path, words: str, told: list[str]
) -> None:
    check(run(*words.replace("W", str(world)).split(), "--out", tmp_path / "out"), told)
    assert not any((tmp_path / "out").glob("*.safetensors"))
