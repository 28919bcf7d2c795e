"""How long does it take to score DAVIS, beside the vos-benchmark package on the same masks?

    pip install opencv-python-headless scikit-image && pip install --no-deps vos-benchmark
    python benchmarks/scoring.py ../shared/data

Both score the masks of OSVOS on the sequences at hand, each with the same number of processes and
in turn, several times; the ratio is that of the medians. Starting the processes is included. The
two mean J&F are printed, too: they must be equal.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def timed(function: Callable[[], float]) -> tuple[float, float]:
    """Seconds, and what came out."""
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def main() -> None:
    """Prints seconds of both, and the ratio."""
    # Here, for liir's processes import this file, and do without torch.
    from vos_benchmark.benchmark import benchmark

    from liir.evaluation.benchmarks import evaluate

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sequences", nargs="*", default=())
    options = parser.parse_args()
    masks = options.data / "oracle" / "osvos"
    truth = options.data / "DAVIS" / "Annotations" / "480p"
    names = options.sequences or sorted(path.name for path in truth.iterdir())

    def ours() -> float:
        workers = 0 if options.processes == 1 else options.processes
        report = evaluate(
            "davis2016",
            options.data / "DAVIS",
            predictions=masks,
            sequences=names,
            workers=workers,
        )
        return 100 * report.summary["J&F-Mean"]

    with tempfile.TemporaryDirectory() as folder:
        # It writes among the predictions, and takes every folder that it finds.
        for kind, source in (("truth", truth), ("masks", masks)):
            Path(folder, kind).mkdir()
            for name in names:
                Path(folder, kind, name).symlink_to((source / name).resolve())

        def theirs() -> float:
            roots = [str(Path(folder, "truth"))], [str(Path(folder, "masks"))]
            Path(folder, "masks", "results.csv").unlink(missing_ok=True)  # it would skip the set
            both, *_ = benchmark(*roots, verbose=False, num_processes=options.processes)
            return float(both[0])

        ours(), theirs()  # files are read once before the clock starts
        times: dict[str, list[float]] = {"liir": [], "vos-benchmark": []}
        values = {}
        for _ in range(options.runs):
            for name, function in (("liir", ours), ("vos-benchmark", theirs)):
                seconds, values[name] = timed(function)
                times[name].append(round(seconds, 3))
    medians = {name: statistics.median(each) for name, each in times.items()}
    report = {
        "sequences": len(names),
        "processes": options.processes,
        "J&F": values,
        "seconds": times,
        "ratio, vos-benchmark / liir": round(medians["vos-benchmark"] / medians["liir"], 2),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
