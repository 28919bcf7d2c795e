"""The verb `liir ablate`: options, checks of them, and the table it ends in."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, UseAppendAction, arg

from liir import presets
from liir.errors import InputError
from liir.evaluation.plans import GRID, arms_of
from liir.inputs import nearest
from liir.settings import parse_settings
from liir.terminal import Count, Name, Settings, bar, check_out

# Torch takes seconds to import: the verb does so once its options are read.
if TYPE_CHECKING:
    from liir.evaluation.ablation import Plan
    from liir.evaluation.plans import Arm

# A bank that is full after some steps: inter-video reconstruction waits for it.
_QUICK = ("tracking.size=160", "tracking.rival_margin=0", "bank_frames=64")
"""Features of a minute's training are all alike: none of them tells a newcomer."""
_MINUTES = {"quick": 1.0}


def ablate(
    plan: Annotated[Positional[str], arg(metavar="PLAN")],
    root: Annotated[Positional[tuple[str, ...]], arg(metavar="[BENCHMARK=]ROOT...")],
    /,
    *,
    out: Annotated[Path, arg(metavar="DIR")],
    footage: Annotated[tuple[Path, ...], arg(metavar="FOLDER...")] = (),
    benchmark: Annotated[str, arg(metavar="NAME")] = "davis2016",
    points: Annotated[Path | None, arg(metavar="CSV")] = None,
    sequences: Annotated[tuple[str, ...], arg(metavar="NAME...")] = (),
    grid: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="FIELD=A,B,C")] = (),
    each: bool = False,
    preset: Annotated[str | None, arg(metavar="NAME")] = None,
    init: Annotated[str | None, arg(metavar="NAME")] = None,
    given: Annotated[
        UseAppendAction[tuple[str, ...]], arg(name="from", metavar="[ARM=]WEIGHTS")
    ] = (),
    budget: Annotated[float | None, arg(metavar="MINUTES")] = None,
    steps: Count = None,
    seeds: Annotated[tuple[int, ...], arg(metavar="N...")] = (0,),
    width: Annotated[float | None, arg(metavar="FACTOR")] = None,
    setting: Settings = (),
    arms: Annotated[tuple[str, ...], arg(metavar="NAME...")] = (),
    device: Name = "auto",
    workers: Count = None,
    table: bool = False,
    keep: Annotated[Path | None, arg(metavar="DIR")] = None,
) -> str:
    """Train and score the arms of a comparison; ends in one table, a CSV and a plot.

    $ liir ablate ladder DAVIS --footage clips/ --out runs --budget 40 --seeds 0 1
    $ liir ablate table2 DAVIS --from liir=my.safetensors --out references
    $ liir ablate grid DAVIS --grid topk=5,10 --grid temperature=0.05,0.1 --from small --out grid
    $ liir ablate quick davis2016=DAVIS semantic=chen --sequences goat bus ice --footage clips/
          --out quick

    Runs are DIR/seed-0/ARM. What is finished is used again, what was interrupted goes on where it
    was with the same command, and plans may share a folder; docs/ablations.md tells more. The
    result is DIR/PLAN.md, DIR/PLAN.csv and DIR/PLAN.png (extra plot).

    Args:
        plan: ladder (components and ways of position shifting), table1 (Gaussians in training by
            Gaussians in tracking), table2 (with and without long-term references, liir and mast),
            table3 (frames by points in the bank), quick (the components in minutes), or grid.
        root: The benchmark's folder; several with their benchmarks' names.
        out: Folder of the runs.
        footage: What is trained on, as in liir train.
        benchmark: Of a ROOT without a name.
        points: Table for badja or points, if not the one in ROOT.
        sequences: Only these, of all benchmarks.
        grid: A field of training, model or tracking and its values, with semicolons between those
            of several numbers; once for each axis. Fields of tracking alone share one training.
        each: Change one field of the grid at a time instead of all together.
        preset: What a grid begins with; small, if not given.
        init: Weights to begin with, in runs without a start of their own, as in liir train.
        given: Weights to score instead of training some, in grid (of tracking) and table2 (liir's,
            or ARM=mast's).
        budget: Minutes of a run, its start included; 40, in quick 1. They become a number of steps
            once.
        steps: Steps of a run, instead of --budget.
        seeds: Train each arm from each of these.
        width: Factor on the channels of the network; 0.5, in quick 0.25, in a grid
            the preset's.
        setting: Another setting of every arm, as in liir train; with --from of tracking alone.
        arms: Only these, and what they need.
        device: auto, cpu, cuda, cuda:1, mps, ...
        workers: Processes that decode video.
        table: Train and score nothing; tell what is finished.
        keep: Copy the first seed's weights there.
    """
    chosen = arms_of(plan, grid, preset, each)
    weights = _weights(plan, given, chosen)
    _check(footage, weights, budget, steps, seeds, width, init)
    settings = (*(_QUICK if plan == "quick" else ()), *setting)
    parse_settings(settings, *([] if weights else ["training", "model"]), "tracking")
    sets = _sets(root, benchmark, points, sequences)
    for folder in (out, keep):
        if folder is not None:
            check_out(folder)
    from liir.evaluation import ablation, session

    if weights:  # an arm is scored once, however often it could have been trained
        seeds = seeds[:1]
        chosen = [a for a in chosen if a.name in weights or (a.weights or a.name) in weights]
    if width is None:
        own = presets.preset(preset or "small").model.width
        width = {"quick": 0.25, GRID: own}.get(plan, 0.5)
    common: dict[str, Any] = {"out": out, "arms": chosen, "footage": footage, "given": weights}
    common |= {"settings": settings if weights else (f"width={width}", *settings), "steps": 1}
    common |= {"device": device, "workers": workers, "init": init}
    plans = [ablation.Plan(**common, **each) for each in sets]
    plans[0].needed(arms)  # complains before anything is made
    amount = session.Budget(
        minutes=budget, steps=steps, width=width, settings=settings, footage=footage, init=init
    )
    with session.alone(out):
        if not weights and not (table and not (out / "plan.json").exists()):
            count = session.steps_of(plans[0], amount, _MINUTES.get(plan, 40.0), bar)
            plans = [dataclasses.replace(each, steps=count) for each in plans]
        if not table:
            # The table is up to date after each score, whatever comes then.
            session.run(
                plans, seeds, arms, bar=bar, done=lambda: session.write_tables(plans, seeds, plan)
            )
        text = session.write_tables(plans, seeds, plan)
        if keep is not None:
            _keep(plans[0], seeds[0], keep)
        drawn = _draw(plans, seeds, out / f"{plan}.png")
    return f"{text}\n{drawn}"


