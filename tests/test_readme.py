"""What the README says can be typed, does what it says."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from liir.cli import main
from liir.export import write_label_png
from liir.video import VideoWriter

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def footage(tmp_path, monkeypatch):
    """A folder with dog.mp4, dog.png, better.png and footage/, to be in."""
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 256, (12, 20, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    (tmp_path / "footage").mkdir()
    for path in (tmp_path / "dog.mp4", tmp_path / "footage" / "clip.mp4"):
        with VideoWriter(path) as writer:
            for t in range(6):
                writer.write(scene[:, 4 * t : 4 * t + 128])
    labels = np.zeros((96, 128), dtype=np.uint8)
    labels[30:60, 40:80] = 1
    write_label_png(tmp_path / "dog.png", labels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_runs(footage, capsys):
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.count("{1: ") == 6


def test_commands_run(footage, capsys):
    """Each in turn, as they build on each other; long training shortened, DAVIS left out."""
    lines = [line.split("#")[0] for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith("liir")]
    assert [words[1] for words in commands] == ["track", "train", "track", "adapt", "evaluate"]
    for words in commands[:4]:
        short = [
            "2" if w in ("60", "5") else "--steps" if w == "--minutes" else w for w in words[1:]
        ]
        if words[1] == "track":
            short += ["--size", "96", "--force"]
        elif words[1] == "train":
            short += ["--set", "batch=1", "--set", "crop=32", "--workers", "0"]
        assert main(short) == 0, capsys.readouterr().err
    assert (footage / "dog.safetensors").is_file()
    for name in ("masks/00005.png", "labels.json", "confidence.csv", "overlay.mp4", "sheet.png"):
        assert (footage / "labelled" / name).is_file()


def test_files_named_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (REPOSITORY / target).exists(), target
