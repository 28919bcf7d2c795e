"""What the network is shown: in other light, grey, or covered; and what still counts."""

from dataclasses import replace

import pytest
import torch

from liir.learning.disguise import CHANCES, disguised, wanted
from liir.presets import TrainingConfig

PLAIN = TrainingConfig()


def sample(batch: int = 64, frames: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    lab = torch.rand(batch, frames, 3, 16, 24, generator=generator) - 0.5
    return lab, torch.rand(batch, frames, CHANCES, generator=generator)


def test_nothing_is_done_unasked() -> None:
    lab, chances = sample()
    shown, free = disguised(lab, chances, PLAIN)
    assert not wanted(PLAIN)
    assert torch.equal(shown, lab)
    assert free is None


def test_some_samples_are_grey_in_all_their_frames() -> None:
    lab, chances = sample()
    config = replace(PLAIN, grey_share=0.25)
    assert wanted(config)
    shown, free = disguised(lab, chances, config)
    grey = (shown[:, :, 1:] == 0).flatten(1).all(1)
    assert 6 <= int(grey.sum()) <= 26
    torch.testing.assert_close(shown[grey][:, :, 0], 2 * lab[grey][:, :, 0])
    assert torch.equal(shown[~grey], lab[~grey])
    assert free is None


def test_each_frame_is_lit_by_itself() -> None:
    lab, chances = sample()
    shown, _ = disguised(lab, chances, replace(PLAIN, light=0.2))
    gain = shown[:, :, 1] / lab[:, :, 1]
    torch.testing.assert_close(gain, gain[..., :1, :1].expand_as(gain), rtol=1e-3, atol=1e-3)
    gain = gain[..., 0, 0]
    assert float(gain.min()) > 0.8 - 1e-3
    assert float(gain.max()) < 1.2 + 1e-3
    assert float((gain[:, 0] - gain[:, 1]).abs().mean()) > 0.05
    brightness = shown[:, :, 0] - gain[..., None, None] * lab[:, :, 0]
    assert 0.1 < float(brightness.abs().max()) <= 0.2 + 1e-3
    assert float(brightness.flatten(2).std(2).max()) < 1e-3


@pytest.mark.parametrize("frames", [2, 3])
def test_what_covers_a_target_does_not_count(frames: int) -> None:
    lab, chances = sample(frames=frames)
    shown, free = disguised(lab, chances, replace(PLAIN, cover=0.5))
    assert free is not None
    assert free.shape == (64, 1, 16, 24)
    assert torch.equal(shown[:, :-1], lab[:, :-1])
    elsewhere = lab[:, -1].roll((8, 12), dims=(-2, -1))
    assert torch.equal(shown[:, -1], torch.where(free, lab[:, -1], elsewhere))
    sizes = (~free).float().mean((1, 2, 3))
    assert 20 <= int((sizes > 0).sum()) <= 44
    assert float(sizes.max()) < 0.3
    for mask in ~free[sizes > 0, 0]:  # each is one rectangle
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns)
