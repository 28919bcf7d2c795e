"""Weights of a narrow network in a wider one, which computes the same and has room to learn more.

Chen, Goodfellow and Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from liir.encoder import Encoder
from liir.presets import ModelConfig


def widened(state: Mapping[str, Tensor], model: ModelConfig) -> dict[str, Tensor]:
    """Repeats channels until they fill a wider network, and parts their weights among the copies.

    What reads a channel reads all of its copies, each with a random share of the weight; shares
    are drawn for every weight apart and sum to one. So nothing changes in what the network
    computes (but with a sinusoid for its position, which another number of channels makes another
    code), and no two copies learn the same from there on.

    Args:
        state: Of an `Encoder`, floating point.
        model: What it is to become: as it is, but for the width.

    Returns:
        A state of `Encoder(model)`, always the same for the same `state`.
    """
    with torch.device("meta"):
        wanted = {key: value.shape for key, value in Encoder(model).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    grown = {}
    for key, value in state.items():
        for axis, (own, size) in enumerate(zip(value.shape, wanted[key], strict=True)):
            if own == size:
                continue
            source = torch.arange(size) % own
            value = value.index_select(axis, source)
            if key.endswith("weight") and axis == 1:  # a convolution's inputs
                value = value * _shares(value.shape, source, own, generator)
        grown[key] = value
    return grown


def _shares(shape: torch.Size, source: Tensor, channels: int, generator: torch.Generator) -> Tensor:
    """Random numbers that sum to one over the copies (axis 1) of each of the `channels`."""
    copies = source.bincount(minlength=channels)[:, None, None]
    drawn = torch.randn(shape, generator=generator)
    total = torch.zeros(shape[0], channels, *shape[2:]).index_add_(1, source, drawn)
    return ((1 + drawn) - (total / copies)[:, source]) / copies[source]
