"""What a training step minimises: the encoder's passes over a batch and the losses on them.

Legend: B batch, T frames of a sample, C channels, H W pixels, h w cells at stride 8.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from liir.encoder import Encoder
from liir.errors import InputError
from liir.learning import disguise, pieces
from liir.learning.contrast import contrast_loss
from liir.learning.distributed import Team
from liir.learning.negatives import Bank, negative_lse, window_lse
from liir.learning.reconstruction import (
    REGION_STRIDE,
    drop_channel,
    hidden_colours,
    in_reach,
    inter_video_loss,
    intra_video_losses,
    split_lightness,
)
from liir.learning.teacher import Teacher
from liir.matching import normalise
from liir.presets import Preset, TrainingConfig


def bank_shape(config: TrainingConfig) -> tuple[int, int]:
    """Frames of the bank, and points kept of each.

    Raises:
        InputError: A crop has fewer cells than that.
    """
    cells = (config.crop // REGION_STRIDE) ** 2
    if config.inter_weight > 0 and config.bank_points > cells:
        raise InputError(
            f"bank_points {config.bank_points}: a crop of {config.crop} pixels has {cells} cells "
            "at stride 8; give fewer, or 0 for all"
        )
    whole = config.shifting == "aligned" or config.bank_points == 0
    return config.bank_frames, cells if whole else config.bank_points


def never_begins(config: TrainingConfig, steps: int) -> str | None:
    """Why a run of that length ends before its bank is full, and the inter-video loss begins.

    None if it does begin, or is not wanted.
    """
    left = steps - math.ceil(config.second_stage * steps)
    fills = math.ceil(config.bank_frames / config.batch)
    if config.inter_weight == 0 or config.second_stage >= 1 or left > fills:
        return None
    return (
        f"inter-video reconstruction never begins: its bank of {config.bank_frames} frames is full "
        f"{fills} steps into the second stage, which has {left}; make the run longer, or begin "
        f"with --set bank_frames={max(1, left // 2) * config.batch}"
    )


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """A pass that the running statistics of batch norms, which inference goes by, do not see."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    old = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, old, strict=True):
            norm.momentum = momentum


@contextmanager
def quick_products(dtype: torch.dtype) -> Iterator[None]:
    """Lets a CPU round the factors of float32 products, if features are computed in less anyway.

    oneDNN then takes these products over, in whatever is fastest there; it is up to twice as fast
    as what takes them otherwise.
    """
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = products.fp32_precision
    products.fp32_precision = before if dtype == torch.float32 else "bf16"
    try:
        yield
    finally:
        products.fp32_precision = before


