"""What an ablation compares: the arms of each of the paper's tables, of the ladder and of a grid.

Arms that are trained alike have one name in all plans, so that plans share a folder and what is
trained in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product

from liir import presets
from liir.errors import InputError
from liir.inputs import nearest
from liir.settings import parse_settings

DAVIS, VIP = "DAVIS-2017 val J&F", "VIP mIoU"


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
        published: Scores of the paper's own arm, in percent, by the set and score that they are of.
    """

    name: str
    preset: str = "position"
    settings: tuple[str, ...] = ()
    start: str | None = None
    weights: str | None = None
    tracking: tuple[str, ...] = ()
    scored: bool = True
    published: Mapping[str, float] = field(default_factory=dict)


_SECOND = ("second_stage=0",)
_START = Arm(name="start", scored=False)
_START_MAST = Arm(name="start-mast", preset="mast", scored=False)


def _compact(name: str = "compact", *settings: str) -> Arm:
    return Arm(name=name, preset="compact", settings=(*_SECOND, *settings), start="start")


def _inter(name: str = "inter", *settings: str) -> Arm:
    return Arm(name=name, preset="inter", settings=(*_SECOND, *settings), start="start")


def _hidden(arm: Arm) -> Arm:
    """The arm without a row: others are scored with its weights."""
    return Arm(**(vars(arm) | {"scored": False}))


def _told(arm: Arm, davis: float | None = None, vip: float | None = None) -> Arm:
    """The arm with what is published of it."""
    known = {name: value for name, value in ((DAVIS, davis), (VIP, vip)) if value is not None}
    return Arm(**(vars(arm) | {"published": known}))


def ladder() -> list[Arm]:
    """The published components one by one, `mast`, and the ways of position shifting.

    A rung is half a run of its start's preset and half a run of its own. Arms with position
    encoding share one start; `baseline` has no position map and `mast` no cosine either, so
    that each has a start of its own, of the same length. `inter` is the arm of `shifting=roll`.
    """
    training = Arm(name="compact-training", weights="compact", tracking=("gaussians=0",))
    return [
        _START,
        Arm(name="start-baseline", preset="baseline", scored=False),
        _START_MAST,
        Arm(name="baseline", preset="baseline", start="start-baseline"),
        Arm(name="position", start="start"),
        _told(_inter(), 69.8, 39.6),
        _told(_compact(), 72.1, 41.2),
        _told(training, 71.5, 40.8),
        _told(Arm(name="mast", preset="mast", start="start-mast"), 65.5),
        _inter("shift-none", "shifting=none"),
        # Whole maps are kept: fewer frames, or a step would take several times as long.
        _inter("shift-aligned", "shifting=aligned", "bank_frames=64"),
        _inter("shift-drop", "shifting=drop"),
    ]


def table1() -> list[Arm]:
    """Gaussians in training by Gaussians in tracking, 0 to 3 each."""
    trained = {0: _inter(), 2: _compact()}
    trained |= {m: _compact(f"compact-{m}", f"gaussians={m}") for m in (1, 3)}
    published = {(0, 0): (69.8, 39.6), (2, 0): (71.5, 40.8), (2, 2): (72.1, 41.2)}
    published[3, 3] = (71.6, 40.8)
    arms = [_START, *(_hidden(trained[m]) for m in range(4))]
    for m, n in product(range(4), repeat=2):
        name, tracking = f"train-{m}-track-{n}", (f"gaussians={n}",)
        arm = Arm(name=name, weights=trained[m].name, tracking=tracking)
        arms.append(_told(arm, *published.get((m, n), ())))
    return arms


_SHORT = ("annotated=0", "first=", "recent=5,3,1")


def table2() -> list[Arm]:
    """With references 0, 5, t-5, t-3, t-1, and with the last three alone: liir and mast."""
    arms = [_START, _START_MAST, _hidden(_compact())]
    arms.append(Arm(name="mast", preset="mast", start="start-mast", scored=False))
    rows = (("liir", "compact", 72.1, 67.4), ("mast", "mast", 65.5, 58.7))
    for name, weights, whole, short in rows:
        long = ("annotated=1", "first=0,5", "recent=5,3,1")
        arms.append(_told(Arm(name=f"{name}-long", weights=weights, tracking=long), whole))
        arms.append(_told(Arm(name=f"{name}-short", weights=weights, tracking=_SHORT), short))
    return arms


