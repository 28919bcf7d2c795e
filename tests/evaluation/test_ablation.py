"""Arms share starts and budgets, go on where they stopped, and are told in one table."""

import csv
import io
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from liir.encoder import read_weights
from liir.errors import InputError
from liir.evaluation import ablation
from liir.evaluation.ablation import Arm, Plan, ladder, score_arm, train_arm
from liir.learning import checkpoint as checkpoints
from liir.presets import to_dict

TINY = (
    *("width=0.125", "batch=2", "crop=32", "crop_source=24,48", "gap=2", "chunk=6", "reuse=2"),
    *("training.radius=3", "warmup=2", "bank_frames=4", "bank_points=2", "inter_radius=1"),
    *("position_grid=8", "tracking.size=0", "tracking.radius=3"),
)


def frames(folder: Path, count: int, seed: int) -> Path:
    """A texture that moves."""
    folder.mkdir(parents=True)
    wide = np.random.default_rng(seed).integers(0, 256, (12, 40, 3), dtype=np.uint8)
    wide = wide.repeat(4, 0).repeat(4, 1)
    for i in range(count):
        Image.fromarray(wide[:, 2 * i : 2 * i + 64]).save(folder / f"{i:05}.png")
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips to train on, one sequence to score."""
    root = tmp_path_factory.mktemp("world")
    for seed in range(2):
        frames(root / "clips" / str(seed), 8, seed)
    frames(root / "davis/JPEGImages/one", 5, 7)
    (root / "davis/Annotations/one").mkdir(parents=True)
    (root / "davis/ImageSets").mkdir()
    (root / "davis/ImageSets/val.txt").write_text("one\n")
    for i in range(5):
        mask = np.zeros((48, 64), np.uint8)
        mask[12:36, 24 - 2 * i : 48 - 2 * i] = 255
        Image.fromarray(mask).save(root / f"davis/Annotations/one/{i:05}.png")
    return root


def plan(world: Path, out: Path, **changes: object) -> Plan:
    made = Plan(
        out=out,
        arms=ladder(),
        footage=[world / "clips"],
        steps=6,
        settings=TINY,
        root=world / "davis",
        workers=0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def fields(one: object, other: object) -> set[str]:
    a, b = to_dict(one), to_dict(other)  # type: ignore[arg-type]
    parts = ("model", "tracking", "training")
    return {f"{p}.{n}" for p in parts for n in a[p] if a[p][n] != b[p][n]}


def test_arms_differ_in_what_they_are_about(world: Path, tmp_path: Path) -> None:
    made = plan(world, tmp_path)
    config = {arm.name: made.config(arm, 3) for arm in made.arms}
    assert {c.training.seed for c in config.values()} == {3}
    assert {c.model.width for c in config.values()} == {0.125}
    stage = "training.second_stage"
    assert fields(config["position"], config["start"]) == set()
    assert fields(config["baseline"], config["start-baseline"]) == set()
    assert fields(config["mast"], config["start-mast"]) == set()
    assert fields(config["baseline"], config["position"]) == {"model.position"}
    assert fields(config["inter"], config["position"]) == {"training.inter_weight", stage}
    assert fields(config["compact"], config["inter"]) == {
        *("training.compact_weight", "tracking.gaussians")
    }
    assert config["inter"].training.shifting == "roll"
    for kind in ("none", "drop"):
        assert fields(config[f"shift-{kind}"], config["inter"]) == {"training.shifting"}
    assert fields(config["shift-aligned"], config["inter"]) == {
        *("training.shifting", "training.bank_frames")
    }


def test_arms_come_after_what_they_need(world: Path, tmp_path: Path) -> None:
    made = plan(world, tmp_path)
    assert [a.name for a in made.needed(["compact-training", "mast"])] == [
        *("start", "start-mast", "compact", "compact-training", "mast")
    ]
    names = [arm.name for arm in made.arms]
    for arm in made.arms:
        for other in (arm.start, arm.weights):
            assert other is None or names.index(other) < names.index(arm.name)
    with pytest.raises(InputError, match=r"no arm 'intra' .*there are: start, "):
        made.needed(["intra"])


def test_a_killed_session_goes_on_where_it_was(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = [a for a in ladder() if a.name in ("start", "inter")]
    whole, half = (plan(world, tmp_path / name, arms=arms) for name in ("whole", "half"))
    for arm in arms:
        train_arm(whole, arm, 0)

    def kill(state: ablation.Progress) -> None:
        if state.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    for arm in arms:
        with pytest.raises(KeyboardInterrupt, match="the same command goes on"):
            train_arm(half, arm, 0, kill)
        assert checkpoints.restore(half.folder(arm, 0)).step == 3
        train_arm(half, arm, 0)
    for arm in arms:
        one, other = (read_weights(p.weights(arm, 0))[0].state_dict() for p in (whole, half))
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert (whole.folder(arm, 0) / "log.jsonl").exists() is False  # too short to be logged
    inter = checkpoints.restore(whole.folder(arms[1], 0))
    assert inter.init is not None
    assert "seed-0/start/weights.safetensors (position, " in inter.init
    assert int(inter.objective["bank.pushed"]) == 12

    monkeypatch.setattr(ablation, "train", None)  # what is finished is not trained again
    for arm in arms:
        train_arm(half, arm, 0)
    with pytest.raises(InputError, match="6 steps instead of 7"):
        train_arm(replace(half, steps=7), arms[0], 0)
    with pytest.raises(InputError, match="trained with other settings"):
        train_arm(replace(half, settings=(*TINY, "batch=3")), arms[0], 0)


def test_scores_and_the_table(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = [
        Arm(name="start", scored=False),
        Arm(name="one", start="start", published=65.5),
        Arm(name="again", weights="one", tracking=("gaussians=2",)),
        Arm(name="later", start="start"),
    ]
    made = plan(world, tmp_path, arms=arms, steps=2)
    scores = {}
    for seed in (0, 1):
        for arm in arms[:3]:
            train_arm(made, arm, seed)
            if arm.scored:
                scores[arm.name, seed] = score_arm(made, arm, seed)
    assert all(0 < score < 1 for score in scores.values())
    assert scores["one", 0] != scores["one", 1]
    assert scores["one", 0] != scores["again", 0]
    rows = list(csv.reader(io.StringIO(ablation.to_csv(made, [0, 1]))))
    assert rows[0] == ["arm", "seed 0", "seed 1", "mean", "sd", "published"]
    a, b = (round(100 * scores["one", seed], 1) for seed in (0, 1))
    assert [float(x) for x in rows[1][1:3]] == [a, b]
    assert float(rows[1][3]) == pytest.approx((a + b) / 2, abs=0.11)
    assert float(rows[1][4]) == pytest.approx(abs(a - b) / 2**0.5, abs=0.11)
    assert rows[1][5] == "65.5"
    assert [row[0] for row in rows[1:]] == ["one", "again", "later"]
    assert rows[3] == ["later", "", "", "", "", ""]
    assert ablation.to_markdown(made, [0, 1]).splitlines()[2].startswith(f"| one | {a:.1f} | ")

    calls = []
    evaluate = ablation.evaluate
    monkeypatch.setattr(ablation, "evaluate", lambda *a, **o: calls.append(a) or evaluate(*a, **o))
    assert score_arm(made, arms[1], 0) == scores["one", 0]
    assert calls == []
    path = made.folder(arms[1], 0) / "davis2016.json"
    assert json.loads(path.read_text())["settings"]["gaussians"] == 0
    path.write_text("{")
    assert score_arm(made, arms[1], 0) == scores["one", 0]  # from the predictions that are kept
    assert len(calls) == 1
