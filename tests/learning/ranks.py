"""What the processes of test_distributed.py do: `python ranks.py FOLDER CLIP...` in each of two.

Every process leaves what it found as FOLDER/RANK.pt; `measure` and `normalise` run in one, too.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from liir import presets
from liir.errors import InputError
from liir.learning import checkpoint, distributed, trainer
from liir.learning.distributed import Team
from liir.learning.objective import Objective
from liir.presets import ModelConfig, Preset, TrainingConfig

SIZE = {
    "crop": 32, "crop_source": (24, 48), "gap": 2, "chunk": 6, "reuse": 2, "radius": 2,
    "inter_radius": 1,
}  # fmt: skip
BATCH = 3  # the processes have shares of different sizes


def tiny(config: Preset, **changes: Any) -> Preset:
    """A preset, small enough for a test; its bank is full after two steps."""
    changes = {"batch": BATCH, "bank_frames": 2 * BATCH, "bank_points": 3, **SIZE, **changes}
    return replace(
        config,
        model=replace(config.model, width=0.125, position_grid=8),
        training=replace(config.training, compact_threshold=0.05, **changes),
    )


CASES = {
    **{name: tiny(make()) for name, make in presets.PRESETS.items()},
    "edges": tiny(presets.inter(), bank_sampling="edges"),
    **{kind: tiny(presets.inter(), shifting=kind) for kind in ("none", "aligned", "drop")},
    "beyond": tiny(
        presets.inter(),
        cover=0.5,
        light=0.2,
        grey_share=0.3,
        pieces=0.9,
        average=0.9,
        contrast_weight=1.0,
    ),
}
TRAINED = Preset(
    name="tiny",
    model=ModelConfig(width=0.125, position_grid=8),
    training=TrainingConfig(
        **{**SIZE, "radius": 3}, batch=4, warmup=2, inter_weight=0.5, compact_weight=1.0,
        compact_threshold=0.05, second_stage=0.3, bank_frames=4, bank_points=2,
    ),
)  # fmt: skip


OPTIONS: dict[str, Any] = {"workers": 0, "device": "cpu", "steps": 6}


def normalise(team: Team, device: torch.device) -> dict[str, Tensor]:
    """A batch norm on this process's share of a batch that is far from normal, and backwards."""
    torch.manual_seed(0)
    norm = team.parallel(nn.Sequential(nn.BatchNorm2d(4)).to(device), device)
    x, weight = 3 * torch.randn(2, BATCH, 4, 6, 5) + 5
    slots = team.slots(BATCH)
    mine = x[slots.start : slots.stop].to(device).requires_grad_()
    out = norm(mine)
    (team.size * (out * weight[slots.start : slots.stop].to(device)).sum()).backward()
    assert mine.grad is not None
    found = {"out": team.joined(out, BATCH), "gradient": team.joined(mine.grad, BATCH) / team.size}
    found |= {name: p.grad for name, p in norm.named_parameters() if p.grad is not None}
    found |= dict(norm.named_buffers())
    return {name.removeprefix("module."): value.cpu() for name, value in found.items()}


def measure(config: Preset, team: Team) -> dict[str, Any]:
    """Losses, gradients and state after three passes over batches of random frames.

    In float64, where the order of a sum hardly matters: what differs is wrong.
    """
    torch.manual_seed(0)
    module = Objective(config, team=team).double()
    whole = team.parallel(module, torch.device("cpu"))
    slots = team.slots(BATCH)
    mine = slice(slots.start, slots.stop)
    for seed in range(3):
        rng = torch.Generator().manual_seed(seed)
        lab = torch.rand(BATCH, 2, 3, 32, 32, generator=rng).double() - 0.5
        videos = torch.tensor([7, 2 * seed, 2 * seed + 1])  # one video in every batch
        places = 28 * torch.rand(BATCH, 8, 8, 2, generator=rng).double()
        places[-1] = torch.nan  # one pair is no two views
        module.zero_grad()
        dropped = torch.tensor([1, 2, 2])
        with patched(Tensor, "float", Tensor.double):
            losses = whole(lab[mine], dropped[mine], videos[mine], None, True, places[mine])
        (team.size * sum(losses.values())).backward()
        module.follow()
    return {
        "losses": dict(
            zip(losses, team.total([float(v.detach()) for v in losses.values()]), strict=True)
        ),
        "gradients": {n: p.grad for n, p in module.named_parameters() if p.grad is not None},
        "state": module.state_dict(),
        "draw": torch.rand(1),
    }


