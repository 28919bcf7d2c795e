"""A trained network that shows another one what matches: what `contrast` learns from.

A cell of the target is followed through the frames in between to the first one, and from there
back again. Over short steps features match well; where the way back ends where it began, its two
ends are taken for a true match, and the direct one can be learned from it. (The cycles are those of
Jabri et al., 2020. Here they choose what is taught. Nothing is learned through them, and the
teacher stays as it is: a network that taught itself would soon tell nothing but places.)

Legend: B samples, T frames of each, C channels, H W pixels, h w cells at stride 4, N = h w.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from liir.encoder import find_weights, fingerprint, ready
from liir.grid import STRIDE
from liir.matching import normalise

_SLACK = 1.0  # cells between the beginning and the end of the way there and back, at most


class Teacher:
    """Weights that do not learn.

    Args:
        name: As in `liir.load`.
        device: Where to match.
        radius: Half the side of the window of one step of the way, in cells.

    Attributes:
        name: Which weights they are, for the run's records.

    Raises:
        InputError: There are no such weights.
    """

    def __init__(self, name: str | Path, device: torch.device, radius: int) -> None:
        encoder, preset = find_weights(name)
        self.name = f"{name} ({preset.name}, {fingerprint(encoder)})"
        self._model = ready(encoder, preset, str(name), str(device), "auto")
        self._radius = radius

    @torch.no_grad()
    def places(self, lab: Tensor, window: Tensor | None) -> Tensor:
        """Where cells of the target lie in the first frame.

        Args:
            lab: (B, T, 3, H, W) scaled Lab, frames in the order of time or its reverse, the last
                of them the target.
            window: (B, 4) or None, see `Position.forward`; the teacher does without it if it was
                trained without.

        Returns:
            (B, h, w, 2) x, y in pixels of the first frame, NaN where the way does not come back.
        """
        batch, frames = lab.shape[:2]
        model = self._model
        if window is not None:
            cropped = model.preset.model.position_fit == "crop"
            window = window.repeat_interleave(frames, dim=0) if cropped else None
        seen = lab.flatten(0, 1).to(model.dtype).contiguous(memory_format=torch.channels_last)
        features = model.encoder(seen, window).unflatten(0, (batch, frames))
        tracking = model.preset.tracking
        features = normalise(features.float(), tracking.similarity)
        return chained(features, radius=self._radius, temperature=tracking.temperature)


def chained(features: Tensor, *, radius: int, temperature: float) -> Tensor:
    """What `Teacher.places` returns.

    Args:
        features: (B, T, C, h, w), already normalised for the similarity wanted.
        radius: Half the side of the window of one step, in cells.
        temperature: Divides the products of neighbours of the best cell, between which a place
            is refined.
    """
    batch, frames, _, height, width = features.shape
    y, x = torch.meshgrid(
        torch.arange(height, device=features.device),
        torch.arange(width, device=features.device),
        indexing="ij",
    )
    start = torch.stack((x, y), dim=2).flatten(0, 1).float().expand(batch, -1, -1)  # (B, N, 2)
    there = [*reversed(range(frames))]
    places = start
    for at, to in pairwise(there):
        places = _step(features[:, at], features[:, to], places, radius, temperature)
    found = places
    for at, to in pairwise(reversed(there)):
        places = _step(features[:, at], features[:, to], places, radius, temperature)
    lost = (places - start).norm(dim=2, keepdim=True) > _SLACK
    return (STRIDE * found).masked_fill(lost, torch.nan).view(batch, height, width, 2)


def _step(query: Tensor, keys: Tensor, places: Tensor, radius: int, temperature: float) -> Tensor:
    """Places (B, N, 2), x y in cells, in another frame: the best cell's, refined around it."""
    height, width = keys.shape[-2:]
    last = places.new_tensor([width - 1, height - 1])
    read = F.grid_sample(query, (2 * places / last - 1)[:, None], align_corners=True)[:, :, 0]
    scores = read.transpose(1, 2) @ keys.flatten(2)  # (B, N, h w)
    down = torch.arange(height, device=keys.device) - places[..., 1:].round()  # (B, N, h)
    right = torch.arange(width, device=keys.device) - places[..., :1].round()
    far = (down.abs() > radius)[..., None] | (right.abs() > radius)[..., None, :]
    best = scores.masked_fill(far.flatten(2), -torch.inf).argmax(2, keepdim=True)
    beside = torch.arange(-1, 2, device=keys.device)
    y = (best // width + beside.repeat_interleave(3)).clamp(0, height - 1)  # (B, N, 9)
    x = (best % width + beside.repeat(3)).clamp(0, width - 1)
    share = (scores.gather(2, y * width + x) / temperature).softmax(2)
    return torch.stack(((share * x).sum(2), (share * y).sum(2)), dim=2)
