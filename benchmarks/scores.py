"""How good are the labels? Every baseline and every model over every set at hand, in one table.

    python benchmarks/scores.py ../shared/data --out scores --write docs/results.md
    python benchmarks/scores.py ../shared/data --out scores --rows small dinov2=~/dinov2-small
    python benchmarks/scores.py ../shared/data --out scores --rows small --sequences car-shadow

A row is `copy`, `flow`, or a model as `liir track --model` takes it; NAME=WHAT gives it a name.
`--supervised NAME=DIR` adds the predictions of a method that learned from masks: DIR/SEQUENCE, or
DIR/BENCHMARK/SEQUENCE, for the sets that it has. All rows have the same references, label feedback
and scoring; temperature, top-k and radius are each model's own (`benchmarks/tune.py`). Predictions
are kept in --out: what is finished is not run again. A row that cannot be made stands in the table
with its reason, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

import liir
from liir.errors import InputError
from liir.evaluation.benchmarks import benchmark, evaluate
from liir.evaluation.flow import warped
from liir.evaluation.sources import copied

REPOSITORY = Path(__file__).resolve().parents[1]
ABLATION = REPOSITORY / "liir" / "weights" / "ablation"


class Set(NamedTuple):
    """A folder of data, how it is scored, what of the scores is shown, and what that is."""

    benchmark: str
    folder: str
    columns: dict[str, str]
    about: str


SETS = (
    Set("davis2016", "DAVIS", {"DAVIS J&F": "J&F-Mean"}, "DAVIS: J&F of DAVIS-2016"),
    Set(
        "davis2017",
        "multi",
        {"multi J&F": "J&F-Mean"},
        "multi: J&F, the mean over objects, in the manner of DAVIS-2017",
    ),
    Set(
        "semantic",
        "chen",
        {"chen mIoU": "mIoU"},
        "chen: mean IoU of clips of Chen and Corso 2010",
    ),
    Set(
        "badja",
        "DAVIS",
        {
            "keypoints PCK@0.1": "PCK@0.1",
            "PCK@0.2": "PCK@0.2",
            "PCK@0.2 area": "PCK@0.2 area",
        },
        "keypoints: joints of BADJA, within 0.1 and 0.2 of 0.6 x the diagonal of the visible "
        "joints' box, and within 0.2 x the square root of the area of the DAVIS-2016 mask (of "
        "horsejump-high with its rider)",
    ),
)
COLUMNS = [name for each in SETS for name in each.columns]
BASELINES = {"copy": copied, "flow": warped}
NAMES = {
    "copy": "copied first frame",
    "flow": "optical flow (DIS)",
    "rgb": "RGB colours",
    "lab": "Lab colours",
    "random:small": "random weights of `small`",
    "small-paper": "`small-paper`",
    "small": "**`small`**",
    "base": "**`base`**",
}
TRAINED = {"mast": "seed-0/mast/weights.safetensors"}
"""Rows whose weights are arms of the ladder in liir/weights/ablation (docs/ablations.md)."""
TUNED: dict[str, dict[str, Any]] = {
    "random:small": {"temperature": 0.01},
    "mast": {
        "similarity": "cosine",
        "temperature": 0.02,
        "topk": 5,
        "radius": 8,
        "feedback": "soft",
    },
}
"""What `benchmarks/tune.py` found for a row, where it is not what its model comes with."""


def about(data: Path, wanted: Sequence[str]) -> str:
    """What the columns are, and of which sequences.

    Raises:
        InputError: a set is not there, or a wanted sequence is of none.
    """
    told = []
    unknown = {*wanted}
    for each in SETS:
        if names := known(data, each, wanted):
            told.append(f"{each.about} ({', '.join(names)}).")
            unknown -= {*names}
    if unknown:
        raise InputError(f"no set has a sequence {min(unknown)}")
    return textwrap.fill(" ".join(told) + " Percent.", 100) + "\n"


def known(data: Path, each: Set, wanted: Sequence[str]) -> list[str]:
    """Sequences of a set that are asked for; all where none is named."""
    protocol = benchmark(each.benchmark, points(data, each))
    names = [sequence.name for sequence in protocol.sequences(data / each.folder)]
    return [name for name in names if not wanted or name in wanted]


def points(data: Path, each: Set) -> Path | None:
    return data / "keypoints" / "badja.csv" if each.benchmark == "badja" else None


def scores(
    data: Path, wanted: Sequence[str], options: dict[str, Any], out: Path | None
) -> list[str]:
    """The cells of a row, in percent."""
    cells = []
    for each in SETS:
        names = known(data, each, wanted)
        given = dict(options)
        folder = given.pop("folder", None)
        if folder is not None:
            inner = folder / each.benchmark
            given["predictions"] = folder = inner if inner.is_dir() else folder
            names = [name for name in names if (folder / name).is_dir()]
            if names and len(names) < len(known(data, each, wanted)):
                raise InputError(f"{folder}: predictions for {', '.join(names)} alone")
            # A folder of masks for a set of points says nothing of them.
            if each.benchmark == "badja":
                names = [name for name in names if (folder / name / "points.csv").is_file()]
        if not names:
            cells += [""] * len(each.columns)
            continue
        report = evaluate(
            each.benchmark,
            data / each.folder,
            points=points(data, each),
            sequences=names,
            out=out,
            **given,
        )
        if out is not None:
            (out / f"{each.benchmark}.json").write_text(report.to_json() + "\n")
        cells += [f"{100 * report.summary[score]:.1f}" for score in each.columns.values()]
    return cells


def row(text: str, given: argparse.Namespace) -> list[str]:
    """Name, settings and scores of a model or a baseline."""
    name, sign, what = text.partition("=")
    what = str(Path(what).expanduser()) if sign else name
    options: dict[str, Any] = {"workers": given.workers}
    settings = ""
    if what in BASELINES:
        options["source"] = BASELINES[what]
    else:
        model = liir.load(ABLATION / TRAINED[what] if what in TRAINED else what)
        config = replace(model.preset.tracking, **TUNED.get(what, {}))
        settings = f"{config.temperature:g}, {config.topk or 'all'}, {config.radius}"
        options |= {"model": model, "config": config}
    folder = given.out / name.replace(":", "-").replace("/", "-")
    cells = scores(given.data, given.sequences, options, folder)
    return [NAMES.get(name, name), settings, *cells]


def finished(text: str, given: argparse.Namespace) -> list[str]:
    """Name and scores of finished predictions."""
    name, _, folder = text.rpartition("=")
    options = {"folder": Path(folder).expanduser(), "workers": given.workers}
    cells = scores(given.data, given.sequences, options, None)
    return [name or Path(folder).name, "", *cells]


def table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(["", "τ, k, radius", *COLUMNS]) + " |"]
    lines.append("|---|---|" + "---:|" * len(COLUMNS))
    return "\n".join([*lines, *("| " + " | ".join(cells) + " |" for cells in rows)]) + "\n"


def document(told: str, rows: list[list[str]], others: list[list[str]], left_out: list[str]) -> str:
    """docs/results.md: the tables, what is not in them, and the command that makes them."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=REPOSITORY
    ).stdout.strip()
    command = " ".join(["python", "benchmarks/scores.py", *sys.argv[1:]])
    parts = [
        "# Results\n",
        f"Made by one command, at commit `{commit}`, with torch {torch.__version__}:\n",
        f"```sh\n{command}\n```\n",
        f"{told}\n`docs/protocols.md` tells what is counted, and how. τ, k and radius are the "
        "temperature, the top-k and the window of each model (`benchmarks/tune.py`).\n",
        "## Without labels\n",
        table(rows),
    ]
    if others:
        parts += ["## Trained on masks\n", table(others)]
    if left_out:
        parts += ["## Left out\n", "\n".join(f"- {reason}" for reason in left_out) + "\n"]
    return "\n".join(parts)