class Objective(nn.Module):
    """An encoder in training, with the bank of negatives and the momentum copy it needs.

    Args:
        preset: Network and losses.
        dtype: What the encoder computes in; losses are always float32 (but see `quick_products`).
        team: The processes that train together, each on its slots of the batch.
        teacher: Shows matches that contrast learns from. Its weights are no part of the state.

    Attributes:
        shown: Of the last pass, for pictures of it: the frames and what the network got of them,
            (B, T, 3, H, W) each, and what was hidden, (B, T, 1, H, W).
    """

    def __init__(
        self,
        preset: Preset,
        dtype: torch.dtype = torch.float32,
        team: Team | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.preset, self.dtype, self.team = preset, dtype, team or Team()
        self.teacher = teacher
        self.encoder = Encoder(preset.model)
        self.slow_head = copy.deepcopy(self.encoder.region_head).requires_grad_(False)
        self.average: Encoder | None = None
        if preset.training.average:
            self.average = copy.deepcopy(self.encoder).requires_grad_(False)
        self.bank: Bank | None = None
        self._fresh: tuple[Tensor, Tensor] | None = None
        self.shown: tuple[Tensor, Tensor, Tensor] | None = None
        if preset.training.inter_weight > 0:
            self.bank = Bank(*bank_shape(preset.training), preset.model.region_channels)

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Takes over an encoder's state (`start.read`); what it lacks stays as it is."""
        self.encoder.load_state_dict({**self.encoder.state_dict(), **state})
        self.slow_head.load_state_dict(self.encoder.region_head.state_dict())
        if self.average is not None:
            self.average.load_state_dict(self.encoder.state_dict())

    @property
    def learned(self) -> Encoder:
        """The encoder to keep: the mean over steps where there is one, else that of the step."""
        return self.encoder if self.average is None else self.average

    def forward(
        self,
        lab: Tensor,
        dropped: Tensor,
        videos: Tensor,
        window: Tensor | None,
        second: bool,
        correspondence: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """One pass.

        Args:
            lab: (B, T, 3, H, W) scaled Lab, of this process's slots of the batch; the last of the T
                frames is the target.
            dropped: (B,) int64, the colour channel (1: a, 2: b) to hide and rebuild.
            videos: (B,) int64 identity of each sample's video.
            window: (B, 4) or None, see `Position.forward`.
            second: Whether the second stage has begun.
            correspondence: (B, h, w, 2) of the batch, NaN where nothing is known (a teacher is
                asked then, if there is one). Where it is, and lies beyond the window, nothing has
                to be rebuilt.

        Returns:
            The losses by name, float32 scalars, each with its weight; their sum is minimised. Of
            several processes, each has its own part of the sums over the whole batch.
        """
        config = self.preset.training
        batch, frames = lab.shape[:2]
        assert batch == len(self.team.slots(config.batch)), "not this process's share of the batch"
        if config.pieces:
            lab = self._with_pieces(lab, correspondence)
        if config.rebuild == "lightness":
            shown, hidden = split_lightness(lab)
        else:
            shown, hidden = lab, hidden_colours(lab, dropped)
        shown, free = self._disguised(shown, correspondence)
        seen = shown.flatten(0, 1)
        if config.rebuild == "colour":
            seen = drop_channel(seen, dropped.repeat_interleave(frames))
        self.shown = lab, seen.unflatten(0, (batch, frames)), hidden
        if self.teacher is not None and correspondence is not None:
            taught = self.teacher.places(lab, window)
            correspondence = torch.where(correspondence.isfinite(), correspondence, taught)
        if window is not None:
            window = window.repeat_interleave(frames, dim=0)
        inter = second and self.bank is not None
        region = None
        with torch.autocast(lab.device.type, self.dtype, enabled=self.dtype != torch.float32):
            early = self.encoder.early(seen.contiguous(memory_format=torch.channels_last))
            trunk = self.encoder.trunk(early, window)
            pixel = self.encoder.pixel_head(trunk).unflatten(0, (batch, frames))
            if inter:
                shifted = self._shifted(early, trunk, window)
                region = self.encoder.region_head(shifted)
                slow = self.slow_head(shifted.detach().unflatten(0, (batch, frames))[:, -1])
        compact = second and config.compact_weight > 0 and config.gaussians > 0
        losses = intra_video_losses(pixel, hidden, config, compact=compact, free=free)
        if config.targets == "both":
            other = intra_video_losses(pixel.flip(1), hidden.flip(1), config)
            losses["intra"] = (losses["intra"] + other["intra"]) / 2
        if compact:
            losses["compact"] = config.compact_weight * losses["compact"]
        if config.contrast_weight and correspondence is not None:
            contrast = contrast_loss(pixel, correspondence, config)
            losses["contrast"] = config.contrast_weight * contrast
        if region is not None and self.bank is not None:
            if self.bank.full:
                region = normalise(region.float(), config.similarity)
                losses["inter"] = config.inter_weight * inter_video_loss(
                    region.unflatten(0, (batch, frames)),
                    hidden,
                    functools.partial(self._others, videos),
                    config,
                    free,
                )
            with torch.no_grad():
                slow = normalise(slow.float(), config.similarity)
                self._fresh = self._points(slow, hidden[:, -1]), videos
        # All are means over samples, of which this process has some.
        return {name: batch / config.batch * loss for name, loss in losses.items()}

    def _with_pieces(self, lab: Tensor, correspondence: Tensor | None) -> Tensor:
        """`lab` with pieces that move on their own, but where matches are known."""
        batch, frames = self.preset.training.batch, lab.shape[1]
        chances = self._mine(torch.rand(batch, pieces.CHANCES)).to(lab.device)
        places = self._mine(torch.rand(batch, frames, pieces.PLACE)).to(lab.device)
        if correspondence is not None:
            chances[correspondence.isfinite().flatten(1).any(1), 0] = 1.0
        return pieces.with_pieces(lab, self.preset.training.pieces, chances, places)

    def _disguised(
        self, lab: Tensor, correspondence: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """What the network is shown; which of the target's pixels can be rebuilt, None for all."""
        config, free = self.preset.training, None
        if disguise.wanted(config):
            chances = self._mine(torch.rand(config.batch, lab.shape[1], disguise.CHANCES))
            lab, free = disguise.disguised(lab, chances.to(lab.device), config)
        if correspondence is not None and bool(correspondence.isfinite().any()):
            reached = in_reach(correspondence, config.radius)
            free = reached if free is None else free & reached
        return lab, free

    def _mine(self, drawn: Tensor) -> Tensor:
        """This process's part of what is drawn for the whole batch, so that all draw the same."""
        slots = self.team.slots(len(drawn))
        return drawn[slots.start : slots.stop]

    def _shifted(self, early: Tensor, trunk: Tensor, window: Tensor | None) -> Tensor:
        """What the region head reads, (B T, C, H/4, W/4): position shifted as configured."""
        shifting = self.preset.training.shifting
        if shifting in ("none", "aligned") or self.preset.model.position == "none":
            return trunk
        with _statistics_kept(self.encoder.stages):
            if shifting == "drop":
                placeless: Tensor = self.encoder.stages(early)
                return placeless
            height, width = early.shape[-2:]
            batch = self.preset.training.batch
            samples = len(early) // len(self.team.slots(batch))  # frames of each
            down, right = (torch.randint(side, (batch, samples)) for side in (height, width))
            shift = self._mine(torch.stack((down, right), dim=2)).flatten(0, 1)
            return self.encoder.trunk(early, window, shift.to(early.device))

    def _others(self, videos: Tensor, query: Tensor) -> Tensor:
        """Log-sum-exp (B, h, w) of queries (B, C, h, w) over pixels of other videos."""
        assert self.bank is not None
        config, bank, cells = self.preset.training, self.bank, query.shape[-2:]
        if config.shifting == "aligned":
            maps = bank.features.transpose(1, 2).unflatten(2, cells)
            return window_lse(
                query,
                videos,
                maps,
                bank.videos,
                radius=config.inter_radius,
                temperature=config.temperature,
            )
        flat = query.flatten(2).transpose(1, 2).flatten(0, 1)  # (B h w, C)
        owner = videos.repeat_interleave(cells.numel())
        return negative_lse(flat, owner, *bank.negatives(), config.temperature).view(-1, *cells)

    def _points(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Some cells of each map (B, C, h, w) for the bank, (B, P, C)."""
        config = self.preset.training
        cells = features.flatten(2).transpose(1, 2)  # (B, h w, C)
        if bank_shape(config)[1] == cells.shape[1]:
            return cells
        # The first arrivals of processes with these rates are a draw without replacement.
        times = self._mine(torch.empty(config.batch, cells.shape[1]).exponential_())
        if config.bank_sampling == "edges":
            times = times / (_edges(hidden).flatten(1).float().cpu() + 1e-6)
        place = times.topk(config.bank_points, largest=False).indices.to(features.device)
        return cells.gather(1, place[..., None].expand(-1, -1, cells.shape[2]))

    @torch.no_grad()
    def follow(self) -> None:
        """After each step: copies move towards what is learned, the bank takes new frames.

        Not in the forward pass: the backward pass still reads the bank, and a step that is not
        taken leaves nothing behind.
        """
        config = self.preset.training
        approach(self.slow_head, self.encoder.region_head, 1 - config.momentum)
        if self.average is not None:
            approach(self.average, self.encoder, 1 - config.average)
        if self._fresh is not None and self.bank is not None:
            self.bank.push(*(self.team.joined(each, config.batch) for each in self._fresh))
            self._fresh = None


def approach(slow: nn.Module, fast: nn.Module, rate: float) -> None:
    """Moves the weights of one module, and its statistics, towards those of another.

    Args:
        slow: What is moved, in place.
        fast: Of the same architecture.
        rate: The share of the way, from 0 to 1.
    """
    own = slow.state_dict()
    for name, value in fast.state_dict().items():
        kept = own[name]
        if kept.is_floating_point():
            kept.lerp_(value, rate)
        else:
            kept.copy_(value)


def _edges(plane: Tensor) -> Tensor:
    """Mean gradient magnitude of (B, 1, H, W) in each cell at stride 8, (B, h, w)."""
    down = F.pad(plane.diff(dim=2), (0, 0, 0, 1))
    right = F.pad(plane.diff(dim=3), (0, 1))
    strength = (down.square() + right.square()).sqrt()
    return F.avg_pool2d(strength, REGION_STRIDE, ceil_mode=True)[:, 0]
