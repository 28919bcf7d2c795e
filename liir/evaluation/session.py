"""A session of an ablation: whatever of its plans is not finished is trained and scored.

OUT/plan.json holds what all sessions must agree on; OUT/lock keeps two from working at once.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liir.errors import InputError
from liir.evaluation import ablation
from liir.evaluation.ablation import INDEX, Plan
from liir.evaluation.benchmarks import Progress as Frames
from liir.evaluation.plans import Arm
from liir.files import written
from liir.inputs import naming, read_json
from liir.learning.checkpoint import restore
from liir.learning.trainer import Progress as Steps
from liir.learning.trainer import train

Shown = Callable[[int, int | None, int, str], None]
Bar = Callable[[str], AbstractContextManager[Shown]]
"""Shows how far a run is, as `terminal.bar`: of a unit, done, total, done before, what."""

_FILE = "plan.json"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much is trained, and on what: the same for all arms, in all sessions.

    Attributes:
        minutes: Of a rung, a run and its start; None for those that the folder began with.
        steps: Of a run, instead.
        width: As `liir train --width`.
        settings: As `liir train --set`.
        footage: Videos.
        init: As of `Plan`.
    """

    minutes: float | None
    steps: int | None
    width: float
    settings: Sequence[str]
    footage: Sequence[Path]
    init: str | None = None

    def texts(self) -> tuple[str, ...]:
        """Settings of every arm."""
        return (f"width={self.width}", *self.settings)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Makes a folder, and sees that only this process works on it.

    Raises:
        InputError: Another one does.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / "lock").open("w") as lock:
        with contextlib.suppress(ImportError):  # Windows has none: nobody is kept out there
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(f"{out}: another process is at work there; let it end") from None
        yield


def steps_of(plan: Plan, budget: Budget, default: float, bar: Bar) -> int:
    """Steps of each run: made in the first session, where minutes are timed, then read.

    Args:
        plan: Its first arm is the one that is timed.
        budget: As asked for.
        default: Minutes, where the first session is asked for nothing.
        bar: Told how far the timing is.

    Raises:
        InputError: The folder began with another budget.
    """
    path = plan.out / _FILE
    given: dict[str, Any] = {
        "width": budget.width,
        "footage": [_absolute(place) for place in budget.footage],
        "set": sorted(budget.settings),
    }
    if budget.init is not None:
        given["init"] = budget.init
    if path.exists():
        return _agreed(path, given, budget)
    minutes = None if budget.steps else (budget.minutes or default)
    steps = budget.steps
    if steps is None:
        assert minutes is not None
        count = 100 if minutes >= 10 else 20
        seconds = _timed(plan, count, bar)
        half = 2 if any(arm.start is not None for arm in plan.arms) else 1
        steps = max(1, round(minutes * 60 / half / seconds))
        given["timed"] = f"{seconds:.3f} s a step of {count} of the start"
    given |= {"steps": steps, "minutes": minutes}
    with written(path) as partial:
        partial.write_text(json.dumps(given, indent=1) + "\n", "utf-8")
    return steps


def _agreed(path: Path, given: dict[str, Any], budget: Budget) -> int:
    """The steps that a folder began with, if all else is as it was, too."""
    with naming(str(path)):
        kept = read_json(path)
        if not isinstance(kept, dict) or not isinstance(kept.get("steps"), int):
            raise InputError("does not say how an ablation began; choose another folder")
        asked = given | {"steps": budget.steps, "minutes": budget.minutes}
        for name, value in asked.items():
            if value is not None and kept.get(name) != value:
                raise InputError(
                    f"the folder began with {name} {kept.get(name)}, not {value}; give the same, "
                    "or choose another folder"
                )
        steps: int = kept["steps"]
        return steps


def _absolute(place: Path) -> str:
    """A path that means the same wherever one stands; stills: stays before it."""
    kind, sign, path = str(place).rpartition("stills:")
    return f"{kind}{sign}{Path(path).resolve()}"


def _timed(plan: Plan, count: int, bar: Bar) -> float:
    """Seconds that a step of the first arm takes."""
    with tempfile.TemporaryDirectory(dir=plan.out) as folder, bar("step") as show:
        train(
            plan.footage,
            plan.config(plan.arms[0], 0),
            folder,
            steps=count,
            device=plan.device,
            workers=plan.workers,
            progress=lambda state: show(state.step, state.steps, 0, "timed"),
        )
        state = restore(Path(folder))
        if state.step < count:
            raise KeyboardInterrupt("nothing is trained yet")
        shutil.copyfile(Path(folder) / INDEX, plan.out / INDEX)
        return state.seconds / state.step


def run(
    plans: Sequence[Plan],
    seeds: Sequence[int],
    names: Sequence[str],
    *,
    bar: Bar,
    done: Callable[[], object],
) -> None:
    """Trains and scores, seed by seed, what is not finished.

    Args:
        plans: Of the same arms, on a benchmark each.
        seeds: Each arm is trained from.
        names: Arms that are wanted, with those they need; all if empty.
        bar: Told how far each run is.
        done: Called after each score.

    Raises:
        InputError: There is no such arm, or one cannot be trained or scored.
        KeyboardInterrupt: A signal stopped it; the same call goes on.
    """
    names = names or [arm.name for arm in plans[0].arms if arm.scored]
    for seed, arm in itertools.product(seeds, plans[0].needed(names)):
        with bar("step") as show:

            def trained(state: Steps, arm: Arm = arm, show: Shown = show) -> None:
                show(state.step, state.steps, 0, f"{arm.name} loss {state.loss:.3f}")

            ablation.train_arm(plans[0], arm, seed, trained)
        for plan in plans if arm.scored and arm.name in names else ():
            with bar("frame") as show:

                def scored(state: Frames, arm: Arm = arm, show: Shown = show) -> None:
                    show(state.done, state.total, 0, arm.name)

                ablation.score_arm(plan, arm, seed, scored)
            done()


def write_tables(plans: Sequence[Plan], seeds: Sequence[int], name: str) -> str:
    """Writes OUT/NAME.md and OUT/NAME.csv of what is finished; returns the first's text."""
    text = ablation.to_markdown(plans, seeds)
    for kind, content in ((".md", text), (".csv", ablation.to_csv(plans, seeds))):
        with written(plans[0].out / f"{name}{kind}") as partial:
            partial.write_text(content, "utf-8")
    return text
