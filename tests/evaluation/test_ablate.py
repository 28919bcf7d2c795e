"""`liir ablate` as people type it."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from liir.encoder import Encoder, read_weights, write_weights
from liir.evaluation import ablation
from liir.presets import ModelConfig, Preset, TrackingConfig

Run = Callable[..., Any]


@pytest.fixture
def go(run: Run, world: Path, tiny_settings: tuple[str, ...]) -> Run:
    """`liir ablate PLAN` that trains tiny networks for two steps, then more words."""

    def call(plan: str, out: Path, *more: object) -> Any:
        words = [word for text in tiny_settings[1:] for word in ("--set", text)]
        words += ["--width", "0.125", "--steps", "2", "--workers", "0", "--out", out]
        return run("ablate", plan, world / "davis", "--footage", world / "clips", *words, *more)

    return call


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file."""
    config = ModelConfig(width=0.125, pixel_channels=8, region_channels=8)
    preset = Preset(name="tiny", model=config, tracking=TrackingConfig(size=0, radius=3))
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    write_weights(path, Encoder(config).state_dict(), preset)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_ladder_goes_on_where_it_was(
    go: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs"
    first = go("ladder", out, "--arms", "inter", "compact-training", "--seeds", 0, 1)
    assert first.code == 0, first.err
    table = {row["arm"]: row for row in rows(out / "ladder.csv")}
    assert table["inter"]["published"] == "69.8"
    assert table["inter"]["published on"] == "DAVIS-2017 val J&F"
    assert float(table["inter"]["seed 1"]) > 0
    assert table["mast"]["seed 0"] == ""
    assert not (out / "seed-0/start-mast").exists()
    assert (out / "ladder.md").read_text().strip() in first.out
    with Image.open(out / "ladder.png") as picture:
        assert picture.width > 500
    # What is trained is used by other plans.
    trained: list[str] = []
    train = ablation.train

    def counted(*words: Any, **options: Any) -> Any:
        trained.append(Path(words[2]).name)
        return train(*words, **options)

    monkeypatch.setattr(ablation, "train", counted)
    assert go("table3", out, "--arms", "bank-1440x4", "bank-960x6").code == 0
    assert trained == ["bank-960x6"]
    again = go("ladder", out, "--arms", "inter", "--seeds", 0, 1, "--keep", tmp_path / "kept")
    assert again.code == 0
    assert trained == ["bank-960x6"]
    kept = {path.stem for path in (tmp_path / "kept").iterdir()}
    assert kept == {"inter", "compact"}  # no starts
    refused = go("ladder", out, "--set", "batch=3")
    assert refused.code == 2
    assert "the folder began with set" in refused.err


def test_references_of_given_weights(run: Run, world: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("ablate", "table2", world / "davis", "--from", weights, "--out", out)
    assert run(*words).code == 0
    assert [row["arm"] for row in rows(out / "table2.csv")] == ["liir-long", "liir-short"]
    told = json.loads((out / "seed-0/liir-short/davis2016.json").read_text())["settings"]
    assert (told["annotated"], told["first"], told["recent"]) == (0, [], [5, 3, 1])
    assert not (out / "plan.json").exists()
    more = run(*words, "--from", f"mast={weights}")
    assert more.code == 0
    assert len(rows(out / "table2.csv")) == 4
    changed = (*words[:-1], tmp_path / "changed", "--set", "topk=3")
    assert run(*changed).code == 0
    told = json.loads((tmp_path / "changed/seed-0/liir-short/davis2016.json").read_text())
    assert told["settings"]["topk"] == 3
    other = run(*changed[:-1], "topk=4")
    assert (other.code, "made with other settings" in other.err) == (2, True)


def test_a_grid_over_two_benchmarks(run: Run, world: Path, weights: Path, tmp_path: Path) -> None:
    classes = tmp_path / "classes"
    shutil.copytree(world / "davis/JPEGImages", classes / "JPEGImages")
    shutil.copytree(world / "davis/Annotations", classes / "Annotations")
    for path in classes.glob("Annotations/*/*.png"):
        with Image.open(path) as image:
            labels = image.point(lambda value: 2 if value else 1)
        labels.save(path)
    sets = (f"davis2016={world / 'davis'}", f"semantic={classes}")
    out = tmp_path / "out"
    axes = ("--grid", "topk=2,5", "--grid", "first=;0,5")
    done = run("ablate", "grid", *sets, *axes, "--from", weights, "--out", out)
    assert done.code == 0, done.err
    table = rows(out / "grid.csv")
    assert [row["benchmark"] for row in table] == ["davis2016"] * 4 + ["semantic"] * 4
    assert [row["arm"] for row in table[:2]] == ["topk=2+first=", "topk=2+first=0,5"]
    assert all(float(row["seed 0"]) > 0 for row in table)
    assert "semantic: mIoU of one; stands in for VIP mIoU." in done.out


def test_a_grid_trains_its_axes(go: Run, tmp_path: Path) -> None:
    axis = ("--grid", "position=none,learnable", "--preset", "position")
    done = go("grid", tmp_path, *axis, "--keep", tmp_path / "kept")
    assert done.code == 0, done.err
    assert len([*(tmp_path / "kept").glob("position=*.safetensors")]) == 2
    scores = [float(row["seed 0"]) for row in rows(tmp_path / "grid.csv")]
    assert len({*scores}) == 2


def test_each_change_begins_with_given_weights(go: Run, weights: Path, tmp_path: Path) -> None:
    sizes = ("--set", "pixel_channels=8", "--set", "region_channels=8")
    words = ("--each", "--grid", "light=0.2", "--grid", "topk=2", "--init", weights, *sizes)
    done = go("grid", tmp_path / "study", *words)
    assert done.code == 0, done.err
    assert [row["arm"] for row in rows(tmp_path / "study/grid.csv")] == [
        "small",
        "topk=2",
        "light=0.2",
    ]
    begun = read_weights(weights)[0].pixel_head.weight
    for arm, light in (("small", 0.0), ("light=0.2", 0.2)):
        found, preset = read_weights(tmp_path / "study/seed-0" / arm / "weights.safetensors")
        assert preset.training.light == light
        torch.testing.assert_close(found.pixel_head.weight, begun, atol=0.01, rtol=0)
    other = go("grid", tmp_path / "study", *words[:-6], "--init", "small", *sizes)
    assert other.code == 2
    assert "began with init" in other.err


def test_bad_input(run: Run, world: Path, weights: Path, tmp_path: Path) -> None:
    davis, out = world / "davis", tmp_path / "out"
    given = ("--from", weights, "--out", out)
    feed = ("--footage", world / "clips", "--out", out)
    axis = ("--grid", "topk=2,5")
    for words, told in [
        (("tabel2", davis, *given), "unknown plan 'tabel2'; did you mean table2?"),
        (("table1", davis, *given), "--from is for table2, and for a grid over fields of tracking"),
        (("grid", davis, *given), "give --grid FIELD=A,B,C"),
        (("grid", davis, "--grid", "batch=2,3", *given), "--from is for table2"),
        (("grid", davis, *axis, *given, "--budget", 3), "nothing is trained: leave --budget out"),
        (("grid", davis, *axis, *given, "--set", "batch=2"), "TrackingConfig has no field 'batch'"),
        (("grid", davis, *axis, *given, "--sequences", "two"), "no sequence is called 'two'"),
        (("grid", f"davis206={davis}", *axis, *given), "did you mean davis2016?"),
        (("grid", davis, davis, *axis, *given), "davis2016 is given twice"),
        (("grid", tmp_path, *axis, *given), "no list of DAVIS-2016 sequences"),
        (("table2", davis, "--from", f"lir={weights}", "--out", out), "did you mean liir?"),
        (("table2", davis, *given, "--from", weights), "liir has weights already"),
        (("table2", davis, "--from", "nothing", "--out", out), "unknown model 'nothing'"),
        (("table2", davis, *given, "--arms", "liir"), "no arm 'liir'"),
        (("ladder", davis, "--out", out), "give --footage"),
        (("ladder", *feed), "name the benchmark's folder after the plan"),
        (("ladder", davis, *feed, "--budget", 1, "--steps", 2), "either --budget"),
        (("ladder", davis, *feed, "--steps", 0), "--steps 0: give a positive number"),
        (("ladder", davis, *feed, "--seeds", 1, 1), "--seeds: give different"),
        (("ladder", davis, *feed, "--set", "bach=1"), "no field 'bach'; did you mean batch"),
    ]:
        done = run("ablate", *words)
        assert done.code == 2, words
        assert told in done.err, (told, done.err)
        assert len(done.err.splitlines()) == 1
        assert not out.exists()


@pytest.mark.slow
def test_quick(run: Run, data_root: Path, tmp_path: Path) -> None:
    """The components on goat and two clips of chen: minutes, with real footage.

    In steps: how many a minute has is up to the machine, and a hundred teach next to nothing.
    """
    sets = (f"davis2016={data_root / 'DAVIS'}", f"semantic={data_root / 'chen'}")
    words = ("--sequences", "goat", "bus", "ice", "--footage", data_root / "unlabelled")
    done = run("ablate", "quick", *sets, *words, "--steps", 300, "--out", tmp_path / "quick")
    assert done.code == 0, done.err
    table = rows(tmp_path / "quick/quick.csv")
    assert [row["arm"] for row in table] == ["baseline", "position", "inter", "compact"] * 2
    assert all(float(row["seed 0"]) > 20 for row in table)
    # The paper's figures, of the sets that these clips stand in for.
    assert [row["published"] for row in table] == [
        *("", "", "69.8", "72.1"),
        *("", "", "39.6", "41.2"),
    ]
    assert {row["published on"] for row in table} == {"", "DAVIS-2017 val J&F", "VIP mIoU"}
    assert "semantic: mIoU of bus, ice; stands in for VIP mIoU." in done.out
    with Image.open(tmp_path / "quick/quick.png") as picture:
        assert picture.width > 500
