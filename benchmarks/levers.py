"""What would tracking gain by means that liir does not have? Each beside the tracking as it is.

    python benchmarks/levers.py ../shared/data small
    python benchmarks/levers.py ../shared/data small --levers mirrored sharper --sequences goat ice

Features: a mean of those of the picture and of its mirror image, or of another size. Labels: each
frame's shares raised to a power, or what lies around a pixel in the same frame, mixed in by how
alike their features are. The clips are those of tune.py, and so is the mean over them; settings
that liir has are for tune.py and `liir ablate grid`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tune import CLIPS, chosen

import liir
from liir.encoder import Model
from liir.errors import InputError
from liir.evaluation.benchmarks import evaluate
from liir.grid import STRIDE
from liir.matching import match
from liir.tracking import Tracker

Change = Callable[[Tracker, Tensor, Tensor], Tensor]
"""Of what a tracker found, (K, h, w), by the features (C, h, w) of the frame."""


class Mirrored(nn.Module):
    """The mean of the features of pictures and of their mirror images."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, lab: Tensor) -> Tensor:
        """Features (B, C, h, w) of (B, 3, H, W)."""
        # Cell j of w looks at pixel 4 j: so cell w - 1 of the mirror image must look at pixel 0.
        last = (-(-lab.shape[-1] // STRIDE) - 1) * STRIDE
        mirror = lab[..., : last + 1].flip(-1)
        mirror = F.pad(mirror, (0, lab.shape[-1] - last - 1, 0, 0), mode="replicate")
        features: Tensor = self.encoder(lab) + self.encoder(mirror).flip(-1)
        return features / 2


class Sized(nn.Module):
    """The mean of the features of pictures and of those of another size."""

    def __init__(self, encoder: nn.Module, scale: float) -> None:
        super().__init__()
        self.encoder, self.scale = encoder, scale

    def forward(self, lab: Tensor) -> Tensor:
        """Features (B, C, h, w) of (B, 3, H, W)."""
        own = self.encoder(lab)
        height, width = lab.shape[-2:]
        size = (round(height * self.scale), round(width * self.scale))
        # Corner pixels stay corner pixels; the features are read where the cells then lie.
        other = self.encoder(F.interpolate(lab, size, mode="bilinear", align_corners=True))
        axes = []
        for cells, before, after, others in zip(
            own.shape[-2:], lab.shape[-2:], size, other.shape[-2:], strict=True
        ):
            place = torch.arange(cells, device=lab.device) * (after - 1) / (before - 1)
            axes.append(2 * place / (others - 1) - 1)
        y, x = torch.meshgrid(*axes, indexing="ij")
        where = torch.stack((x, y), dim=-1)[None].expand(len(lab), -1, -1, -1)
        # In float32: half as many bits would put a place a cell off.
        read = F.grid_sample(other.float(), where, padding_mode="border", align_corners=True)
        features: Tensor = (own + read.to(own.dtype)) / 2
        return features


@contextmanager
def relabelled(change: Change) -> Iterator[None]:
    """Lets trackers change what they found."""
    found = Tracker._propagate

    def propagate(self: Tracker, query: Tensor) -> Tensor:
        return change(self, query, found(self, query))

    with patch.object(Tracker, "_propagate", propagate):
        yield


def sharper(power: float) -> Change:
    """Shares of the labels, raised to a power."""

    def change(_: Tracker, __: Tensor, scores: Tensor) -> Tensor:
        raised = scores**power
        return raised / raised.sum(0, keepdim=True).clamp_min(1e-6)

    return change


def smoothed(share: float) -> Change:
    """Labels of the frame's own cells, by their features, within eight cells."""

    def change(tracker: Tracker, query: Tensor, scores: Tensor) -> Tensor:
        around = match(
            query, query[None], radius=8, topk=16, temperature=tracker.config.temperature
        )
        found = around.tally(scores.flatten(1).T.contiguous()).T.view_as(scores)
        return (1 - share) * scores + share * found

    return change


LEVERS: dict[str, tuple[Callable[[nn.Module], nn.Module] | None, Change | None]] = {
    "as it is": (None, None),
    "mirrored": (Mirrored, None),
    "and at 0.75": (lambda encoder: Sized(encoder, 0.75), None),
    "and at 1.25": (lambda encoder: Sized(encoder, 1.25), None),
    "sharper, 1.5": (None, sharper(1.5)),
    "sharper, 2": (None, sharper(2.0)),
    "smoothed, 0.3": (None, smoothed(0.3)),
    "smoothed, 1": (None, smoothed(1.0)),
}


def score(data: Path, model: Model, clips: dict[str, list[str]]) -> dict[str, float]:
    """Of each clip, in percent."""
    found = {}
    for name, (folder, measure, _) in CLIPS.items():
        for clip in clips[name]:
            report = evaluate(name, data / folder, model, sequences=[clip])
            found[clip] = 100 * report.summary[measure]
    return found


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--levers", nargs="+", choices=LEVERS, default=[*LEVERS])
    parser.add_argument("--sequences", nargs="+", default=(), help="of the clips only some")
    given = parser.parse_args()
    try:
        clips = chosen(given.data, given.sequences)
        model = liir.load(given.model)
    except InputError as error:
        raise SystemExit(f"levers: error: {error}") from None
    for number, lever in enumerate(given.levers):
        wrap, change = LEVERS[lever]
        used = replace(model, encoder=wrap(model.encoder)) if wrap else model
        with relabelled(change) if change else nullcontext():
            found = score(given.data, used, clips)
        if not number:
            print("| | mean | " + " | ".join(found) + " |")
            print("|---|" + "---:|" * (1 + len(found)))
        values = [sum(found.values()) / len(found), *found.values()]
        print(f"| {lever} | " + " | ".join(f"{v:.1f}" for v in values) + " |", flush=True)


if __name__ == "__main__":
    main()
