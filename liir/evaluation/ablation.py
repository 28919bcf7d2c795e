"""Arms of an ablation: trained from shared starts, scored alike, told in one table.

Every arm is an ordinary run folder, OUT/seed-S/NAME, of a fixed number of steps. What is finished
is used again, what was interrupted goes on where it stopped, bit for bit; so an ablation can be
run over many sessions.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from liir.encoder import Model, fingerprint, load, read_header
from liir.errors import InputError
from liir.evaluation.benchmarks import Progress as Frames
from liir.evaluation.benchmarks import evaluate
from liir.evaluation.plans import DAVIS, VIP, Arm
from liir.files import written
from liir.learning import checkpoint as checkpoints
from liir.learning.trainer import WEIGHTS, Progress, train
from liir.presets import Preset, preset
from liir.settings import parse_settings

INDEX = "clips.json"
"""Where cuts were found, in a run's folder and, for all of them, in the ablation's."""

JHMDB = "JHMDB PCK@0.1"
_STANDARD = {
    "davis2016": ("J&F-Mean", DAVIS),
    "davis2017": ("J&F-Mean", DAVIS),
    "youtube-vos": ("J&F-Mean", DAVIS),
    "vip": ("mIoU", VIP),
    "semantic": ("mIoU", VIP),
    "vip-instances": ("AP^r", "VIP AP^r"),
    "jhmdb": ("PCK@0.1", JHMDB),
    "badja": ("PCK@0.1", JHMDB),
    "points": ("PCK@0.1", JHMDB),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the arms of an ablation have in common.

    Attributes:
        out: The ablation's folder.
        arms: In an order in which each comes after those it needs.
        footage: Videos to train on.
        steps: Of each run.
        settings: For every arm, such as width=0.5, as `liir train --set` takes them; of tracking
            alone, where weights are given.
        root: The benchmark's folder.
        benchmark: Its name, as for `evaluate`.
        points: Its table of joints, as for `evaluate`.
        sequences: Of the benchmark; all if empty.
        given: Weights of arms that are not trained, by the arm's name.
        init: What arms without a start begin with, as in `liir.train`.
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
    points: Path | None = None
    sequences: tuple[str, ...] = ()
    given: Mapping[str, Path] = field(default_factory=dict)
    init: str | None = None
    device: str = "auto"
    workers: int | None = None

    @property
    def measure(self) -> str:
        """The score that counts."""
        return _STANDARD[self.benchmark][0]

    @property
    def standard(self) -> str:
        """The set and score of the published figures, for which the benchmark may stand in."""
        return _STANDARD[self.benchmark][1]

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

    def changed(self, arm: Arm) -> tuple[str, ...]:
        """Settings that an arm is scored with and was not trained with, as those of the plan."""
        return self.settings if (arm.weights or arm.name) in self.given else ()

    def weights(self, arm: Arm, seed: int) -> Path:
        """What is scored of an arm."""
        trained = self.arm(arm.weights) if arm.weights else arm
        return self.given.get(trained.name) or self.folder(trained, seed) / WEIGHTS

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
            for other in () if name in self.given else (arm.start, arm.weights):
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
    if arm.weights is not None or arm.name in plan.given:
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
    elif _finished(folder / WEIGHTS, wanted, plan.steps):
        return
    folder.mkdir(parents=True, exist_ok=True)
    shared = plan.out / INDEX  # to look through the videos once and for all
    if shared.exists() and not (folder / INDEX).exists():
        shutil.copyfile(shared, folder / INDEX)
    init = plan.folder(plan.arm(arm.start), seed) / WEIGHTS if arm.start else plan.init
    train(
        plan.footage,
        wanted,
        folder,
        steps=plan.steps,
        resume=resume,
        init=None if resume else init,
        device=plan.device,
        workers=plan.workers,
        progress=progress,
    )
    with written(shared) as partial:
        shutil.copyfile(folder / INDEX, partial)
    if checkpoints.restore(folder).step < plan.steps:
        raise KeyboardInterrupt(f"{folder} is kept; the same command goes on")


def _finished(weights: Path, wanted: Preset, steps: int) -> bool:
    """Whether a run that has no checkpoint any more was trained to its end.

    Raises:
        InputError: The weights are of another run.
    """
    if not weights.exists():
        return False
    found, notes = read_header(weights)
    if found != wanted or notes.get("steps") != str(steps):
        raise InputError(
            f"{weights}: was trained with other settings than these, or not for {steps} steps; "
            "choose another folder, or remove it"
        )
    return True


def score_arm(
    plan: Plan, arm: Arm, seed: int, progress: Callable[[Frames], None] | None = None
) -> float:
    """Scores an arm, or reads what it scored before; finished sequences are not run again.

    Returns:
        `plan.measure`, a fraction.
    """
    model = load(plan.weights(arm, seed), device=plan.device)
    known = _score(plan, arm, seed, model)
    if known is not None:
        return known
    changes = parse_settings([*plan.changed(arm), *arm.tracking], "tracking")["tracking"]
    folder = plan.folder(arm, seed)
    report = evaluate(
        plan.benchmark,
        plan.root,
        model,
        config=dataclasses.replace(model.preset.tracking, **changes),
        points=plan.points,
        sequences=plan.sequences,
        out=folder / "predictions",
        progress=progress,
    )
    score = report.summary[plan.measure]
    entry = {"score": score, "weights": fingerprint(model.encoder), "set": [*plan.changed(arm)]}
    entry |= {"sequences": sorted(plan.sequences)} if plan.sequences else {}
    with written(_score_file(plan, arm, seed)) as partial:
        partial.write_text(
            json.dumps(entry | json.loads(report.to_json()), indent=1) + "\n", "utf-8"
        )
    return score


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of the table, in percent.

    Attributes:
        benchmark: What was scored.
        arm: The arm's name.
        scores: Of each seed; None where there is none yet.
        published: The paper's figure, if it has one.
        standard: The set and score that it is of.
    """

    benchmark: str
    arm: str
    scores: tuple[float | None, ...]
    published: float | None
    standard: str

    @property
    def known(self) -> list[float]:
        """The scores that are there."""
        return [score for score in self.scores if score is not None]

    def cells(self) -> list[str]:
        """As text, empty where there is nothing to tell."""
        numbers = [*self.scores, statistics.mean(self.known) if self.known else None]
        numbers.append(statistics.stdev(self.known) if len(self.known) > 1 else None)
        numbers.append(self.published)
        told = ["" if number is None else f"{number:.1f}" for number in numbers]
        return [self.benchmark, self.arm, *told, self.standard if told[-1] else ""]