@contextmanager
def in_float64() -> Iterator[None]:
    """Runs of the trainer in float64.

    In float32 some gradients are nothing but rounding (near 1e-8, Adam's epsilon), which Adam
    makes steps of nearly full size of; in float64 they are 1e-17, and their steps nothing.
    """
    objective, convert = trainer.Objective, trainer.rgb_to_lab
    with (
        patched(trainer, "pick_dtype", lambda *_: torch.float32),  # no autocast
        patched(trainer, "Objective", lambda *args: objective(*args).double()),
        patched(trainer, "rgb_to_lab", lambda rgb: convert(rgb).double()),
        patched(Tensor, "float", Tensor.double),
    ):
        yield


@contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    old = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, old)


def message(function: Callable[..., Any], *args: Any) -> tuple[str, str]:
    try:
        function(*args)
    except InputError as error:
        return type(error).__name__, str(error)
    return "none", ""


def fail_in(rank: int, team: Team) -> int:
    if team.rank == rank:
        raise InputError("bad input")
    return team.rank


def talk(team: Team) -> dict[str, Any]:
    """What processes tell each other."""
    return {
        "total": team.total([team.rank, 1.0]),
        "anywhere": [team.anywhere(False), team.anywhere(team.rank == 1)],
        "first": team.from_first(lambda: f"told by {team.rank}"),
        "all": team.from_all(lambda: team.rank),
        "first fails": message(team.from_first, lambda: fail_in(0, team)),
        "second fails": message(team.from_all, lambda: fail_in(1, team)),
        "too many": message(team.slots, 1),
        "too many to go on": message(lambda: team.slots(1, fixed=True)),
        "device": message(team.device, "gpu"),
        "gpu number": message(team.device, "cuda:1") if torch.cuda.is_available() else None,
    }


def grow(team: Team, folder: Path, clips: list[Path]) -> int:
    """A run that one process begins and both end; returns the steps of the first."""

    def stop(at: trainer.Progress) -> None:
        if at.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    if team.first:
        with patched(distributed, "_current", Team()), patched(distributed, "_team", nullcontext):
            trainer.train(clips, TRAINED, folder / "grown", progress=stop, **OPTIONS)
    step = team.from_first(lambda: checkpoint.restore(folder / "grown").step)
    trainer.train(clips, TRAINED, folder / "grown", resume=True, **OPTIONS)
    return step


def train(team: Team, folder: Path, clips: list[Path]) -> dict[str, Any]:
    """Runs that end, that one process stops, and that one process's numbers stop."""
    calls: list[int] = []
    trainer.train(
        clips, TRAINED, folder / "run", progress=lambda p: calls.append(p.step), **OPTIONS
    )
    rate = trainer.learning_rate

    def stop_second(step: int, *args: Any) -> float:
        if step == 2 and team.rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)  # this process alone hears it
        return rate(step, *args)

    with patched(trainer, "learning_rate", stop_second):
        trainer.train(clips, TRAINED, folder / "stopped", **OPTIONS)
    (folder / "stopped" / f"left by {team.rank}").touch()
    grown = grow(team, folder, clips)
    convert = trainer.rgb_to_lab
    step = iter(range(100))

    def poison_second(rgb: Tensor) -> Tensor:
        bad = next(step) == 3 and team.rank == 1
        return convert(rgb) * (torch.inf if bad else 1.0)

    with patched(trainer, "rgb_to_lab", poison_second):
        poisoned = message(lambda: trainer.train(clips, TRAINED, folder / "poisoned", **OPTIONS))
    again = message(lambda: trainer.train(clips, TRAINED, folder / "run", **OPTIONS))
    return {"calls": calls, "poisoned": poisoned, "again": again, "grown": grown}


@distributed.together
def main(folder: Path, clips: list[Path]) -> None:
    team = distributed.current()
    devices = ["cpu", *(["cuda"] if torch.cuda.device_count() > 1 else [])]
    found: dict[str, Any] = {"norm": {d: normalise(team, team.device(d)) for d in devices}}
    found["objective"] = {name: measure(config, team) for name, config in CASES.items()}
    found["talk"] = talk(team)
    with in_float64():
        found["train"] = train(team, folder, clips)
    torch.save(found, folder / f"{team.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
