"""What does it cost to make batches, and what share of a core does a training step leave for it?

Makes the batches of some steps in this process, as `liir train` does in another, and counts the
processor time of all its threads. Compare with the seconds that a step takes (`log.jsonl` of a
run): one process keeps up as long as its column is below.

    python benchmarks/loading.py footage/
    python benchmarks/loading.py footage/ stills:photographs/ --steps 80
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from liir.learning.clips import Pairs
from liir.learning.places import find_videos
from liir.learning.shots import Shot, index_shots
from liir.presets import TrainingConfig

USUAL = TrainingConfig()
CASES = {
    "as it is": USUAL,
    "a chunk for each step (reuse=1)": replace(USUAL, reuse=1),
    "two views (view_share=1)": replace(USUAL, view_share=1.0),
    "1 GiB kept (cache_mib=1024)": replace(USUAL, cache_mib=1024),
}


def cost(shots: list[Shot], config: TrainingConfig, steps: int) -> tuple[float, float]:
    """Processor seconds a step, of decoding and in all."""
    pairs = Pairs(shots, config)
    start, decoding = time.process_time(), 0.0
    for step in range(steps):
        before = time.process_time()
        for slot in range(config.batch):
            pairs.chunk(step, slot)  # kept for the batch
        decoding += time.process_time() - before
        pairs[step]
    return decoding / steps, (time.process_time() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("places", nargs="+")
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shots, _ = index_shots(find_videos(given.places), Path(folder) / "clips.json")
    print(f"{len(shots)} shots, {sum(shot.stop - shot.start for shot in shots)} frames")
    print(f"\n| ms of a core a step, batch {USUAL.batch} | decoding | in all |\n|---|---:|---:|")
    for name, config in CASES.items():
        decoding, whole = cost(shots, config, given.steps)
        print(f"| {name} | {1000 * decoding:.0f} | {1000 * whole:.0f} |", flush=True)


if __name__ == "__main__":
    main()
