"""How long does a frame take, where does the time go, and does memory stay flat?

Labels a made-up 480x854 clip of one moving object as `liir track` does: decoding, encoding,
matching, up-sampling, drawing and writing, all included. Then times each part alone.

    python benchmarks/tracking.py                   # small, 200 frames
    python benchmarks/tracking.py --radius 12       # a smaller window than the model's own
    python benchmarks/tracking.py --frames 1000     # memory at frame 100 and at frame 1000
    python benchmarks/tracking.py --model base --threads 1 --dtype float32
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import liir
from liir.annotations import Annotation
from liir.labelling import Progress, label_video
from liir.matching import match, normalise
from liir.presets import TrackingConfig
from liir.video import VideoWriter, open_video

HEIGHT, WIDTH = 480, 854
WARM = 10  # frames before the clock starts: caches fill, all references are there


def make_clip(path: Path, frames: int) -> Annotation:
    """A textured disc crossing a panning texture; returns the labels of frame 0."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (HEIGHT // 8, 2 * WIDTH // 8, 3), dtype=np.uint8)
    scene = coarse.repeat(8, 0).repeat(8, 1)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    labels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    with VideoWriter(path, rate=25.0) as writer:
        for t in range(frames):
            shift = int(400 + 300 * np.sin(t / 40))
            x, y = WIDTH * (0.5 + 0.3 * np.sin(t / 30)), HEIGHT * (0.5 + 0.2 * np.cos(t / 25))
            disc = (rows - y) ** 2 + (columns - x) ** 2 < 90**2
            picture = scene[:, shift : shift + WIDTH].copy()
            picture[disc] = 255 - np.roll(scene[:, :WIDTH], int(x), axis=1)[disc]
            writer.write(picture, t / 25)
            if t == 0:
                labels[disc] = 1
    return Annotation(labels)


def mebibytes() -> float:
    """The most memory this process has ever had, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def timed(function: Callable[[], object], runs: int = 8) -> str:
    """Median and range of seconds over some runs, after one that does not count."""
    function()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return f"{statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})"


def parts(
    model: liir.Model, clip: Path, labels: Annotation, config: TrackingConfig
) -> dict[str, str]:
    """Seconds a frame of each part alone."""
    video = open_video(clip)
    frames = list(video.frames(0, 24))
    tracker = liir.Tracker(model, config)
    results = [tracker.step(frame, labels if frame.index == 0 else None) for frame in frames[:12]]
    grid = results[-1].grid
    picture = grid.resize(frames[12].rgb)
    with torch.inference_mode():
        query = normalise(model.encode(picture), config.similarity)
        keys = torch.stack([r.keys.permute(1, 2, 0) for r in tracker.memory.references(12)])
        keys = keys.permute(0, 3, 1, 2)
    return {
        "decode (24 frames)": timed(lambda: list(video.frames(0, 24)), runs=4),
        "encode": timed(lambda: model.encode(picture)),
        f"match ({len(keys)} references)": timed(
            lambda: match(
                query,
                keys,
                radius=config.radius,
                topk=config.topk or 5,
                temperature=config.temperature,
            )
        ),
        "up-sample and arg max": timed(lambda: grid.to_pixels(results[-1].scores).max(0)),
    }


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--radius", type=int, help="of the window, in cells; the model's own")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    model = liir.load(options.model, device=options.device, dtype=options.dtype)
    config = model.preset.tracking
    if options.radius:
        config = dataclasses.replace(config, radius=options.radius)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    clock: dict[int, float] = {}
    memory: dict[int, float] = {}

    def watch(progress: Progress) -> None:
        clock[progress.done] = time.perf_counter()
        if progress.done % 100 == 0:
            memory[progress.done] = mebibytes()

    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "clip.mp4")
        labels = make_clip(clip, options.frames)
        out = Path(folder, "out")
        label_video(model, clip, {0: labels}, out, config=config, progress=watch)
        counted = [clock[t] - clock[t - 1] for t in range(WARM + 1, options.frames + 1)]
        report = {
            "commit": commit,
            "model": f"{options.model}, {str(model.dtype).removeprefix('torch.')} on "
            f"{model.device}, {torch.get_num_threads()} threads",
            "clip": f"{HEIGHT}x{WIDTH}, {options.frames} frames, 1 object",
            "radius": config.radius,
            "seconds a frame, all included": round(statistics.mean(counted), 4),
            "of which the median frame": round(statistics.median(counted), 4),
            "peak MiB by frame": {t: round(m, 1) for t, m in sorted(memory.items())},
            "seconds of each part alone, median (range)": parts(model, clip, labels, config),
        }
    text = json.dumps(report, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
