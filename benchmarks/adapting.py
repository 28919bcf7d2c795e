"""What does adapting to a clip gain? Each clip before and after `liir adapt` on its frames alone.

    python benchmarks/adapting.py ../shared/data --out adapted
    python benchmarks/adapting.py ../shared/data --out adapted --model base --minutes 10
    python benchmarks/adapting.py ../shared/data --out adapted --sequences goat bus --steps 200

No label is used in adapting. Scores are those of `benchmarks/scores.py`: J&F of each sequence of
DAVIS, mean IoU of each clip of Chen and Corso. With --forget the adapted weights label the other
clips of the set, too, to see what they lose. What is in --out is not made again. Let nothing else
run: minutes are minutes of the machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from scores import SETS, Set, known

import liir
from liir.encoder import Model, read_header
from liir.errors import InputError
from liir.evaluation.benchmarks import evaluate
from liir.files import written
from liir.learning.adapting import adapt
from liir.show.takes import Stage

MEASURED = ("davis2016", "semantic")
HEAD = ("clip", "frames", "before", "after", "gain", "minutes")


def score(data: Path, each: Set, names: Sequence[str], model: Model) -> float:
    """Of some clips, in percent."""
    report = evaluate(each.benchmark, data / each.folder, model, sequences=names)
    return 100 * report.summary[next(iter(each.columns.values()))]


def measure(data: Path, each: Set, name: str, given: argparse.Namespace) -> dict[str, float]:
    """A clip before and after; minutes of training."""
    frames = Stage(each.benchmark, data / each.folder).clip(name).folder
    weights = given.out / f"{name}.safetensors"
    model = liir.load(given.model)
    found = {"frames": float(len([*frames.iterdir()])), "before": score(data, each, [name], model)}
    length = {"steps": given.steps} if given.steps else {"minutes": given.minutes}
    if not weights.exists():
        adapt([frames], given.model, weights, **length)
    adapted = liir.load(weights)
    found["after"] = score(data, each, [name], adapted)
    found["minutes"] = float(read_header(weights)[1]["seconds"]) / 60
    if given.forget:
        others = [other for other in known(data, each, ()) if other != name]
        kept = score(data, each, others, adapted) - score(data, each, others, model)
        found["forgotten"] = -kept
    return found


def table(rows: dict[str, dict[str, float]], forget: bool) -> str:
    """Markdown: a row a clip, then means."""
    head = [*HEAD, "others lose"] if forget else [*HEAD]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for name, row in rows.items():
        cells = [name, f"{row['frames']:.0f}", f"{row['before']:.1f}", f"{row['after']:.1f}"]
        cells += [f"{row['after'] - row['before']:+.1f}", f"{row['minutes']:.1f}"]
        cells += [f"{row['forgotten']:.1f}"] if forget else []
        lines.append("| " + " | ".join(cells) + " |")
    gains = [row["after"] - row["before"] for row in rows.values()]
    told = f"mean gain {mean(gains):+.1f}, worst {min(gains):+.1f}, best {max(gains):+.1f}, "
    told += f"{mean(row['minutes'] for row in rows.values()):.1f} minutes on average"
    return "\n".join(lines) + f"\n\n{told}\n"


def main() -> None:
    """Prints the table when all clips are done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="adapted weights and scores")
    parser.add_argument("--model", default="small")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--steps", type=int, help="of each, instead of minutes")
    parser.add_argument("--sequences", nargs="*", default=(), metavar="NAME")
    parser.add_argument("--forget", action="store_true", help="score the other clips, too")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, float]] = {}
    try:
        for each in SETS:
            for name in known(data := given.data, each, given.sequences):
                if each.benchmark not in MEASURED:
                    continue
                kept = given.out / f"{name}.json"
                if not kept.exists():
                    with written(kept) as partial:
                        partial.write_text(json.dumps(measure(data, each, name, given)) + "\n")
                rows[name] = json.loads(kept.read_text("utf-8"))
                print(name, rows[name], flush=True)
    except InputError as error:
        raise SystemExit(f"adapting: error: {error}") from None
    if rows:
        print(table(rows, given.forget))


if __name__ == "__main__":
    main()
