"""Arms of an ablation: trained from shared starts, scored alike, told in one table.

Every arm is an ordinary run folder, OUT/seed-S/NAME, of a fixed number of steps. What is finished
is used again, what was interrupted goes on where it stopped, bit for bit; so an ablation can be
run over many sessions.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from liir.encoder import fingerprint, load
from liir.errors import InputError
from liir.evaluation.benchmarks import Progress as Frames
from liir.evaluation.benchmarks import evaluate
from liir.files import written
from liir.learning import checkpoint as checkpoints
from liir.learning.trainer import WEIGHTS, Progress, train
from liir.presets import Preset, preset
from liir.settings import parse_settings

_INDEX = "clips.json"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train, or to track with what another arm has trained.

    Attributes:
        name: Its folder and its row.
        preset: What it begins with.
        settings: Changes, as `liir train --set` takes them.
        start: The arm with whose weights training begins; None: at random.
        weights: The arm whose weights are scored; then nothing is trained.
        tracking: Changes for scoring alone, as `liir evaluate --set` takes them.
        scored: Whether it has a row; a shared start has none.
        published: Score of the paper's own arm, in percent, on its own data.
    """

    name: str
    preset: str = "position"
    settings: tuple[str, ...] = ()
    start: str | None = None
    weights: str | None = None
    tracking: tuple[str, ...] = ()
    scored: bool = True
    published: float | None = None


def ladder() -> list[Arm]:
    """The published components one by one, `mast`, and the ways of position shifting.

    A rung is half a run of its start's preset and half a run of its own. Arms with position
    encoding share one start; `baseline` has no position map and `mast` no cosine either, so
    that each has a start of its own, of the same length. `inter` is the arm of `shifting=roll`.
    """
    second = ("second_stage=0",)

    def shifting(kind: str, *more: str) -> Arm:
        settings = (*second, f"shifting={kind}", *more)
        return Arm(name=f"shift-{kind}", preset="inter", settings=settings, start="start")

    return [
        Arm(name="start", scored=False),
        Arm(name="start-baseline", preset="baseline", scored=False),
        Arm(name="start-mast", preset="mast", scored=False),
        Arm(name="baseline", preset="baseline", start="start-baseline"),
        Arm(name="position", start="start"),
        Arm(name="inter", preset="inter", settings=second, start="start", published=69.8),
        Arm(name="compact", preset="compact", settings=second, start="start", published=72.1),
        Arm(name="compact-training", weights="compact", tracking=("gaussians=0",), published=71.5),
        Arm(name="mast", preset="mast", start="start-mast", published=65.5),
        shifting("none"),
        # Whole maps are kept: fewer frames, or a step would take several times as long.
        shifting("aligned", "bank_frames=64"),
        shifting("drop"),
    ]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the arms of an ablation have in common.

    Attributes:
        out: The ablation's folder.
        arms: In an order in which each comes after those it needs.
        footage: Videos to train on.
        steps: Of each run.
        settings: For every arm, such as width=0.5, as `liir train --set` takes them.
        root: The benchmark's folder.
        benchmark: Its name, as for `evaluate`.
        measure: The score that counts.
        sequences: Of the benchmark; all if empty.
        device: As in `liir.load`.
        workers: As in `liir.train`.
    """

    out: Path
    arms: Sequence[Arm]
    footage: Sequence[Path]
    steps: int
    root: Path
    settings: tuple[str, ...] = ()
    benchmark: str = "davis2016"
    measure: str = "J&F-Mean"
    sequences: tuple[str, ...] = ()
    device: str = "auto"
    workers: int | None = None

    def arm(self, name: str) -> Arm:
        """The arm of that name.

        Raises:
            InputError: There is none.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise InputError(f"no arm {name!r} (there are: {', '.join(a.name for a in self.arms)})")

    def folder(self, arm: Arm, seed: int) -> Path:
        """Where an arm is kept."""
        return self.out / f"seed-{seed}" / arm.name

    def weights(self, arm: Arm, seed: int) -> Path:
        """What is scored of an arm."""
        return self.folder(self.arm(arm.weights) if arm.weights else arm, seed) / WEIGHTS

    def config(self, arm: Arm, seed: int) -> Preset:
        """What an arm trains."""
        config = preset(arm.preset)
        texts = [*self.settings, *arm.settings, f"seed={seed}"]
        for part, changes in parse_settings(texts, "training", "model", "tracking").items():
            changed = dataclasses.replace(getattr(config, part), **changes)
            config = dataclasses.replace(config, **{part: changed})
        return config

    def needed(self, names: Iterable[str]) -> list[Arm]:
        """These arms and those they need, in order."""
        wanted: set[str] = set()

        def add(name: str) -> None:
            arm = self.arm(name)
            wanted.add(name)
            for other in (arm.start, arm.weights):
                if other is not None:
                    add(other)

        for name in names:
            add(name)
        return [arm for arm in self.arms if arm.name in wanted]


