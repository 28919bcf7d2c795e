"""What do many negatives cost? Time and memory of the naive and of the streamed log-sum-exp.

    python benchmarks/negatives.py                       # 5,760 to 1,000,000 negatives
    python benchmarks/negatives.py --negatives 57600 --device cuda

Each figure is a forward and a backward pass of 4,096 queries of 128 channels, in a process of its
own; memory is the most that the process takes, the library and the bank included. The naive form is
left out where its similarities alone exceed --most-gib.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from liir.learning.negatives import Bank, negative_lse

POINTS = 4
TEMPERATURE = 0.07


def naive(query: Tensor, videos: Tensor, keys: Tensor, owners: Tensor) -> Tensor:
    """All similarities at once."""
    scores = query @ keys.to(query.dtype).T / TEMPERATURE
    barred = (videos[:, None] == owners) | (owners < 0)
    return scores.masked_fill(barred, -torch.inf).logsumexp(1)


def streamed(query: Tensor, videos: Tensor, keys: Tensor, owners: Tensor) -> Tensor:
    """As in training."""
    return negative_lse(query, videos, keys, owners, TEMPERATURE)


def peak(device: torch.device) -> float:
    """MiB that were taken at most so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2 ** (20 if sys.platform == "darwin" else 10)


def measure(form: str, count: int, options: argparse.Namespace) -> dict[str, float]:
    """Seconds (median of the runs) and MiB of one form."""
    device = torch.device(options.device)
    torch.manual_seed(0)
    bank = Bank(count // POINTS, POINTS, options.channels).to(device)
    bank.push(
        torch.nn.functional.normalize(torch.randn(*bank.features.shape, device=device), dim=2),
        torch.arange(count // POINTS, device=device),
    )
    query = torch.randn(options.queries, options.channels, device=device, requires_grad=True)
    videos = torch.arange(options.queries, device=device) // 256
    seconds = []
    for _ in range(options.runs):
        start = time.perf_counter()
        globals()[form](query, videos, *bank.negatives()).sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds), "mib": peak(device)}


def told(value: float | None) -> str:
    """A number as long as it need be; a dash for what was left out."""
    return "-" if value is None else f"{value:,.0f}" if value >= 20 else f"{value:.2f}"


def main() -> None:
    """Prints a Markdown table; --json keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--negatives", type=int, nargs="+", default=[5760, 57600, 230400, 1000000])
    parser.add_argument("--queries", type=int, default=4096)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--most-gib", type=float, default=4.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("FORM", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], int(options.one[1]), options)))
        return
    rows = []
    print("| negatives | bank MiB | naive s | naive MiB | streamed s | streamed MiB |")
    print("|---:|---:|---:|---:|---:|---:|")
    for count in options.negatives:
        bank = Bank(count // POINTS, POINTS, options.channels).features
        row: dict[str, float | None] = {"negatives": count, "bank": bank.nbytes / 2**20}
        for form in ("naive", "streamed"):
            row |= {f"{form} seconds": None, f"{form} mib": None}
            if form == "naive" and 4 * count * options.queries > options.most_gib * 2**30:
                continue
            command = [sys.executable, __file__, *sys.argv[1:], "--one", form, str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            for name, value in json.loads(done.stdout).items():
                row[f"{form} {name}"] = value
        rows.append(row)
        print("| " + " | ".join(map(told, row.values())) + " |", flush=True)
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
