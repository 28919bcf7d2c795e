"""Contrast at known matches: least where features agree, blind where nothing is known."""

from dataclasses import replace

import pytest
import torch

from liir.learning.contrast import contrast_loss
from liir.presets import TrainingConfig

CONFIG = TrainingConfig(temperature=0.07)


def places(height: int = 6, width: int = 8, right: int = 0, down: int = 0) -> torch.Tensor:
    """Every cell of the target lies that many cells further in the reference."""
    y, x = torch.meshgrid(torch.arange(height) + down, torch.arange(width) + right, indexing="ij")
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    found = 4.0 * torch.stack((x, y), dim=-1)
    return found.masked_fill(~inside[..., None], torch.nan)[None]


def test_equals_cross_entropy_at_cells() -> None:
    features = torch.randn(1, 2, 5, 6, 8)
    keys, query = torch.nn.functional.normalize(features, dim=2).flatten(3)[0]
    scores = query.T @ keys / 0.07
    expected = torch.nn.functional.cross_entropy(scores, torch.arange(48))
    torch.testing.assert_close(contrast_loss(features, places(), CONFIG), expected)


@pytest.mark.parametrize(("right", "down"), [(2, 0), (0, -1), (-3, 2)])
def test_is_least_for_the_true_displacement(right: int, down: int) -> None:
    still = torch.randn(1, 16, 6, 8)
    moved = torch.roll(still, (-down, -right), dims=(-2, -1))
    features = torch.stack((still, moved), dim=1)
    true = contrast_loss(features, places(right=right, down=down), CONFIG)
    assert float(true) < 0.1
    assert float(contrast_loss(features, places(), CONFIG)) > 1


def test_matches_between_cells_are_read_between_them() -> None:
    """Features that are linear in x: those of the middle are the mean of both sides'."""
    config = replace(CONFIG, similarity="dot", temperature=1.0)
    ramp = torch.arange(8.0).expand(1, 1, 6, 8) / 8
    halves = places() + torch.tensor([2.0, 0.0])
    halves[:, :, -1] = torch.nan
    features = torch.stack((ramp, torch.ones_like(ramp)), dim=1)
    others = torch.logsumexp(ramp.flatten(), 0)
    expected = others - (ramp[0, 0, 0, :-1] + 1 / 16).mean()
    torch.testing.assert_close(contrast_loss(features, halves, config), expected)


def test_samples_without_known_matches_say_nothing() -> None:
    features = torch.randn(2, 3, 4, 6, 8, requires_grad=True)
    unknown = torch.full((1, 6, 8, 2), torch.nan)
    assert float(contrast_loss(features[:1].detach(), unknown, CONFIG)) == 0
    both = contrast_loss(features, torch.cat((unknown, places())), CONFIG)
    alone = contrast_loss(features[1:], places(), CONFIG)
    torch.testing.assert_close(both, alone / 2)
    both.backward()
    assert features.grad is not None
    assert bool(features.grad.isfinite().all())
    assert float(features.grad[0].abs().sum()) == 0
    assert float(features.grad[1].abs().sum()) > 0