def train_arm(
    plan: Plan, arm: Arm, seed: int, progress: Callable[[Progress], None] | None = None
) -> None:
    """Trains an arm, or the rest of it, or nothing if it is finished.

    Raises:
        InputError: What is there was trained otherwise, or `train` cannot.
        KeyboardInterrupt: A signal stopped it; the same call goes on.
    """
    if arm.weights is not None:
        return
    folder, wanted = plan.folder(arm, seed), plan.config(arm, seed)
    resume = (folder / checkpoints.FILE).exists()
    if resume:
        state = checkpoints.restore(folder)
        if state.preset != wanted or state.steps != plan.steps:
            raise InputError(
                f"{folder}: was trained with other settings or {state.steps} steps instead of "
                f"{plan.steps}; choose another folder, or remove this one"
            )
        if state.step >= plan.steps and (folder / WEIGHTS).exists():
            return
    folder.mkdir(parents=True, exist_ok=True)
    shared = plan.out / _INDEX  # to look through the videos once and for all
    if shared.exists() and not (folder / _INDEX).exists():
        shutil.copyfile(shared, folder / _INDEX)
    init = plan.folder(plan.arm(arm.start), seed) / WEIGHTS if arm.start and not resume else None
    train(
        plan.footage,
        wanted,
        folder,
        steps=plan.steps,
        resume=resume,
        init=init,
        device=plan.device,
        workers=plan.workers,
        progress=progress,
    )
    with written(shared) as partial:
        shutil.copyfile(folder / _INDEX, partial)
    if checkpoints.restore(folder).step < plan.steps:
        raise KeyboardInterrupt(f"{folder} is kept; the same command goes on")


def score_arm(
    plan: Plan, arm: Arm, seed: int, progress: Callable[[Frames], None] | None = None
) -> float:
    """Scores an arm, or reads what it scored before; finished sequences are not run again.

    Returns:
        `plan.measure`, a fraction.
    """
    model = load(plan.weights(arm, seed), device=plan.device)
    known = _score(plan, arm, seed)
    if known is not None and known["weights"] == fingerprint(model.encoder):
        return float(known["score"])
    changes = parse_settings(arm.tracking, "tracking")["tracking"]
    folder = plan.folder(arm, seed)
    report = evaluate(
        plan.benchmark,
        plan.root,
        model,
        config=dataclasses.replace(model.preset.tracking, **changes),
        sequences=plan.sequences,
        out=folder / "predictions",
        progress=progress,
    )
    score = report.summary[plan.measure]
    entry = {"score": score, "weights": fingerprint(model.encoder)} | json.loads(report.to_json())
    with written(_score_file(plan, arm, seed)) as partial:
        partial.write_text(json.dumps(entry, indent=1) + "\n", "utf-8")
    return score


def to_markdown(plan: Plan, seeds: Sequence[int]) -> str:
    """The table of what is finished, in percent: each seed, mean, standard deviation over seeds."""
    head = ["arm", *(f"seed {seed}" for seed in seeds), "mean", "sd", "published"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(cells) + " |" for cells in _rows(plan, seeds)]
    return "\n".join(lines) + "\n"


def to_csv(plan: Plan, seeds: Sequence[int]) -> str:
    """The same as CSV."""
    head = ["arm", *(f"seed {seed}" for seed in seeds), "mean", "sd", "published"]
    return "\n".join(",".join(cells) for cells in [head, *_rows(plan, seeds)]) + "\n"


def _rows(plan: Plan, seeds: Sequence[int]) -> list[list[str]]:
    rows = []
    for arm in plan.arms:
        if not arm.scored:
            continue
        known = [_score(plan, arm, seed) for seed in seeds]
        scores = [100 * float(entry["score"]) for entry in known if entry]
        cells = [f"{100 * float(entry['score']):.1f}" if entry else "" for entry in known]
        cells.append(f"{statistics.mean(scores):.1f}" if scores else "")
        cells.append(f"{statistics.stdev(scores):.1f}" if len(scores) > 1 else "")
        cells.append("" if arm.published is None else f"{arm.published:.1f}")
        rows.append([arm.name, *cells])
    return rows


def _score_file(plan: Plan, arm: Arm, seed: int) -> Path:
    return plan.folder(arm, seed) / f"{plan.benchmark}.json"


def _score(plan: Plan, arm: Arm, seed: int) -> dict[str, float | str] | None:
    """What an arm scored before; None if it has not, or the file is damaged."""
    try:
        entry = json.loads(_score_file(plan, arm, seed).read_text("utf-8"))
        return {"score": float(entry["score"]), "weights": str(entry["weights"])}
    except (OSError, ValueError, TypeError, KeyError):
        return None
