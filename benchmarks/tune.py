"""Which temperature, top-k and radius suit a model best? Every row of scores.py gets its own.

    python benchmarks/tune.py ../shared/data rgb --temperature 0.0005 0.001 0.002 0.005 --topk 5 10
    python benchmarks/tune.py ../shared/data ~/dinov2-small --temperature 0.05 0.1 0.2 --radius 4 6
    python benchmarks/tune.py ../shared/data mast.safetensors --topk none 5 --similarity cosine dot

Prints, for every combination, the mean over the clips that settings are chosen on (J&F of five of
DAVIS, mean IoU of two of Chen and Corso), the best last; the others of scores.py are not looked at.
Scores that are there already in --out are not made again.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import liir
from liir.encoder import Model
from liir.errors import InputError
from liir.evaluation.benchmarks import benchmark, evaluate
from liir.files import written
from liir.presets import TrackingConfig

CLIPS = {
    "davis2016": ("DAVIS", "J&F-Mean", ("blackswan", "car-shadow", "dance-twirl", "goat", "libby")),
    "semantic": ("chen", "mIoU", ("bus", "ice")),
}


def topk(word: str) -> int | None:
    """A number of keys, or "none" for all of them."""
    return None if word == "none" else int(word)


AXES: dict[str, dict[str, Any]] = {
    "similarity": {"choices": ("cosine", "dot")},
    "temperature": {"type": float},
    "topk": {"type": topk, "help": "none: the whole window"},
    "radius": {"type": int},
    "lasting_margin": {"type": int},
    "feedback": {"choices": ("soft", "hard")},
    "guide_radius": {"type": int},
}
"""Fields of `TrackingConfig` that are tuned, and what their options take."""


def chosen(data: Path, wanted: Sequence[str]) -> dict[str, list[str]]:
    """Clips to score of each benchmark, of those in CLIPS."""
    found: dict[str, list[str]] = {}
    for name, (folder, _, clips) in CLIPS.items():
        known = [each.name for each in benchmark(name).sequences(data / folder)]
        found[name] = [each for each in known if each in clips and (not wanted or each in wanted)]
    odd = [each for each in wanted if not any(each in clips for clips in found.values())]
    if odd:
        known = [each for _, _, clips in CLIPS.values() for each in clips]
        raise SystemExit(f"{odd[0]} is none of the clips to tune on: {', '.join(known)}")
    return found


def score(data: Path, model: Model, config: TrackingConfig, clips: dict[str, list[str]]) -> float:
    """The mean over all clips, a fraction."""
    scores = []
    for name, (folder, measure, _) in CLIPS.items():
        for clip in clips[name]:
            report = evaluate(name, data / folder, model, config=config, sequences=[clip])
            scores.append(report.summary[measure])
    return sum(scores) / len(scores)


def main() -> None:
    """Prints a line for each combination."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    for name, form in AXES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", nargs="+", **form)
    parser.add_argument("--sequences", nargs="+", default=(), help="of these clips only some")
    parser.add_argument("--out", type=Path, default=Path("tuned"))
    options = parser.parse_args()
    try:
        clips = chosen(options.data, options.sequences)
        model = liir.load(str(Path(options.model).expanduser()))
    except InputError as error:
        raise SystemExit(f"tune: error: {error}") from None
    own = model.preset.tracking
    path = options.out / f"{Path(options.model).stem.replace(':', '-')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text()) if path.is_file() else {}
    told = ", ".join(name for names in clips.values() for name in names)
    found = {}
    axes = {name: getattr(options, name) or [getattr(own, name)] for name in AXES}
    for values in itertools.product(*axes.values()):
        changes = dict(zip(axes, values, strict=True))
        key = ", ".join([*(f"{name} {value}" for name, value in changes.items()), told])
        if key not in known:
            known[key] = score(options.data, model, replace(own, **changes), clips)
            with written(path) as partial:
                partial.write_text(json.dumps(known, indent=1))
        found[key] = known[key]
        print(f"{100 * found[key]:5.1f}  {key}", flush=True)
    best = max(found, key=lambda key: found[key])
    print(f"best: {100 * found[best]:.1f}  {best}")


if __name__ == "__main__":
    main()