def table3() -> list[Arm]:
    """Frames of the bank by points of each."""
    sizes = ((1440, 4, 72.1), (1440, 2, 71.4), (1440, 1, 70.4), (960, 6, 71.7), (480, 12, 70.9))
    arms = [_START, _hidden(_compact())]
    for frames, points, score in sizes:
        name = f"bank-{frames}x{points}"
        if (frames, points) == (1440, 4):  # as `compact` is
            arm = Arm(name=name, weights="compact")
        else:
            arm = _compact(name, f"bank_frames={frames}", f"bank_points={points}")
        arms.append(_told(arm, score))
    return arms


def quick() -> list[Arm]:
    """The ladder's rungs alone."""
    wanted = ("start", "start-baseline", "baseline", "position", "inter", "compact")
    return [arm for arm in ladder() if arm.name in wanted]


PLANS: Mapping[str, Callable[[], list[Arm]]] = {
    plan.__name__: plan for plan in (ladder, table1, table2, table3, quick)
}
GRID = "grid"


def arms_of(
    plan: str, axes: Sequence[str] = (), preset: str | None = None, each: bool = False
) -> list[Arm]:
    """The arms of a plan.

    Args:
        plan: One of `PLANS`, or "grid".
        axes: As of `grid`.
        preset: As of `grid`; small, if None.
        each: As of `grid`.

    Raises:
        InputError: There is no such plan, or it has no axes, or an axis cannot be that.
    """
    if plan == GRID:
        return grid(axes, preset or "small", each=each)
    known = [*PLANS, GRID]
    if plan not in known:
        hint = nearest(plan, known)
        raise InputError(f"unknown plan {plan!r}{hint} (there are: {', '.join(known)})")
    if axes or preset is not None or each:
        what = "--grid" if axes else "--preset" if preset is not None else "--each"
        raise InputError(f"the arms of {plan} are fixed: {what} is for liir ablate grid")
    return PLANS[plan]()


def grid(axes: Sequence[str], preset: str, *, each: bool = False) -> list[Arm]:
    """Every combination of values of some fields, or every value by itself.

    Args:
        axes: FIELD=A,B,C each, a field of training, model or tracking; A;B;C where a value is
            several numbers. Fields of tracking alone share the weights they are scored with.
        preset: What the other fields are taken from.
        each: Change one field at a time; the preset as it is comes first.

    Raises:
        InputError: There is no axis, no such field, or a value cannot be that.
    """
    if not axes:
        raise InputError("a grid has axes: give --grid FIELD=A,B,C, once for each field")
    presets.preset(preset)
    trained: list[list[str]] = []
    tracked: list[list[str]] = []
    fields: set[tuple[str, str]] = set()
    for axis in axes:
        name, sign, words = axis.partition("=")
        part, values = _axis(name, words) if sign else ("", [])
        if not sign or len(values) < (1 if each else 2):
            many = "" if each else ", two values or more"
            raise InputError(f"--grid {axis!r}: write FIELD=A,B,C{many}")
        bare = name.rpartition(".")[2]
        if bare == "seed":
            raise InputError(f"--grid {axis!r}: seeds have an option of their own, --seeds")
        if (part, bare) in fields:
            raise InputError(f"--grid {axis!r}: the field is an axis already")
        fields.add((part, bare))
        texts = [f"{name}={value}" for value in values]
        (tracked if part == "tracking" else trained).append(texts)
    if each:
        return [
            Arm(name=preset, preset=preset),
            *(Arm(name=text, weights=preset, tracking=(text,)) for text in chain(*tracked)),
            *(Arm(name=text, preset=preset, settings=(text,)) for text in chain(*trained)),
        ]
    arms = []
    for settings in product(*trained):
        weights = "+".join(settings) or preset
        arms.append(Arm(name=weights, preset=preset, settings=settings, scored=not tracked))
        for tracking in product(*tracked) if tracked else ():
            name = "+".join((*settings, *tracking))
            arms.append(Arm(name=name, weights=weights, tracking=tracking))
    return arms


def _axis(name: str, words: str) -> tuple[str, list[str]]:
    """The part of a preset that an axis is of, and its values; each is checked."""
    bare = name.rpartition(".")[2]
    base = presets.base()
    part = name.rpartition(".")[0] or next(
        (p for p in ("training", "model", "tracking") if bare in vars(getattr(base, p))), ""
    )
    several = isinstance(vars(getattr(base, part, base)).get(bare), tuple) or ";" in words
    values = words.split(";" if several else ",")
    for value in values:
        parse_settings([f"{name}={value}"], "training", "model", "tracking")
    return part, values
