"""How good are the labels? Every set of ../shared/data, by its protocol, one row a model.

    python benchmarks/scores.py ../shared/data --out scores --models copy random:small small

Finished sequences are kept in --out and not run again. J&F: mean over objects; chen: mean over
clips of the mean IoU of classes; keypoints: mean over sequences of the PCK.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

import liir
from liir.evaluation.benchmarks import copied, evaluate

SETS = {
    "DAVIS J&F": ("davis2016", "DAVIS", "J&F-Mean"),
    "multi J&F": ("davis2017", "multi", "J&F-Mean"),
    "chen mIoU": ("semantic", "chen", "mIoU"),
    "keypoints PCK@0.1": ("badja", "DAVIS", "PCK@0.1"),
    "keypoints PCK@0.2": ("badja", "DAVIS", "PCK@0.2"),
}


def row(name: str, data: Path, out: Path) -> list[str]:
    """The scores of one model, in percent."""
    model = None if name == "copy" else liir.load(name)
    cells, done = [name], {}
    for benchmark, folder, score in SETS.values():
        if benchmark not in done:
            report = evaluate(
                benchmark,
                data / folder,
                model,
                source=copied if model is None else None,
                points=data / "keypoints" / "badja.csv" if benchmark == "badja" else None,
                out=out / name.replace(":", "-"),
            )
            done[benchmark] = report.summary
            path = out / name.replace(":", "-") / f"{benchmark}.json"
            path.write_text(report.to_json() + "\n")
        cells.append(f"{100 * done[benchmark][score]:.1f}")
    return cells


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("scores"))
    parser.add_argument("--models", nargs="+", default=["copy", "random:small", "small"])
    options = parser.parse_args()
    print("| | " + " | ".join(SETS) + " |")
    print("|---|" + "---:|" * len(SETS))
    for name in options.models:
        print("| " + " | ".join(row(name, options.data, options.out)) + " |", flush=True)
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