def _draw(plans: Sequence[Plan], seeds: Sequence[int], out: Path) -> str:
    """Draws the table; returns its file, or why there is none."""
    from liir.evaluation.ablation import lines_of
    from liir.show.arms import show_arms

    try:
        show_arms([line for plan in plans for line in lines_of(plan, seeds)], out)
    except InputError as error:  # the runs are worth more than their picture
        return f"no plot: {error}"
    return f"plot  {out}"


def _keep(plan: Plan, seed: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    starts = {each.start for each in plan.arms}
    for each in plan.arms:
        source = plan.weights(each, seed)
        if each.weights is None and each.name not in starts and source.exists():
            shutil.copyfile(source, folder / f"{each.name}.safetensors")


def _check(
    footage: Sequence[Path],
    weights: Mapping[str, Path],
    budget: float | None,
    steps: int | None,
    seeds: Sequence[int],
    width: float | None,
    init: str | None,
) -> None:
    """Sees that options go together."""
    training: dict[str, object] = {"--footage": footage, "--budget": budget, "--steps": steps}
    training |= {"--width": width, "--init": init}
    for name, value in training.items() if weights else ():
        if value not in (None, ()):
            raise InputError(f"with --from nothing is trained: leave {name} out")
    if not weights and not footage:
        raise InputError("nothing to train on: give --footage, as liir train takes it")
    if budget is not None and steps is not None:
        raise InputError("give the length of a run: either --budget MINUTES or --steps N")
    for name, number in (("--budget", budget), ("--steps", steps), ("--width", width)):
        if number is not None and not number > 0:
            raise InputError(f"{name} {number}: give a positive number")
    if not seeds or len({*seeds}) < len(seeds) or min(seeds) < 0:
        raise InputError("--seeds: give different whole numbers from 0")


def _weights(plan: str, texts: Sequence[str], arms: Sequence[Arm]) -> dict[str, Path]:
    """Weights that are given, by the arm that they stand for."""
    trained = [arm for arm in arms if arm.weights is None]
    if texts and plan != "table2" and not (plan == "grid" and len(trained) == 1):
        raise InputError(
            "--from is for table2, and for a grid over fields of tracking alone: others train"
        )
    if plan == "table2":
        names = {"liir": "compact", "mast": "mast"}
    else:
        names = {arm.name: arm.name for arm in trained}
    first = next(iter(names), "")
    found: dict[str, Path] = {}
    for text in texts:
        name, sign, file = text.rpartition("=")
        if sign and name not in names:
            hint = nearest(name, names)
            raise InputError(
                f"--from {text}: no arm {name!r}{hint} (there are: {', '.join(names)})"
            )
        if names[name or first] in found:
            raise InputError(f"--from {text}: {name or first} has weights already")
        found[names[name or first]] = Path(file)
    if found:
        from liir.encoder import find_weights

        for path in found.values():
            find_weights(str(path))
    return found


def _sets(
    roots: Sequence[str], default: str, points: Path | None, wanted: Sequence[str]
) -> list[dict[str, Any]]:
    """Benchmark, folder and sequences of each ROOT, as `Plan` takes them."""
    from liir.evaluation.benchmarks import benchmark

    found: list[dict[str, Any]] = []
    known: list[str] = []
    if not roots:
        raise InputError("nothing to score on: name the benchmark's folder after the plan")
    for text in roots:
        name, sign, place = text.partition("=")
        # A folder may have a sign of equality in its name.
        if not sign or Path(text).exists():
            name, place = default, text
        folder = Path(place)
        table = points if name in ("badja", "points") else None
        every = benchmark(name, table).sequences(folder)
        if any(each.hidden for each in every):
            raise InputError(
                f"{folder}: the truth of {name} is hidden there, nothing can be scored"
            )
        names = [each.name for each in every]
        known += names
        some = tuple(each for each in names if not wanted or each in wanted)
        if name in [each["benchmark"] for each in found]:
            raise InputError(f"{text}: {name} is given twice; two benchmarks have two names")
        found.append({"benchmark": name, "root": folder, "sequences": some, "points": table})
    odd = [name for name in wanted if name not in known]
    if odd:
        hint = nearest(odd[0], known)
        raise InputError(f"no sequence is called {odd[0]!r}{hint} (there are: {', '.join(known)})")
    empty = next((each for each in found if not each["sequences"]), None)
    if empty:
        raise InputError(f"{empty['root']}: --sequences names none of its sequences")
    return found
