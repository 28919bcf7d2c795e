"""A wider network: it computes what the narrow one did, and its copies part from there on."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from liir.encoder import Encoder
from liir.learning.widening import widened
from liir.presets import ModelConfig, PositionCode

NARROW = ModelConfig(width=0.25, position_grid=8)


def network(model: ModelConfig) -> Encoder:
    """With batch norms in which each channel counts for something else."""
    torch.manual_seed(7)
    encoder = Encoder(model)
    for norm in encoder.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for scale in (norm.weight.data, norm.running_var):
                scale.uniform_(0.5, 1.5)
            for shift in (norm.bias.data, norm.running_mean):
                shift.normal_(0, 0.2)
    return encoder.eval()


def grown(narrow: Encoder, model: ModelConfig) -> Encoder:
    encoder = Encoder(model)
    encoder.load_state_dict(widened(narrow.state_dict(), model))
    return encoder.eval()


def heads(encoder: Encoder, lab: Tensor) -> tuple[Tensor, Tensor]:
    features = encoder.trunk(encoder.early(lab))
    return encoder.pixel_head(features), encoder.region_head(features)


# Twice and four times as many channels, and numbers of them that are no multiples.
@pytest.mark.parametrize("width", [0.375, 0.5, 0.625, 1.0])
@pytest.mark.parametrize("position", ["learnable", "none"])
def test_it_computes_the_same(width: float, position: PositionCode) -> None:
    before = network(replace(NARROW, position=position))
    after = grown(before, replace(NARROW, position=position, width=width))
    assert after.stem.out_channels == 64 * width
    lab = torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for expected, found in zip(heads(before, lab), heads(after, lab), strict=True):
            assert expected.std((2, 3)).min() > 0.1
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_copies_part() -> None:
    """No copy's gradient is a multiple of the other's, which Adam would make equal steps of."""
    encoder = grown(network(NARROW), replace(NARROW, width=0.5)).train()
    features = heads(encoder, torch.randn(2, 3, 40, 56))
    torch.stack([feature.square().mean() for feature in features]).sum().backward()
    for stage in encoder.stages:
        first, second = stage[0].conv1.weight.grad.chunk(2)
        alike = torch.cosine_similarity(first.flatten(1), second.flatten(1))
        assert alike.abs().max() < 0.99


def test_it_is_always_the_same() -> None:
    state = network(NARROW).state_dict()
    first, second = (widened(state, replace(NARROW, width=0.5)) for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
