"""Sessions agree on a budget, and one works at a time."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from liir.errors import InputError
from liir.evaluation import session
from liir.evaluation.ablation import Plan
from liir.evaluation.plans import arms_of


@contextmanager
def bar(unit: str) -> Iterator[Callable[[int, int | None, int, str], None]]:
    """Shows nothing."""
    yield lambda done, total, before, note: None


@pytest.fixture
def plan(world: Path, tiny_settings: tuple[str, ...], tmp_path: Path) -> Plan:
    return Plan(
        out=tmp_path,
        arms=arms_of("quick"),
        footage=[world / "clips"],
        steps=1,
        settings=tiny_settings,
        root=world / "davis",
        workers=0,
    )


def budget(plan: Plan, **changes: object) -> session.Budget:
    made = session.Budget(
        minutes=None, steps=None, width=0.5, settings=["b=2", "a=1"], footage=plan.footage
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_minutes_become_steps_once(plan: Plan) -> None:
    steps = session.steps_of(plan, budget(plan), 0.05, bar)
    kept = json.loads((plan.out / "plan.json").read_text())
    assert kept["steps"] == steps > 1
    assert kept["minutes"] == 0.05
    assert kept["set"] == ["a=1", "b=2"]
    assert kept["footage"] == [str(plan.footage[0].resolve())]
    seconds = float(kept["timed"].split()[0])
    assert steps == pytest.approx(0.05 * 60 / 2 / seconds, rel=0.1)  # half is the start's
    assert (plan.out / "clips.json").exists()
    assert sorted(path.name for path in plan.out.iterdir()) == ["clips.json", "plan.json"]
    for same in ({}, {"minutes": 0.05}, {"steps": steps}, {"settings": ["a=1", "b=2"]}):
        assert session.steps_of(plan, budget(plan, **same), 40, bar) == steps


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"steps": 8}, "began with steps 7, not 8"),
        ({"minutes": 3.0}, "began with minutes None, not 3.0"),
        ({"width": 1.0}, "began with width 0.5, not 1.0"),
        ({"settings": ["a=1"]}, "began with set .*, not .'a=1'.; give the same, or choose"),
        ({"footage": [Path("elsewhere")]}, "began with footage"),
    ],
)
def test_another_budget_is_refused(plan: Plan, changes: dict[str, object], told: str) -> None:
    assert session.steps_of(plan, budget(plan, steps=7), 40, bar) == 7
    with pytest.raises(InputError, match=told):
        session.steps_of(plan, budget(plan, **changes), 40, bar)


def test_a_damaged_file_is_named(plan: Plan) -> None:
    (plan.out / "plan.json").write_text("{")
    with pytest.raises(InputError, match=r"plan\.json: is not JSON"):
        session.steps_of(plan, budget(plan), 40, bar)
    (plan.out / "plan.json").write_text("[]")
    with pytest.raises(InputError, match="choose another folder"):
        session.steps_of(plan, budget(plan), 40, bar)


@pytest.mark.skipif(sys.platform == "win32", reason="nobody is kept out there")
def test_one_works_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from liir.evaluation.session import alone\n"
        "with alone(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(InputError, match="another process is at work"), session.alone(tmp_path):
            pass
        other.communicate()
    with session.alone(tmp_path):
        pass