def main() -> None:
    """Prints the table row by row; writes the document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("scores"))
    default = ["copy", "flow", "rgb", "lab", "random:small", "mast", "small-paper", "small", "base"]
    parser.add_argument("--rows", nargs="*", default=default, metavar="[NAME=]WHAT")
    parser.add_argument("--supervised", nargs="*", metavar="NAME=DIR")
    parser.add_argument("--sequences", nargs="*", default=(), metavar="NAME")
    parser.add_argument("--workers", type=int, default=2, help="processes that score")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the document, docs/results.md")
    options = parser.parse_args()
    osvos = options.data / "oracle" / "osvos"
    if options.supervised is None:
        options.supervised = [f"OSVOS={osvos}"] if osvos.is_dir() else []
    try:
        told = about(options.data, options.sequences)
    except InputError as error:
        raise SystemExit(f"scores: error: {error}") from None
    rows: list[list[str]] = []
    others: list[list[str]] = []
    left_out: list[str] = []
    print(table([]), end="", flush=True)
    for make, found, texts in ((row, rows, options.rows), (finished, others, options.supervised)):
        for text in texts:
            try:
                found.append(make(text, options))
            except InputError as error:
                name = text.partition("=")[0]
                found.append([NAMES.get(name, name), "left out", *[""] * len(COLUMNS)])
                left_out.append(f"{text}: {error}.")
                print(f"left out: {left_out[-1]}", file=sys.stderr)
            print("| " + " | ".join(found[-1]) + " |", flush=True)
    if options.write:
        options.write.write_text(document(told, rows, others, left_out), "utf-8")
    if left_out:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
