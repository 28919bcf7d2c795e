"""What does each part of the objective cost? Seconds and peak memory of a step with and without it.

    python benchmarks/training.py                      # the small width, as a laptop trains
    python benchmarks/training.py --long               # and a million negatives, 20 s a step
    python benchmarks/training.py --width 1 --device cuda
    python benchmarks/training.py --presets paper --width 1 --crop 256 --batch 4 8 16

Each row is a process of its own: random pictures, the bank filled before the clock starts, a few
steps that do not count, then --steps of forward, backward and optimizer. The overhead is what a
step takes beyond the passes through the encoder that it needs, timed in turns with it: forward
and backward for every frame, twice with shifting by roll or drop, and a forward pass of the
momentum copy. Memory is the most that the process (on CUDA: the allocator) took, bank and optimizer
included.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import record
import torch

from liir import presets
from liir.encoder import pick_device, pick_dtype
from liir.learning.objective import Objective, quick_products
from liir.settings import parse_settings
from liir.show import plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = {
    "intra alone": ("baseline", ()),
    "+ position": ("position", ()),
    "+ inter, shifting none": ("inter", ("shifting=none",)),
    "+ inter, shifting roll": ("inter", ()),
    "+ inter, shifting drop": ("inter", ("shifting=drop",)),
    "+ inter, shifting aligned (64 frames)": ("inter", ("shifting=aligned", "bank_frames=64")),
    "+ inter (roll) + compactness": ("compact", ()),
}
LONG = {"+ inter (roll), a million negatives": ("inter", ("bank_frames=250000",))}
COLUMNS = {
    "name": "",
    "seconds": "seconds a step",
    "passes": "encoder passes alone",
    "overhead": "overhead, %",
    "rate": "frames/s",
    "peak": "peak MiB",
}


def prepared(job: dict[str, Any]) -> tuple[Objective, presets.Preset, torch.device]:
    """The objective with a full bank."""
    config = presets.preset(job["preset"])
    texts = [*job["settings"], f"width={job['width']}"]
    texts += [f"{key}={job[key]}" for key in ("batch", "crop") if job[key]]
    for part, values in parse_settings(texts, "training", "model").items():
        changed = dataclasses.replace(getattr(config, part), **values)
        config = dataclasses.replace(config, **{part: changed})
    device = pick_device(job["device"])
    torch.manual_seed(0)
    objective = Objective(config, pick_dtype("auto", device)).to(device)
    objective.to(memory_format=torch.channels_last)
    if objective.bank is not None:
        objective.bank.features.copy_(torch.randn(1, device=device))
        objective.bank.videos.copy_(100 + torch.arange(len(objective.bank.videos)))
        objective.bank.pushed.fill_(len(objective.bank.videos))
    return objective, config, device


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """A row."""
    objective, config, device = prepared(job)
    optimizer = torch.optim.AdamW(objective.encoder.parameters(), 1e-4)
    batch, crop = config.training.batch, config.training.crop
    dropped = torch.ones(batch, dtype=torch.int64, device=device)
    videos = torch.arange(batch, device=device)

    def whole() -> None:
        lab = torch.rand(batch, 2, 3, crop, crop, device=device) - 0.5
        losses = objective(lab, dropped, videos, None, True)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        objective.follow()

    def passes() -> None:
        optimizer.zero_grad()
        encoder_passes(objective, torch.rand(2 * batch, 3, crop, crop, device=device)).backward()
        optimizer.step()

    with quick_products(objective.dtype):
        timing = {"runs": job["steps"], "budget": 600, "device": device}
        seconds, alone = record.timed_in_turns(whole, passes, **timing)
    peak = record.peak(device)
    return job | {
        "batch": batch,
        "crop": crop,
        "seconds": seconds,
        "passes": alone,
        "overhead": 100 * (seconds["median"] / alone["median"] - 1),
        "rate": 2 * batch / seconds["median"],
        "peak": peak,
    }


def encoder_passes(objective: Objective, frames: torch.Tensor) -> torch.Tensor:
    """What `Objective.forward` asks of the network, and the cheapest loss on it."""
    encoder, dtype = objective.encoder, objective.dtype
    with torch.autocast(frames.device.type, dtype, enabled=dtype != torch.float32):
        early = encoder.early(frames.contiguous(memory_format=torch.channels_last))
        trunk = encoder.trunk(early, None)
        loss = encoder.pixel_head(trunk).float().mean()
        if objective.bank is not None:
            shifted = objective._shifted(early, trunk, None)
            loss = loss + encoder.region_head(shifted).float().mean()
            objective.slow_head(shifted.detach()[1::2])
    return loss


def tables(found: record.Report) -> str:
    """Markdown."""
    return "\n".join(record.table(found["rows"], COLUMNS))


def draw(found: record.Report) -> Figure:
    """The whole step over the passes that it needs."""
    rows = found["rows"]
    made = plot.figure(900, 130 + 45 * len(rows))
    axes = made.add_subplot()
    for place, row in enumerate(rows):
        for number, key in enumerate(("seconds", "passes")):
            label = ("the step", "encoder passes alone")[number] if place == 0 else None
            style = {"color": plot.line(number)["color"], "label": label}
            axes.barh(place + 0.2 - 0.4 * number, row[key]["median"], 0.38, **style)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    plot.plain(axes, "A training step")
    made.legend(loc="outside lower center", ncols=2, frameon=False)
    return made


def main() -> None:
    """Prints a Markdown table; keeps JSON and a plot."""
    parser = record.options(__doc__)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--parts", nargs="+", choices=[*PARTS, *LONG])
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--presets", nargs="+", default=(), help="these, in place of the parts")
    parser.add_argument("--crop", type=int, default=0, help="default: the preset's")
    parser.add_argument("--batch", type=int, nargs="+", default=[0])
    given = parser.parse_args()
    if record.one(given, measure):
        return
    parts = PARTS | LONG
    wanted = {name: (name, ()) for name in given.presets} or {
        name: parts[name] for name in given.parts or (parts if given.long else PARTS)
    }
    shared = {key: getattr(given, key) for key in "device threads width steps crop".split()}
    rows: list[dict[str, Any]] = []
    for name, (preset, settings) in wanted.items():
        for batch in given.batch:
            job = shared | {"preset": preset, "settings": settings, "batch": batch}
            row = record.alone(__file__, job)
            rows.append(row | {"name": f"{name}, batch {batch}" if batch else name})
            record.tell(rows[-1], COLUMNS, first=len(rows) == 1)
    record.keep(record.report(__file__, rows), given.out, draw)


if __name__ == "__main__":
    main()
