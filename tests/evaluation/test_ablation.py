"""Arms share starts and budgets, go on where they stopped, and are told in one table."""

import csv
import io
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from liir.encoder import read_weights
from liir.errors import InputError
from liir.evaluation import ablation
from liir.evaluation.ablation import Plan, score_arm, train_arm
from liir.evaluation.plans import DAVIS, Arm, ladder
from liir.learning import checkpoint as checkpoints
from liir.presets import to_dict

Make = Callable[..., Plan]


@pytest.fixture
def plan(world: Path, tiny_settings: tuple[str, ...]) -> Make:
    """The ladder over two clips, in an OUT."""

    def make(out: Path, **changes: object) -> Plan:
        made = Plan(
            out=out,
            arms=ladder(),
            footage=[world / "clips"],
            steps=6,
            settings=tiny_settings,
            root=world / "davis",
            workers=0,
        )
        return replace(made, **changes)  # type: ignore[arg-type]

    return make


def fields(one: object, other: object) -> set[str]:
    a, b = to_dict(one), to_dict(other)  # type: ignore[arg-type]
    parts = ("model", "tracking", "training")
    return {f"{p}.{n}" for p in parts for n in a[p] if a[p][n] != b[p][n]}


def test_arms_differ_in_what_they_are_about(plan: Make, tmp_path: Path) -> None:
    made = plan(tmp_path)
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


def test_arms_come_after_what_they_need(plan: Make, tmp_path: Path) -> None:
    made = plan(tmp_path)
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
    plan: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = [a for a in ladder() if a.name in ("start", "inter")]
    whole, half = (plan(tmp_path / name, arms=arms) for name in ("whole", "half"))
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
        train_arm(replace(half, settings=(*half.settings, "batch=3")), arms[0], 0)
    for arm in arms:  # nor once its checkpoint is gone
        (half.folder(arm, 0) / checkpoints.FILE).unlink()
        train_arm(half, arm, 0)
    for changes in ({"steps": 7}, {"settings": (*half.settings, "batch=3")}):
        with pytest.raises(InputError, match="trained with other settings than these, or not for"):
            train_arm(replace(half, **changes), arms[0], 0)  # type: ignore[arg-type]


def test_scores_and_the_table(plan: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = [
        Arm(name="start", scored=False),
        Arm(name="one", start="start", published={DAVIS: 65.5}),
        Arm(name="again", weights="one", tracking=("gaussians=2",)),
        Arm(name="later", start="start"),
    ]
    made = plan(tmp_path, arms=arms, steps=2)
    scores = {}
    for seed in (0, 1):
        for arm in arms[:3]:
            train_arm(made, arm, seed)
            if arm.scored:
                scores[arm.name, seed] = score_arm(made, arm, seed)
    assert all(0 < score < 1 for score in scores.values())
    assert scores["one", 0] != scores["one", 1]
    assert scores["one", 0] != scores["again", 0]
    rows = list(csv.reader(io.StringIO(ablation.to_csv([made], [0, 1]))))
    assert rows[0] == [
        *("benchmark", "arm", "seed 0", "seed 1", "mean", "sd", "published", "published on")
    ]
    a, b = (round(100 * scores["one", seed], 1) for seed in (0, 1))
    assert [float(x) for x in rows[1][2:4]] == [a, b]
    assert float(rows[1][4]) == pytest.approx((a + b) / 2, abs=0.11)
    assert float(rows[1][5]) == pytest.approx(abs(a - b) / 2**0.5, abs=0.11)
    assert rows[1][6:] == ["65.5", DAVIS]
    assert [row[1] for row in rows[1:]] == ["one", "again", "later"]
    assert rows[3] == ["davis2016", "later", "", "", "", "", "", ""]
    text = ablation.to_markdown([made], [0, 1]).splitlines()
    assert text[2].startswith(f"| davis2016 | one | {a:.1f} | ")
    assert text[-1] == f"davis2016: J&F-Mean of all sequences; stands in for {DAVIS}."
    # What was scored on other sequences is not in the table.
    known, other = (replace(made, sequences=(name,)) for name in ("one", "two"))
    assert ablation.lines_of(known, [0])[0].scores == (100 * scores["one", 0],)
    assert ablation.lines_of(other, [0])[0].scores == (None,)

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
