"""What does adapting to a clip gain? Each clip before and after `liir adapt` on its frames alone.

    python benchmarks/adapting.py ../shared/data --out adapted
    python benchmarks/adapting.py ../shared/data --out adapted --model base --minutes 10
    python benchmarks/adapting.py ../shared/data --out adapted --sequences goat bus --steps 200
    python benchmarks/adapting.py ../shared/data --out adapted --shares 0.1 1

Columns are the shares of the way from the weights before to what they become that are kept
(`liir adapt --share`), all of one training. No label is used in adapting. Scores are those of
`benchmarks/scores.py`: J&F of each sequence of DAVIS, mean IoU of each clip of Chen and Corso. With
--grey all frames are without colour, and with --forget the adapted weights label the other clips of
the set, too, to see what they lose. What is in --out is not made again. Let nothing else run:
minutes are minutes of the machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from PIL import Image
from scores import SETS, Set, known

import liir
from liir.encoder import Model, find_weights, read_header, read_weights, ready
from liir.errors import InputError
from liir.evaluation.benchmarks import evaluate
from liir.files import written
from liir.learning.adapting import GREY_SHARE, SHARE, adapt
from liir.learning.objective import approach
from liir.show.takes import Stage

MEASURED = ("davis2016", "semantic")
SHARES = (0.25, 0.5, 1.0)


def score(data: Path, each: Set, names: Sequence[str], model: Model) -> float:
    """Of some clips, in percent."""
    report = evaluate(each.benchmark, data / each.folder, model, sequences=names)
    return 100 * report.summary[next(iter(each.columns.values()))]


def without_colour(data: Path, out: Path) -> Path:
    """The sets that are measured, once more: photographs grey, all other files linked."""
    for each in (one for one in SETS if one.benchmark in MEASURED):
        folder = data / each.folder
        for path in folder.rglob("*"):
            made = out / each.folder / path.relative_to(folder)
            if path.is_dir() or made.exists():
                continue
            made.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".jpg":
                Image.open(path).convert("L").convert("RGB").save(made, quality=95)
            else:
                made.symlink_to(path.resolve())
    return out


def kept(whole: Path, share: float, given: argparse.Namespace) -> Model:
    """The model that keeps a share of what was learned."""
    encoder, preset = find_weights(given.model)
    approach(encoder, read_weights(whole)[0], share)
    return ready(encoder, preset, f"{given.model} {share}", "auto", "auto")


def measure(data: Path, each: Set, name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Adds to what is known of a clip: frames, scores before and by share, minutes of training."""
    told, whole = given.out / f"{name}.json", given.out / f"{name}.safetensors"
    row: dict[str, Any] = json.loads(told.read_text("utf-8")) if told.exists() else {"after": {}}
    frames = Stage(each.benchmark, data / each.folder).clip(name).folder
    others = [other for other in known(data, each, ()) if other != name]
    if not whole.exists():
        length = {"steps": given.steps} if given.steps else {"minutes": given.minutes}
        adapt([frames], given.model, whole, share=1.0, **length)
    row["frames"] = len([*frames.iterdir()])
    row["minutes"] = float(read_header(whole)[1]["seconds"]) / 60
    if "before" not in row:
        row["before"] = score(data, each, [name], liir.load(given.model))
    for share in given.shares:
        if f"{share:g}" not in row["after"]:
            row["after"][f"{share:g}"] = score(data, each, [name], kept(whole, share, given))
    if given.forget and "others" not in row:
        models = liir.load(given.model), kept(whole, GREY_SHARE if given.grey else SHARE, given)
        row["others"] = [score(data, each, others, model) for model in models]
    with written(told) as partial:
        partial.write_text(json.dumps(row) + "\n")
    return row


def table(rows: dict[str, dict[str, Any]], given: argparse.Namespace) -> str:
    """Markdown: a row a clip, then means."""
    head = ["clip", "frames", "before", *(f"{share:g}" for share in given.shares)]
    head += ["others"] if given.forget else []
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    gains: dict[float, list[float]] = {share: [] for share in given.shares}
    for name, row in rows.items():
        for share, of in gains.items():
            of.append(row["after"][f"{share:g}"] - row["before"])
        cells = [name, str(row["frames"]), f"{row['before']:.1f}"]
        cells += [f"{of[-1]:+.1f}" for of in gains.values()]
        cells += [f"{row['others'][1] - row['others'][0]:+.1f}"] if given.forget else []
        lines.append("| " + " | ".join(cells) + " |")
    for what, of_all in (("mean", mean), ("worst", min), ("best", max)):
        cells = [f"*{what}*", "", "", *(f"{of_all(of):+.1f}" for of in gains.values())]
        lines.append("| " + " | ".join([*cells, *([""] if given.forget else [])]) + " |")
    minutes = mean(row["minutes"] for row in rows.values())
    return "\n".join(lines) + f"\n\n{minutes:.1f} minutes of training on average\n"


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
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES, metavar="S")
    parser.add_argument("--forget", action="store_true", help="score the other clips, too")
    parser.add_argument("--grey", action="store_true", help="frames without colour")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    data = without_colour(given.data, given.out / "grey") if given.grey else given.data
    rows: dict[str, dict[str, Any]] = {}
    try:
        for each in (one for one in SETS if one.benchmark in MEASURED):
            for name in known(data, each, given.sequences):
                rows[name] = measure(data, each, name, given)
                print(name, rows[name], flush=True)
    except InputError as error:
        raise SystemExit(f"adapting: error: {error}") from None
    if rows:
        print(table(rows, given))


if __name__ == "__main__":
    main()
