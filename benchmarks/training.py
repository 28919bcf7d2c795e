"""What does each part of the objective cost? Seconds and peak memory of a step with and without it.

    python benchmarks/training.py                      # the small width, as a laptop trains
    python benchmarks/training.py --width 1 --device cuda --json costs.json

Each row is a process of its own: random pictures, the bank filled before the clock starts, a few
steps that do not count, then --steps of forward, backward and optimizer. Memory is the most that
the process (on CUDA: the allocator) took, bank and optimizer included.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from liir import presets
from liir.encoder import pick_device, pick_dtype
from liir.learning.objective import Objective
from liir.settings import parse_settings

WARM = 2
ROWS = {
    "intra alone": ("baseline", ()),
    "+ position": ("position", ()),
    "+ inter, shifting none": ("inter", ("shifting=none",)),
    "+ inter, shifting roll": ("inter", ()),
    "+ inter, shifting drop": ("inter", ("shifting=drop",)),
    "+ inter, shifting aligned (64 frames)": ("inter", ("shifting=aligned", "bank_frames=64")),
    "+ inter (roll) + compactness": ("compact", ()),
    "+ inter (roll), a million negatives": ("inter", ("bank_frames=250000",)),
}


def measure(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds a step, median and range, and MiB at most."""
    preset_name, texts = ROWS[name]
    config = presets.preset(preset_name)
    changes = parse_settings([*texts, f"width={options.width}"], "training", "model")
    for part, values in changes.items():
        changed = dataclasses.replace(getattr(config, part), **values)
        config = dataclasses.replace(config, **{part: changed})
    device = pick_device(options.device)
    torch.manual_seed(0)
    objective = Objective(config, pick_dtype("auto", device)).to(device)
    objective.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(objective.encoder.parameters(), 1e-4)
    if objective.bank is not None:
        objective.bank.features.copy_(torch.randn(1, device=device))
        objective.bank.videos.copy_(100 + torch.arange(len(objective.bank.videos)))
        objective.bank.pushed.fill_(len(objective.bank.videos))
    batch, crop = config.training.batch, config.training.crop
    seconds = []
    for step in range(WARM + options.steps):
        lab = torch.rand(batch, 2, 3, crop, crop, device=device) - 0.5
        dropped = torch.ones(batch, dtype=torch.int64, device=device)
        start = time.perf_counter()
        losses = objective(lab, dropped, torch.arange(batch, device=device), None, True)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        objective.follow()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if step >= WARM:
            seconds.append(time.perf_counter() - start)
    if device.type == "cuda":
        most = torch.cuda.max_memory_allocated(device) / 2**20
    else:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        most = used / 2 ** (20 if sys.platform == "darwin" else 10)
    return {
        "seconds": statistics.median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "mib": most,
    }


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options)))
        return
    found = {}
    print("| | seconds a step | range | peak MiB |")
    print("|---|---:|---:|---:|")
    for name in options.rows:
        command = [sys.executable, __file__, *sys.argv[1:], "--one", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        row = found[name] = json.loads(done.stdout)
        span = f"{row['least']:.3f} to {row['most']:.3f}"
        print(f"| {name} | {row['seconds']:.3f} | {span} | {row['mib']:,.0f} |", flush=True)
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
