"""`liir evaluate` as people type it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from liir.encoder import Encoder, write_weights
from liir.export import write_label_png
from liir.presets import ModelConfig, Preset, TrackingConfig

FRAMES, HEIGHT, WIDTH = 6, 48, 64


Run = Callable[..., Any]  # the fixture of tests/conftest.py


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file."""
    torch.manual_seed(0)
    config = ModelConfig(width=0.125, pixel_channels=8, region_channels=8)
    preset = Preset(name="tiny", model=config, tracking=TrackingConfig(size=HEIGHT, radius=4))
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    write_weights(path, Encoder(config).state_dict(), preset)
    return path


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """The layout of DAVIS-2016 with one clip: a bright square that moves over still noise."""
    root = tmp_path / "DAVIS"
    for kind in ("JPEGImages", "Annotations"):
        (root / kind / "480p" / "square").mkdir(parents=True)
    (root / "ImageSets" / "480p").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for index in range(FRAMES):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[10:30, 8 + 2 * index : 28 + 2 * index] = 1
        rgb = noise + np.uint8(120) * mask[..., None]
        name = f"480p/square/{index + 1:03d}"
        Image.fromarray(rgb).save(root / "JPEGImages" / f"{name}.png")
        write_label_png(root / "Annotations" / f"{name}.png", mask)
    name = "480p/square/001"
    listed = f"/JPEGImages/{name}.jpg /Annotations/{name}.png\n"
    (root / "ImageSets" / "480p" / "val.txt").write_text(listed)
    return root


def test_evaluate_prints_a_table_and_writes_json(run: Run, davis: Path, tmp_path: Path) -> None:
    scores = tmp_path / "new" / "scores.json"
    outcome = run("evaluate", "davis2016", davis, "--baseline", "copy", "--json", scores)
    assert outcome.code == 0, outcome
    assert outcome.err == ""
    assert outcome.out.splitlines()[0].startswith("| davis2016 | J&F-Mean")
    # The square is 20 wide and 2 i beside the copy in frame i; first and last do not count.
    overlaps = [(20 - 2 * i) / (20 + 2 * i) for i in range(1, FRAMES - 1)]
    document = json.loads(scores.read_text())
    assert document["summary"]["J-Mean"] == pytest.approx(np.mean(overlaps))


def test_evaluate_models_and_what_they_predicted(
    run: Run, tiny: Path, davis: Path, tmp_path: Path
) -> None:
    start = ["evaluate", "davis2016", davis]
    words = ["--model", tiny, "--out", tmp_path / "kept"]
    tracked = run(*start, *words, "--set", "topk=5")
    assert tracked.code == 0, tracked
    stored = run(*start, "--predictions", tmp_path / "kept" / "davis2016")
    assert stored.out == tracked.out
    outcome = run(*start, "--model", "random:small", "--size", 32, "--sequences", "square")
    assert outcome.code == 0, outcome
    assert "square" in outcome.out
    outcome = run(*start, *words, "--sequences", "circle")
    assert outcome.code == 2
    assert "'circle' (there are: square)" in outcome.err


def test_evaluate_scores_files_with_other_processes_and_as_a_table(
    run: Run, davis: Path, tmp_path: Path
) -> None:
    start = ["evaluate", "davis2016", davis]
    copied = run(*start, "--baseline", "copy", "--out", tmp_path)
    table = tmp_path / "new" / "scores.csv"
    words = ["--predictions", tmp_path / "davis2016", "--workers", 1, "--csv", table]
    outcome = run(*start, *words)
    assert outcome.code == 0, outcome
    assert outcome.out == copied.out
    header, row, mean = table.read_text().splitlines()
    assert header.startswith("sequence,object,group,J&F-Mean,J-Mean")
    assert row.startswith("square,1,,0.")
    assert mean.startswith("mean,,,0.")


@pytest.mark.parametrize("option", ["--json", "--csv"])
def test_a_file_that_cannot_be_written_is_told_before_the_work(
    run: Run, davis: Path, tmp_path: Path, option: str
) -> None:
    words = ["--baseline", "copy", "--out", tmp_path / "kept", option, tmp_path]
    outcome = run("evaluate", "davis2016", davis, *words)
    assert outcome.code == 2
    assert "is a folder; give the name of a file" in outcome.err
    assert not (tmp_path / "kept").exists()


def test_evaluate_carries_labels_along_optical_flow(run: Run, davis: Path) -> None:
    pytest.importorskip("cv2")
    outcome = run("evaluate", "davis2016", davis, "--baseline", "flow")
    assert outcome.code == 0, outcome
    score = float(outcome.out.splitlines()[-1].split("|")[2])
    copied = run("evaluate", "davis2016", davis, "--baseline", "copy")
    assert score > float(copied.out.splitlines()[-1].split("|")[2])


def test_evaluate_squeezes_frames(run: Run, tiny: Path, davis: Path) -> None:
    start = ["evaluate", "davis2016", davis, "--model", tiny]
    assert run(*start, "--square", 40).out != run(*start, "--size", 40).out


def test_evaluate_makes_an_archive_where_the_truth_is_hidden(
    run: Run, davis: Path, tmp_path: Path
) -> None:
    (davis / "ImageSets" / "2017").mkdir()
    (davis / "ImageSets" / "2017" / "test-dev.txt").write_text("square\n")
    words = ["evaluate", "davis2017", davis, "--split", "test-dev", "--baseline", "copy"]
    outcome = run(*words)
    assert outcome.code == 2
    assert "--out" in outcome.err
    scores = tmp_path / "scores.json"
    outcome = run(*words, "--out", tmp_path / "out", "--json", scores)
    assert outcome.code == 2
    assert f"the truth is hidden, no score to write: leave {scores} out" in outcome.err
    assert not (tmp_path / "out").exists()
    outcome = run(*words, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome
    assert str(tmp_path / "out" / "davis2017.zip") in outcome.out
    assert (tmp_path / "out" / "davis2017.zip").is_file()
