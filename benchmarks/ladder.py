"""Does each part of the method help? The ladder of components and the ways of position shifting.

    python benchmarks/ladder.py FOOTAGE DAVIS --out ladder --width 0.5 --minutes 40 --seeds 0 1
    timeout 3h python benchmarks/ladder.py FOOTAGE DAVIS --out ladder    # a session's worth of it
    python benchmarks/ladder.py FOOTAGE DAVIS --out ladder --arms inter shift-none --seeds 0
    python benchmarks/ladder.py FOOTAGE DAVIS --out ladder --table       # what is finished so far

A rung takes --minutes, of which the first half is its start's. Minutes become a number of steps
once, when the first run begins (100 steps are timed); OUT/plan.json holds it, the same for every
arm. Interrupted (Ctrl-C, SIGTERM, or worse), the same command goes on where it was. Starts come
first, then seed by seed every arm is trained and scored; OUT/table.md and table.csv are kept up to
date. --keep DIR copies the weights of the first seed's arms there.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from liir.errors import InputError
from liir.evaluation import ablation
from liir.evaluation.ablation import Plan
from liir.files import written
from liir.learning.checkpoint import restore
from liir.learning.trainer import train
from liir.terminal import bar, one_line

TIMED = 100


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Only one process works on a folder."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{out}: another process is at work there") from None
        yield


def fixed(options: argparse.Namespace) -> dict[str, object]:
    """What every session of an ablation must agree on; made in the first, then read."""
    path = options.out / "plan.json"
    given = {
        "width": options.width,
        "footage": [str(place.resolve()) for place in options.footage],
        "set": sorted(options.set),
    }
    if path.exists():
        kept: dict[str, object] = json.loads(path.read_text())
        odd = next((name for name, value in given.items() if kept[name] != value), None)
        if odd is not None:
            raise InputError(f"{path}: began with {odd} {kept[odd]}, not {given[odd]}")
        if options.steps not in (None, kept["steps"]):
            raise InputError(f"{path}: began with {kept['steps']} steps a run")
        return kept
    steps = options.steps
    if steps is None:
        seconds = timed(options)
        steps = max(1, round(options.minutes * 60 / 2 / seconds))
        given["timed"] = f"{seconds:.3f} s a step of {TIMED} of the start"
    kept = given | {"steps": steps, "minutes": options.minutes if options.steps is None else None}
    with written(path) as partial:
        partial.write_text(json.dumps(kept, indent=1) + "\n")
    return kept


def timed(options: argparse.Namespace) -> float:
    """Seconds a step of the shared start takes."""
    plan = plan_of(options, TIMED)
    with tempfile.TemporaryDirectory(dir=options.out) as folder, bar("timed step") as show:
        train(
            plan.footage,
            plan.config(plan.arm("start"), 0),
            folder,
            steps=TIMED,
            device=options.device,
            workers=options.workers,
            progress=lambda state: show(state.step, state.steps, 0, ""),
        )
        state = restore(Path(folder))
        if state.step < TIMED:
            raise KeyboardInterrupt
        shutil.copyfile(Path(folder) / "clips.json", options.out / "clips.json")
        return state.seconds / state.step


def plan_of(options: argparse.Namespace, steps: int) -> Plan:
    """The plan of the command line."""
    return Plan(
        out=options.out,
        arms=ablation.ladder(),
        footage=options.footage,
        steps=steps,
        settings=(f"width={options.width}", *options.set),
        root=options.davis,
        device=options.device,
        workers=options.workers,
    )


def tell(plan: Plan, seeds: list[int]) -> None:
    """Prints and keeps the table."""
    text = ablation.to_markdown(plan, seeds)
    print(text, flush=True)
    for name, content in [("table.md", text), ("table.csv", ablation.to_csv(plan, seeds))]:
        with written(plan.out / name) as partial:
            partial.write_text(content)


def run(options: argparse.Namespace) -> None:
    """Trains and scores whatever is not finished."""
    steps = fixed(options)["steps"]
    assert isinstance(steps, int)
    plan = plan_of(options, steps)
    names = options.arms or [arm.name for arm in plan.arms if arm.scored]
    arms = plan.needed(names)
    for seed in () if options.table else options.seeds:
        for arm in arms:
            with bar("step") as show:
                ablation.train_arm(
                    plan,
                    arm,
                    seed,
                    lambda s, a=arm: show(s.step, s.steps, 0, f"{a.name} loss {s.loss:.3f}"),
                )
            if arm.scored and arm.name in names:
                with bar("frame") as show:
                    score = ablation.score_arm(
                        plan, arm, seed, lambda s, a=arm: show(s.done, s.total, 0, a.name)
                    )
                print(f"seed {seed}, {arm.name}: {100 * score:.1f}", flush=True)
                tell(plan, options.seeds)
    tell(plan, options.seeds)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        for arm in arms:
            source = plan.weights(arm, options.seeds[0])
            if arm.scored and arm.weights is None and source.exists():
                shutil.copyfile(source, options.keep / f"{arm.name}.safetensors")


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("footage", type=Path, nargs="+")
    parser.add_argument("davis", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--width", type=float, default=0.5)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=40.0, help="a rung, start included")
    length.add_argument("--steps", type=int, help="a run, instead of minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--arms", nargs="+", help="these alone, and the starts they need")
    parser.add_argument("--set", nargs="+", default=[], help="settings of every arm")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--table", action="store_true", help="train nothing, print the table")
    parser.add_argument("--keep", type=Path, help="copy the first seed's weights there")
    options = parser.parse_args()
    try:
        with alone(options.out):
            run(options)
    except InputError as error:
        print(f"ladder: error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"ladder: interrupted; {one_line(error)}".rstrip("; "), file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
