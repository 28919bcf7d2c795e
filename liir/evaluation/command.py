"""The verb `liir evaluate`: options, checks of them, and what it says in the end."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from liir.errors import InputError
from liir.files import written
from liir.settings import parse_settings
from liir.terminal import (
    Count,
    Dtype,
    Name,
    Settings,
    bar,
    check_file,
    check_out,
    set_threads,
    with_flags,
)


def evaluate(
    benchmark: Annotated[Positional[str], arg(metavar="BENCHMARK")],
    root: Annotated[Positional[Path], arg(metavar="ROOT")],
    /,
    *,
    model: Annotated[str | None, arg(metavar="NAME")] = None,
    predictions: Annotated[Path | None, arg(metavar="DIR")] = None,
    baseline: Annotated[Literal["copy", "flow"] | None, arg(metavar="copy|flow")] = None,
    points: Annotated[Path | None, arg(metavar="CSV")] = None,
    split: Annotated[str | None, arg(metavar="NAME")] = None,
    sequences: Annotated[tuple[str, ...], arg(metavar="NAME...")] = (),
    out: Annotated[Path | None, arg(metavar="DIR")] = None,
    json: Annotated[Path | None, arg(metavar="FILE")] = None,
    csv: Annotated[Path | None, arg(metavar="FILE")] = None,
    workers: Count = None,
    device: Name = "auto",
    dtype: Dtype = "auto",
    threads: Count = None,
    size: Count = None,
    square: Count = None,
    setting: Settings = (),
) -> str:
    """Score a model, finished predictions or a baseline; prints a table.

    $ liir evaluate davis2016 DAVIS --model small --json scores.json
    $ liir evaluate davis2017 DAVIS --predictions results/
    $ liir evaluate davis2016 DAVIS --model random:small
    $ liir evaluate davis2016 DAVIS --baseline copy
    $ liir evaluate davis2017 DAVIS --split test-dev --out results

    docs/protocols.md tells what each benchmark counts, and how.

    Args:
        benchmark: davis2016, davis2017, youtube-vos; vip, vip-instances (body parts); jhmdb,
            badja (joints); semantic (folders of class maps), points (clips and a CSV).
        root: The data set's folder.
        model: As in liir track, or rgb, lab, or a folder with a DINOv2; small if nothing else is
            to be scored.
        predictions: Score finished predictions: DIR/SEQUENCE/00000.png, or points.csv; or those
            that --out DIR kept.
        baseline: Score what repeats the first annotation, or carries it along optical flow.
        points: Table for badja or points, if not the one in ROOT.
        split: Another split than val, or 1 of jhmdb. Of those whose truth is hidden (test-dev of
            davis2017, valid of youtube-vos) a zip for the server is made, in --out.
        sequences: Only these.
        out: Keep predictions in DIR/BENCHMARK; sequences that are there are not run again.
        json: Write all scores to a file.
        csv: The same as a table.
        workers: Processes that score predictions in files; as many as cores for --predictions,
            none beside a model, if not given.
        device: auto, cpu, cuda, cuda:1, mps, ...
        dtype: Number format; auto is bfloat16 where the device is fast in it.
        threads: Threads to compute with.
        size: As in liir track.
        square: Squeeze frames to N x N pixels, as is done for jhmdb (320) and vip (560).
        setting: As in liir track.
    """
    chosen = [name for name in (model, predictions, baseline) if name is not None]
    texts = with_flags(setting, size=size)
    if len(chosen) > 1:
        raise InputError("give one of --model, --predictions and --baseline")
    for text in with_flags(texts, square=square):
        if predictions or baseline:
            raise InputError(f"{text!r} is a setting of a model: leave it out")
    if size is not None and square is not None:
        raise InputError("--size and --square are two ways to say the same: give one of them")
    changes = parse_settings(texts, "tracking")["tracking"]
    set_threads(threads)
    if out is not None:
        check_out(out)
    for file in (json, csv):
        if file is not None:
            check_file(file)
    from liir.evaluation import benchmarks
    from liir.evaluation.flow import warped
    from liir.evaluation.sources import copied

    # Complains before the model is loaded.
    every = benchmarks.benchmark(benchmark, points, split).sequences(root)
    if (json or csv) and any(each.hidden for each in every):
        raise InputError(f"{root}: the truth is hidden, no score to write: leave {json or csv} out")
    loaded = config = None
    if not (predictions or baseline):
        from liir.backbones import load

        loaded = load(model or "small", device=device, dtype=dtype)
        config = dataclasses.replace(loaded.preset.tracking, **changes)
    with bar("frame") as show:
        options: dict[str, Any] = {"predictions": predictions, "points": points, "out": out}
        source = {"copy": copied, "flow": warped}.get(baseline or "")
        options |= {"source": source, "sequences": sequences, "split": split, "square": square}
        spare = (os.cpu_count() or 1) if predictions else 0
        options["workers"] = spare if workers is None else workers
        options["progress"] = lambda state: show(state.done, state.total, 0, state.sequence)
        report = benchmarks.evaluate(benchmark, root, loaded, config=config, **options)
    for path, text in ((json, report.to_json() + "\n"), (csv, report.to_csv())):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with written(path) as partial:
                partial.write_text(text, "utf-8")
    if report.archive is not None:
        return f"for the server  {report.archive}"
    if not report.rows:
        return "predictions are kept; the archive is made when those of all sequences are there"
    return report.to_markdown().rstrip()
