"""How long does a frame take, where does the time go, and does memory stay flat?

Labels a made-up 480x854 clip of moving discs as `liir track` does: decoding, encoding, matching,
up-sampling, drawing and writing, all included. Then times each part alone, and what the machine
does at best.

    python benchmarks/tracking.py                             # small and base, 110 frames
    python benchmarks/tracking.py --models small --radius 0   # 0: the model's own window
    python benchmarks/tracking.py --frames 3000 --kernel on   # memory at frame 100 and at the end
    python benchmarks/tracking.py --models runs/mine/weights.safetensors --objects 8 --size 720
    python benchmarks/tracking.py --device cuda --dtype bfloat16

Each row is a process of its own. `base` has random weights where none are bundled: time does not
depend on them. What runs without the compiled kernel is timed for a third of the frames.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import limits
import numpy as np
import record
import torch
from clip import make_clip

import liir
from liir import kernel
from liir.annotations import Annotation
from liir.errors import InputError
from liir.export import CocoWriter, write_label_png
from liir.figures import draw_overlay, legible_scale
from liir.labelling import Progress, label_video
from liir.matching import match, normalise
from liir.presets import TrackingConfig
from liir.show import plot
from liir.video import VideoWriter, open_video

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STRETCHES = 5  # parts of the run whose seconds a frame are compared
PARTS = ("decode", "encode", "match", "up-sample", "write")
COLUMNS = {
    "name": "",
    "seconds": "seconds a frame",
    "rate": "frames/s",
    "over_limit": "over limit",
    **{part: part for part in PARTS},
    "early": "peak MiB, frame 100",
    "peak": "peak MiB, last frame",
}


@dataclass(frozen=True)
class Job:
    """What is labelled, and how.

    Attributes:
        model: As `liir track --model` takes it.
        device: As `liir.load` takes it.
        dtype: Likewise.
        threads: Of torch; 0: as it chooses.
        frames: Of the clip.
        warm: Frames before the clock starts: caches fill, all references are there.
        size: Short side of the clip and of the pictures that are encoded.
        objects: In the clip.
        radius: Of the window in every reference, in cells; 0: the model's own.
        references: Matched at most; 0: those of the model.
        every: Frames between two looks at the memory.
        parts: Whether each part is timed alone.
    """

    model: str = "small"
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    frames: int = 110
    warm: int = 10
    size: int = 480
    objects: int = 1
    radius: int = 0
    references: int = 0
    every: int = 100
    parts: bool = True

    @property
    def frame_size(self) -> tuple[int, int]:
        """(H, W) of the clip, 16:9."""
        return self.size, round(self.size * 16 / 9 / 2) * 2


def load(job: Job) -> tuple[liir.Model, TrackingConfig]:
    """The model, with random weights where none are bundled, and its settings."""
    try:
        model = liir.load(job.model, device=job.device, dtype=job.dtype)
    except InputError:
        if job.model not in liir.presets.PRESETS:
            raise
        model = liir.load(f"random:{job.model}", device=job.device, dtype=job.dtype)
    config = dataclasses.replace(model.preset.tracking, size=job.size)
    if job.radius:
        config = dataclasses.replace(config, radius=job.radius, lasting_margin=0)
    if job.references:
        recent = tuple(range(job.references, 0, -1))
        config = dataclasses.replace(config, annotated=0, first=(), recent=recent)
    return model, config


def measure(given: dict[str, Any]) -> dict[str, Any]:
    """A row: whole, parts, memory and limit."""
    job = Job(**given)
    model, config = load(job)
    clock: dict[int, float] = {}
    memory: dict[int, float] = {}

    def watch(progress: Progress) -> None:
        clock[progress.done] = time.perf_counter()
        if progress.done % job.every == 0 or progress.done == job.frames:
            memory[progress.done] = record.peak(model.device)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        labels = make_clip(path, job.frames, job.frame_size, job.objects)
        label_video(model, path, {0: labels}, Path(folder, "out"), config=config, progress=watch)
        seconds = stretches(clock, job.warm, job.frames)
        parts, radii = one_by_one(model, path, labels, config, job.parts)
    size = encoded_size(model, job)
    limit, work = limits.of_tracking(model, size, radii)
    least = limit.seconds(work["encoder"], work["matching"])
    return asdict(job) | {
        "name": job.model,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(model.device),
        "kernel": kernel.usable(),
        "radii": radii,
        "references": len(radii),
        "seconds": seconds,
        "rate": 1 / seconds["median"],
        "limit_seconds": least,
        "over_limit": seconds["median"] / least,
        "gflop": {name: flops / 1e9 for name, flops in work.items()},
        **parts,
        "early": memory.get(100),
        "peak": memory[job.frames],
        "memory": memory,
        "clock": {done: clock[done] - clock[1] for done in memory},
        "limit": limit.told(),
    }


def stretches(clock: dict[int, float], warm: int, frames: int) -> record.Spread:
    """Seconds a frame of a few equal stretches: what is done in the background shows in a mean."""
    warm = max(1, min(warm, frames - 1))
    parts = min(STRETCHES, frames - warm)
    ends = [round(float(end)) for end in np.linspace(warm, frames, parts + 1)]
    return record.spread([(clock[b] - clock[a]) / (b - a) for a, b in pairwise(ends)])


def encoded_size(model: liir.Model, job: Job) -> tuple[int, int]:
    """(H, W) of the pictures that are encoded."""
    height, width = liir.grid.Grid(*job.frame_size, job.size, model.device).picture
    return height, width


def one_by_one(
    model: liir.Model, path: Path, labels: Annotation, config: TrackingConfig, wanted: bool
) -> tuple[dict[str, record.Spread], list[int]]:
    """Seconds a frame of each part alone, where that is wanted; and the windows of a late frame.

    What is timed on the side, so that it does not add up to the whole: parts overlap there, and
    reading out references, votes and newcomers are not among them.
    """
    frames = []
    for frame in open_video(path).frames():
        frames.append(frame)
        if len(frames) > max(12, *config.recent):
            break
    tracker = liir.Tracker(model, config)
    result = tracker.step(frames[0], labels)
    for frame in frames[1:-1]:
        result = tracker.step(frame)
    references = tracker.memory.references(tracker.count)
    radii = tracker.memory.radii(references)
    if not wanted:
        return {}, radii
    grid = result.grid
    picture = grid.resize(frames[-1].rgb)
    query = normalise(model.encode(picture), config.similarity)
    keys = torch.stack([r.keys.permute(1, 2, 0) for r in references]).permute(0, 3, 1, 2)
    calls: dict[str, Callable[[], object]] = {
        "encode": lambda: model.encode(picture),
        "match": lambda: match(
            query,
            keys,
            radius=radii,
            topk=config.topk or 5,
            temperature=config.temperature,
        ),
        # Labels are kept by a result once they have been asked for.
        "up-sample": lambda: dataclasses.replace(result).labels,
    }
    with torch.inference_mode():
        parts = {name: record.timed(call, device=model.device) for name, call in calls.items()}
    return {
        "decode": _a_frame(lambda: sum(1 for _ in open_video(path).frames(0, 24)), frames=24),
        **parts,
        "write": _a_frame(lambda: write(result, path.parent / "parts"), frames=8),
    }, radii


def _a_frame(call: Callable[[], object], frames: int) -> record.Spread:
    seconds = record.timed(call, runs=4)
    return {key: value / (1 if key == "runs" else frames) for key, value in seconds.items()}


def write(result: liir.tracking.Result, folder: Path, frames: int = 8) -> None:
    """Draws and writes the files of some frames, as a job does in the background."""
    folder.mkdir(exist_ok=True)
    height, width = result.labels.shape
    with VideoWriter(folder / "overlay.mp4") as video, CocoWriter(folder / "labels.json") as coco:
        for index in range(frames):
            write_label_png(folder / f"{index:05}.png", result.labels)
            coco.write(index, result.labels, result.objects)
            scale = legible_scale(width, height)
            video.write(draw_overlay(result.rgb, result.labels, {}, scale=scale), index / 25)


def describe(row: dict[str, Any]) -> str:
    """What a row is, in words."""
    with_kernel = "" if row["kernel"] else ", no kernel"
    radii = " and ".join(map(str, dict.fromkeys(row["radii"])))
    return f"{row['model']}, {row['dtype']}, radius {radii}{with_kernel}"


def tables(found: record.Report) -> str:
    """Markdown."""
    return "\n".join(record.table(found["rows"], COLUMNS))


def draw(found: record.Report) -> Figure:
    """The parts of each row end to end; beside them the whole, and what the machine allows."""
    rows = found["rows"]
    made = plot.figure(900, 170 + 62 * len(rows))
    axes = made.add_subplot()
    for place, row in enumerate(rows):
        left = 0.0
        for number, part in enumerate(PARTS):
            long = row[part]["median"] if part in row else 0.0
            label = f"{part}, alone" if place == 0 else None
            colour = plot.line(number)["color"]
            axes.barh(place + 0.2, long, 0.34, left=left, color=colour, label=label)
            left += long
        whole = row["seconds"]
        sides = [[whole["median"] - whole["least"]], [whole["most"] - whole["median"]]]
        label = "the whole, parts overlapping" if place == 0 else None
        style = {"color": "#b8b8b8", "label": label, "xerr": sides, "ecolor": "#555555"}
        axes.barh(place - 0.2, whole["median"], 0.34, **style)
        least, limit = row["limit_seconds"], "limit" if place == 0 else None
        axes.plot([least] * 2, [place - 0.42, place + 0.42], color="black", lw=2.5, label=limit)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("seconds a frame")
    plot.plain(axes, f"Tracking, {rows[0]['size']} pixels, {rows[0]['threads'] or 'all'} threads")
    made.legend(loc="outside lower center", ncols=4, frameon=False)
    return made


def main() -> None:
    """Prints a Markdown table; keeps JSON and a plot."""
    parser = record.options(__doc__)
    parser.add_argument("--models", nargs="+", default=["small", "base"])
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--frames", type=int, default=110)
    parser.add_argument("--size", type=int, default=480, help="short side of clip and features")
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument(
        "--radius", type=int, nargs="+", default=[0, 12], help="of the window; 0: the model's own"
    )
    parser.add_argument("--kernel", choices=["both", "on", "off"], default="both")
    given = parser.parse_args()
    if record.one(given, measure):
        return
    forms = {"both": (True, False), "on": (True,), "off": (False,)}[given.kernel]
    shared = {key: getattr(given, key) for key in ("device", "dtype", "threads", "size", "objects")}
    rows: list[dict[str, Any]] = []
    for model in given.models:
        for radius in given.radius:
            for compiled in forms:
                frames = given.frames if compiled or len(forms) == 1 else max(15, given.frames // 3)
                job = Job(model=model, radius=radius, frames=frames, **shared)
                row = record.alone(__file__, asdict(job), kernel=compiled)
                rows.append(row | {"name": describe(row)})
                record.tell(rows[-1], COLUMNS, first=len(rows) == 1)
    record.keep(record.report(__file__, rows), given.out, draw)


if __name__ == "__main__":
    main()
