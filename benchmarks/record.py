"""What every benchmark shares: the clock, the memory, processes of their own, and what is kept.

A report is JSON: {"benchmark", "machine", "rows"}, each row flat but for spreads; beside it lies a
plot of the same name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from liir.errors import InputError
from liir.show import plot

REPOSITORY = Path(__file__).resolve().parents[1]
Spread = dict[str, float]
"""Median, least and most of some runs, and how many there were."""
Report = dict[str, Any]

# Not used by all: where the process began, for peaks on Linux, macOS and CUDA alike.
_UNIT = 1 << 20 if sys.platform == "darwin" else 1 << 10


def spread(values: Sequence[float]) -> Spread:
    return {
        "median": statistics.median(values),
        "least": min(values),
        "most": max(values),
        "runs": len(values),
    }


def timed(
    function: Callable[[], object],
    *,
    runs: int = 8,
    budget: float = 20.0,
    device: torch.device | None = None,
) -> Spread:
    """Seconds of a call; see `timed_in_turns`."""
    return timed_in_turns(function, runs=runs, budget=budget, device=device)[0]


def timed_in_turns(
    *functions: Callable[[], object],
    runs: int = 8,
    budget: float = 20.0,
    device: torch.device | None = None,
) -> list[Spread]:
    """Seconds of a call of each of several functions, which take turns: a machine has its moods.

    The first turn does not count, unless it alone uses up the budget.

    Args:
        functions: What to call.
        runs: Turns that count, at most.
        budget: Seconds after which no further turn begins.
        device: Waited for, where it works on its own (CUDA).
    """
    began = time.perf_counter()
    turns: list[list[float]] = []
    while len(turns) <= runs:
        turns.append([])
        for function in functions:
            start = time.perf_counter()
            function()
            synchronise(device)
            turns[-1].append(time.perf_counter() - start)
        if time.perf_counter() - began > budget:
            break
    return [spread(list(seconds)) for seconds in zip(*(turns[1:] or turns), strict=True)]


def synchronise(device: torch.device | None) -> None:
    """Waits for what a GPU still has to do."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


def peak(device: torch.device | None = None) -> float:
    """MiB that this process (on CUDA: its allocator) has taken at most so far."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _UNIT


def free_bytes() -> float:
    """Memory that a process may still take; infinite where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024.0 * next(int(x.split()[1]) for x in lines if x.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return float("inf")


def alone(script: str, job: dict[str, Any], *, kernel: bool = True) -> dict[str, Any]:
    """One measurement in a process of its own, so that its memory is its own.

    Args:
        script: The benchmark's file; called with `--one` it measures a job and prints a row.
        job: What to measure.
        kernel: False leaves the compiled kernel out.

    Raises:
        SystemExit: It failed, and said why on the error stream.
    """
    environment = dict(os.environ) if kernel else os.environ | {"LIIR_KERNEL": "0"}
    command = [sys.executable, script, "--one", json.dumps(job)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{Path(script).name} failed on {job}")
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def options(doc: str | None) -> argparse.ArgumentParser:
    """A command line with what all benchmarks take."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps")
    parser.add_argument("--threads", type=int, default=0, help="default: as torch chooses")
    parser.add_argument("--out", type=Path, default=Path("bench"), help="folder of JSON and plot")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    return parser


def window_options(doc: str | None) -> argparse.ArgumentParser:
    """The same, and the size of a frame's matching."""
    parser = options(doc)
    parser.add_argument("--cells", type=int, nargs=2, default=[120, 214], metavar=("H", "W"))
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--radius", type=int, default=12)
    parser.add_argument("--references", type=int, default=5)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--runs", type=int, default=8)
    return parser


def one(
    given: argparse.Namespace, measure: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any] | None:
    """The row of a process started by `alone`, printed; None in the process that the user began."""
    threads = given.threads if given.one is None else given.one["threads"]
    if threads:
        torch.set_num_threads(threads)
    if given.one is None:
        return None
    row = measure(given.one)
    print(json.dumps(row))
    return row


def machine() -> dict[str, Any]:
    """What was measured, and on what."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude", "*"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
        commit = told.stdout.strip()
    except OSError:
        commit = ""
    about = {
        "commit": commit or "unknown",
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }
    return about | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def _processor() -> str:
    """Its name and, as that may say little, the number formats that it multiplies in."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    kinds = {
        "AVX-512": torch.cpu._is_avx512_supported(),
        "AVX-512 bf16": torch.cpu._is_avx512_bf16_supported(),
        "AMX": torch.cpu._is_amx_tile_supported(),
    }
    return ", ".join([name, *(kind for kind, there in kinds.items() if there)])


def report(script: str, rows: list[dict[str, Any]], **more: Any) -> Report:
    return {"benchmark": Path(script).stem, "machine": machine(), "rows": rows, **more}


def keep(found: Report, out: Path, draw: Callable[[Report], Any]) -> None:
    """Writes NAME.json and NAME.png, and says so."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{found['benchmark']}.json"
    path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(f"\n{path}")
    try:
        picture = plot.drawn(draw(found))
    except InputError as error:  # no matplotlib
        print(f"no plot: {error}", file=sys.stderr)
        return
    Image.fromarray(picture).save(path.with_suffix(".png"))
    print(path.with_suffix(".png"))


def told(value: Any) -> str:
    """A cell of a table: a number as long as it need be; a dash for what was left out."""
    if isinstance(value, dict):
        return f"{told(value['median'])} ({told(value['least'])} to {told(value['most'])})"
    if value is None:
        return "-"
    if isinstance(value, float):
        size = abs(value)
        return f"{value:,.0f}" if size >= 100 else f"{value:.3g}" if size < 1 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def table(rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> Iterator[str]:
    """Lines of a Markdown table.

    Args:
        rows: What was found; columns that a row lacks get a dash.
        columns: Key of a row to its heading; the first is text.
    """
    yield "| " + " | ".join(columns.values()) + " |"
    yield "|---|" + "---:|" * (len(columns) - 1)
    for row in rows:
        yield "| " + " | ".join(told(row.get(key)) for key in columns) + " |"


def tell(row: dict[str, Any], columns: dict[str, str], first: bool) -> None:
    """Prints a row as soon as it is there, below the heading if it is the first."""
    lines = list(table([row], columns))
    print("\n".join(lines if first else lines[2:]), flush=True)