def lines_of(plan: Plan, seeds: Sequence[int]) -> list[Line]:
    """What is finished of a plan, a line for each arm that is scored."""
    lines = []
    for arm in plan.arms:
        if not arm.scored:
            continue
        known = [_score(plan, arm, seed) for seed in seeds]
        scores = tuple(None if score is None else 100 * score for score in known)
        told = {"benchmark": plan.benchmark, "arm": arm.name, "standard": plan.standard}
        published = arm.published.get(plan.standard)
        lines.append(Line(**told, scores=scores, published=published))
    return lines


def to_markdown(plans: Sequence[Plan], seeds: Sequence[int]) -> str:
    """The table of what is finished, in percent: each seed, mean, standard deviation over seeds.

    Below it stands what was scored, and what it stands in for.
    """
    head = _head(seeds)
    text = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 3) + "---|"]
    for plan in plans:
        text += ["| " + " | ".join(line.cells()) + " |" for line in lines_of(plan, seeds)]
    for plan in plans:
        count = f"{len(plan.sequences)} sequences" if plan.sequences else "all sequences"
        names = ", ".join(plan.sequences) if 0 < len(plan.sequences) <= 4 else count
        own = plan.benchmark in ("davis2017", "vip", "vip-instances", "jhmdb")
        beside = "to be set beside" if own else "stands in for"
        text += ["", f"{plan.benchmark}: {plan.measure} of {names}; {beside} {plan.standard}."]
    return "\n".join(text) + "\n"


def to_csv(plans: Sequence[Plan], seeds: Sequence[int]) -> str:
    """The same as CSV."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_head(seeds))
    table.writerows(line.cells() for plan in plans for line in lines_of(plan, seeds))
    return text.getvalue()


def _head(seeds: Sequence[int]) -> list[str]:
    told = [f"seed {seed}" for seed in seeds]
    return ["benchmark", "arm", *told, "mean", "sd", "published", "published on"]


def _score_file(plan: Plan, arm: Arm, seed: int) -> Path:
    return plan.folder(arm, seed) / f"{plan.benchmark}.json"


def _score(plan: Plan, arm: Arm, seed: int, model: Model | None = None) -> float | None:
    """What an arm scored before, a fraction.

    None if it has not, or with weights other than the model's, or other settings or sequences,
    or the file is damaged.
    """
    try:
        entry = json.loads(_score_file(plan, arm, seed).read_text("utf-8"))
        score, weights = float(entry["score"]), str(entry["weights"])
        # The files of older runs have rows alone.
        rows = {str(row["sequence"]) for row in entry["rows"]}
        sequences = {*entry.get("sequences", rows)}
    except (OSError, ValueError, TypeError, KeyError):
        return None
    other = model is not None and weights != fingerprint(model.encoder)
    other = other or entry.get("set", []) != [*plan.changed(arm)]
    other = other or bool(plan.sequences and sequences != {*plan.sequences})
    return None if other else score
