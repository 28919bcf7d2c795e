"""Which temperature, top-k and radius suit a model best? Every row of scores.py gets its own.

    python benchmarks/tune.py ../shared/data rgb --temperature 0.0005 0.001 0.002 0.005 --topk 5 10
    python benchmarks/tune.py ../shared/data ~/dinov2-small --temperature 0.05 0.1 0.2 --radius 4 6

Prints J&F over a few sequences of DAVIS for every combination, the best last. Scores that are there
already in --out are not made again.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import replace
from pathlib import Path

import liir
from liir.evaluation.benchmarks import evaluate

SEQUENCES = ("blackswan", "car-shadow", "goat", "libby")


def main() -> None:
    """Prints a line for each combination."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--temperature", type=float, nargs="+")
    parser.add_argument("--topk", type=int, nargs="+")
    parser.add_argument("--radius", type=int, nargs="+")
    parser.add_argument("--sequences", nargs="+", default=SEQUENCES)
    parser.add_argument("--out", type=Path, default=Path("tuned"))
    options = parser.parse_args()
    model = liir.load(str(Path(options.model).expanduser()))
    own = model.preset.tracking
    path = options.out / f"{Path(options.model).stem.replace(':', '-')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text()) if path.is_file() else {}
    found = {}
    for temperature, topk, radius in itertools.product(
        options.temperature or [own.temperature],
        options.topk or [own.topk],
        options.radius or [own.radius],
    ):
        key = f"temperature {temperature:g}, topk {topk}, radius {radius}, {options.sequences}"
        if key not in known:
            config = replace(own, temperature=temperature, topk=topk, radius=radius)
            report = evaluate(
                "davis2016",
                options.data / "DAVIS",
                model,
                config=config,
                sequences=options.sequences,
            )
            known[key] = report.summary["J&F-Mean"]
            path.write_text(json.dumps(known, indent=1))
        found[key] = known[key]
        print(f"{100 * found[key]:5.1f}  {key}", flush=True)
    best = max(found, key=lambda key: found[key])
    print(f"best: {100 * found[best]:.1f}  {best}")


if __name__ == "__main__":
    main()
