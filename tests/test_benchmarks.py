"""The benchmarks run, say what they promise to say, and count right."""

import json
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import liir
from liir.encoder import find_weights, write_weights
from liir.presets import preset

FOLDER = Path(__file__).parents[1] / "benchmarks"
SPREAD = {"median", "least", "most", "runs"}


def run(name: str, out: Path, *words: object) -> dict[str, dict]:
    """Rows by name, once JSON, table and plot are there."""
    command = [sys.executable, FOLDER / f"{name}.py", "--out", out, *words]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (out / f"{name}.png").stat().st_size > 5000
    found = json.loads((out / f"{name}.json").read_text())
    assert found["benchmark"] == name
    assert {"commit", "cpu", "torch", "threads"} <= found["machine"].keys()
    for row in found["rows"]:
        assert f"| {row['name']} |" in done.stdout
        assert set(row["seconds"]) == SPREAD
        assert 0 < row["seconds"]["least"] <= row["seconds"]["median"] <= row["seconds"]["most"]
        assert row["peak"] > 0
    return {row["name"]: row for row in found["rows"]}


@pytest.fixture
def module(monkeypatch):
    """Imports one of them as the others do."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return lambda name: __import__(name)


def test_tracking(tmp_path):
    words = "--models small --frames 14 --size 64 --radius 3 --kernel off --threads 1".split()
    ((name, row),) = run("tracking", tmp_path, *words).items()
    assert name.startswith("small, ")
    assert name.endswith(", radius 3, no kernel")
    assert row["radii"] == [3] * 5
    assert all(set(row[part]) == SPREAD for part in ("decode", "encode", "match", "write"))
    assert row["limit_seconds"] > 0
    assert row["over_limit"] == pytest.approx(row["seconds"]["median"] / row["limit_seconds"])
    cells = 16 * 29  # of 64x114
    assert row["gflop"]["matching"] == pytest.approx(2 * 64 * 7 * 7 * 5 * cells / 1e9)


def test_matching(tmp_path):
    words = "--cells 12 15 --radius 4 --forms naive tiled --dtypes float32 --runs 2".split()
    rows = run("matching", tmp_path, *words)
    assert list(rows) == ["naive, float32", "tiled, float32"]
    assert all(row["error"] < 1e-5 for row in rows.values())


def test_prior(tmp_path):
    words = "--cells 16 20 --radius 4 --dtypes float32 --runs 2".split()
    rows = run("prior", tmp_path, *words)
    assert {"best 5, mass, float32", "whole windows, published, float32"} <= {*rows}
    for row in rows.values():
        ratio = row["seconds"]["median"] / row["plain"]["median"]
        assert row["ratio"] == pytest.approx(ratio)
        assert 0 < row["confident"] < 100


def test_negatives(tmp_path):
    words = "--negatives 64 256 --queries 256 --channels 8 --runs 2 --most-gib 0.0001".split()
    rows = run("negatives", tmp_path, *words)
    assert [(r["negatives"], r["form"]) for r in rows.values()] == [
        (64, "streamed"),
        (256, "streamed"),
    ]


@pytest.mark.slow
def test_scaling(tmp_path):
    words = "--curve objects frames --values 1 3 --timed 3 --size 64 --frames 20 64".split()
    rows = run("scaling", tmp_path, *words)
    assert rows["objects 3"]["growth"] > 0
    assert rows["frame 20 at 64"]["peak"] >= rows["frame 2 at 64"]["peak"]


@pytest.mark.slow
def test_training(tmp_path):
    words = ["--width", 0.125, "--steps", 1, "--crop", 32, "--batch", 2, "--parts", "intra alone"]
    row = run("training", tmp_path, *words)["intra alone, batch 2"]
    assert row["overhead"] == pytest.approx(
        100 * (row["seconds"]["median"] / row["passes"]["median"] - 1)
    )


def test_flops_are_those_counted_by_hand(module):
    limits = module("limits")
    layer = nn.Conv2d(3, 5, 3, padding=1, bias=False)
    assert limits.flops(lambda: layer(torch.zeros(1, 3, 7, 9))) == 2 * 3 * 5 * 9 * 7 * 9
    found = limits.matching_flops(6, 8, radii=[1, 2], channels=4)
    assert found == 2 * 4 * 6 * 8 * (9 + 25)


def test_a_limit_adds_up_what_the_best_rates_take(module):
    limits, record = module("limits"), module("record")
    slow, fast = record.spread([1e9, 2e9, 3e9]), record.spread([4e9])
    limit = limits.Limit({"a": slow, "b": fast}, {"c": slow}, slow)
    assert limit.seconds(encoder_flops=4e9, matching_flops=8e9) == pytest.approx(2 + 2)
    assert limit.seconds(matching_flops=8e9) == pytest.approx(2)


def test_a_report_replaces_its_sections_alone(module):
    text = "before\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nafter\n"
    report = module("report")
    assert report.replaced(text, "x", "new\n") == text.replace("old", "new")
    with pytest.raises(SystemExit, match="no section <!-- bench:y -->"):
        report.replaced(text, "y", "new\n")


def test_the_worst_moments(module, tmp_path):
    """A square that grows and moves; half of it is lost in the third frame."""
    failures = module("failures")
    places = [(4, 8), (6, 12), (8, 16), (10, 20)]  # of its left side, and its side
    for kind in ("JPEGImages", "Annotations", "found"):
        (tmp_path / kind / "one").mkdir(parents=True)
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets/val.txt").write_text("one\n")
    for i, (left, side) in enumerate(places):
        mask = np.zeros((48, 64), np.uint8)
        mask[4 : 4 + side, left : left + side] = 255
        Image.fromarray(mask).convert("RGB").save(tmp_path / f"JPEGImages/one/{i:05}.png")
        Image.fromarray(mask).save(tmp_path / f"Annotations/one/{i:05}.png")
        found = mask // 255
        found[:, left + side // 2 :] = 0 if i == 2 else found[:, left + side // 2 :]
        Image.fromarray(found).save(tmp_path / f"found/one/{i:05}.png")
    stage = failures.Stage("davis2016", tmp_path)
    (worst,) = failures.moments(stage, tmp_path / "found", 1)
    assert (worst.clip.name, worst.index, worst.score) == ("one", 2, pytest.approx(0.5))
    moved, grew, width, went = failures.facts(worst)
    cells = 480 / 48 / 4
    assert float(moved) == pytest.approx(cells * np.hypot(2 + 2, 2), abs=0.06)
    assert float(grew) == 2.0
    assert float(width) == pytest.approx(cells * 2 * 256 / 60, abs=0.06)
    assert went == "50 % to background"
    assert failures.draw(worst).shape[1] > 1000


def test_joints_near_enough(module):
    """A box of 30 x 40 pixels: 0.2 x 0.6 x its diagonal are 6. One is lost, and counts as far."""
    failures = module("failures")
    true = {"a": (0.0, 0.0), "b": (30.0, 40.0), "c": (9.0, 9.0), "d": (5.0, 5.0)}
    clip = SimpleNamespace(joints={3: true}, start=0, annotations={0: SimpleNamespace(points=true)})
    found = {"a": (5.9, 0.0, 1.0), "b": (30.0, 33.9, 1.0), "c": (9.0, 9.0, 1.0)}
    assert failures._near(clip, SimpleNamespace(points={3: found}), 3) == 0.5


def test_gains_of_adapting_are_told(module):
    row = {"frames": 9, "before": 70.0, "after": {"0.5": 71.5, "1": 71.0}, "minutes": 5.0}
    rows = {"one": row, "two": row | {"after": {"0.5": 68.0, "1": 67.0}}}
    told = module("adapting").table(rows, Namespace(shares=(0.5, 1.0), forget=False))
    assert "| clip | frames | before | 0.5 | 1 |" in told
    assert "| one | 9 | 70.0 | +1.5 | +1.0 |" in told
    assert "| *mean* |  |  | -0.2 | -1.0 |" in told
    assert "| *worst* |  |  | -2.0 | -3.0 |" in told
    for each in rows.values():
        each["others"] = [60.0, 59.0]
    told = module("adapting").table(rows, Namespace(shares=(0.5,), forget=True))
    assert "| two | 9 | 70.0 | -2.0 | -1.0 |" in told


def test_of_adapted_weights_a_share_is_kept(module, tmp_path):
    adapting = module("adapting")
    encoder, preset = find_weights("random:small")
    with torch.no_grad():
        encoder.pixel_head.weight.add_(1.0)
    write_weights(tmp_path / "whole.safetensors", encoder.state_dict(), preset)
    model = adapting.kept(tmp_path / "whole.safetensors", 0.25, Namespace(model="random:small"))
    before = liir.load("random:small").encoder.pixel_head.weight
    moved = (model.encoder.pixel_head.weight - before).float()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.25), atol=0.01, rtol=0)


def test_grey_sets_have_all_but_colour(module, tmp_path):
    clip = tmp_path / "data" / "DAVIS" / "JPEGImages" / "480p" / "one"
    clip.mkdir(parents=True)
    Image.new("RGB", (16, 16), (200, 30, 30)).save(clip / "00000.jpg")
    (tmp_path / "data" / "DAVIS" / "ImageSets").mkdir()
    (tmp_path / "data" / "DAVIS" / "ImageSets" / "val.txt").write_text("one\n")
    made = module("adapting").without_colour(tmp_path / "data", tmp_path / "grey")
    image = Image.open(made / "DAVIS" / "JPEGImages" / "480p" / "one" / "00000.jpg")
    assert len(set(image.getextrema())) == 1
    assert (made / "DAVIS" / "ImageSets" / "val.txt").read_text() == "one\n"


def test_a_row_that_cannot_be_made_stands_in_the_document(
    module, data_root, tmp_path, monkeypatch, capsys
):
    scores = module("scores")
    words = ["--rows", "gone=/nowhere", "copy", "--supervised", "--sequences", "libby"]
    words += ["--out", tmp_path / "out", "--write", tmp_path / "results.md", "--workers", 0]
    monkeypatch.setattr(sys, "argv", list(map(str, ["scores.py", data_root, *words])))
    with pytest.raises(SystemExit) as stopped:
        scores.main()
    assert stopped.value.code == 1
    text = (tmp_path / "results.md").read_text()
    assert "| gone | left out |  |  |  |  |  |  |\n| copied first frame |  | " in text
    assert "## Left out\n\n- gone=/nowhere: unknown model '/nowhere'" in text
    assert "left out: gone=/nowhere" in capsys.readouterr().err
    assert "DAVIS: J&F of DAVIS-2016 (libby). Percent." in " ".join(text.split())
    monkeypatch.setattr(sys, "argv", ["scores.py", str(data_root), "--sequences", "lobby"])
    with pytest.raises(SystemExit, match="no set has a sequence lobby"):
        scores.main()


def test_a_row_is_scored_with_the_settings_found_for_it(module, tmp_path, monkeypatch):
    scores = module("scores")
    given = SimpleNamespace(workers=0, out=tmp_path, data=tmp_path, sequences=())
    used = []
    monkeypatch.setattr(scores, "scores", lambda *a: used.append(a[2]["config"]) or [])
    for text in ("random:small", "mast", "small"):
        scores.row(text, given)
    own = preset("small").tracking
    tuned, mast, plain = used
    assert (tuned, plain) == (replace(own, temperature=0.01), own)
    assert (mast.similarity, mast.topk, mast.feedback) == ("cosine", 5, "soft")


def test_settings_are_looked_for_over_the_whole_window_too(module, tmp_path, monkeypatch, capsys):
    tune = module("tune")
    tried = []
    monkeypatch.setattr(tune, "chosen", lambda data, wanted: {"davis2016": ["goat"]})
    monkeypatch.setattr(tune, "score", lambda data, model, config, clips: tried.append(config) or 0)
    words = ["--topk", "none", "5", "--similarity", "dot", "cosine", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["tune.py", "data", "rgb", *words])
    tune.main()
    assert [(config.similarity, config.topk) for config in tried] == [
        ("dot", None),
        ("dot", 5),
        ("cosine", None),
        ("cosine", 5),
    ]
    assert "topk None, radius" in capsys.readouterr().out
