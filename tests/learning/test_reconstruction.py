"""The losses: what is hidden, where cells land, what is rewarded."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liir.encoder import Encoder
from liir.learning.reconstruction import (
    colour_loss,
    drop_channel,
    enlarge,
    hidden_colours,
    in_reach,
    intra_video_losses,
)
from liir.presets import ModelConfig, TrainingConfig

CONFIG = TrainingConfig(radius=2)


def peaked(height: int, width: int) -> Tensor:
    """(C, h, w) features that match nothing but the same cell: one-hot, C = h w."""
    return torch.eye(height * width).view(-1, height, width)


def intra_loss(features, lab, dropped, config):  # type: ignore[no-untyped-def]
    return intra_video_losses(features, hidden_colours(lab, dropped), config)["intra"]


def test_drop_channel_hides_one_and_scales_the_rest() -> None:
    lab = torch.randn(4, 3, 5, 6)
    dropped = torch.tensor([1, 2, 2, 1])
    seen = drop_channel(lab, dropped)
    for sample, channel in enumerate(dropped.tolist()):
        kept = [c for c in range(3) if c != channel]
        assert (seen[sample, channel] == 0).all()
        assert torch.equal(seen[sample, kept], 1.5 * lab[sample, kept])


def test_what_is_dropped_cannot_be_copied() -> None:
    encoder = Encoder(ModelConfig(width=0.125, position_grid=8)).eval()
    lab = torch.randn(2, 3, 32, 32, requires_grad=True)
    encoder(drop_channel(lab, torch.tensor([1, 2]))).square().sum().backward()
    assert lab.grad is not None
    assert (lab.grad[0, 1] == 0).all()
    assert (lab.grad[1, 2] == 0).all()
    assert (lab.grad[0, 2] != 0).any()


@given(st.integers(1, 30), st.integers(1, 30))
def test_enlarge_puts_cells_on_every_fourth_pixel(height: int, width: int) -> None:
    rows, columns = -(-height // 4), -(-width // 4)
    cells = torch.randn(2, 3, rows, columns)
    large = enlarge(cells, height, width)
    assert large.shape == (2, 3, height, width)
    torch.testing.assert_close(large[..., ::4, ::4], cells, atol=1e-5, rtol=1e-5)


@given(st.integers(1, 30), st.integers(1, 30))
def test_enlarge_is_linear_between_and_flat_beyond(height: int, width: int) -> None:
    rows, columns = -(-height // 4), -(-width // 4)
    y = 4.0 * torch.arange(rows)[:, None].expand(rows, columns)
    x = 4.0 * torch.arange(columns)[None].expand(rows, columns)
    large = enlarge(torch.stack((x, y))[None], height, width)[0]
    across = torch.arange(width).clamp(max=4 * (columns - 1)).float()
    down = torch.arange(height).clamp(max=4 * (rows - 1)).float()
    torch.testing.assert_close(large[0], across.expand(height, width), atol=1e-3, rtol=0)
    torch.testing.assert_close(large[1], down[:, None].expand(height, width), atol=1e-3, rtol=0)


def test_colour_loss_is_smooth_l1_on_scaled_colours() -> None:
    rebuilt = torch.full((1, 1, 2, 2), 0.5)
    near, far = torch.full((1, 1, 8, 8), 0.49), torch.full((1, 1, 8, 8), 0.1)
    assert float(colour_loss(rebuilt, near, 20.0)) == pytest.approx(0.5 * 0.2**2, rel=1e-3)
    assert float(colour_loss(rebuilt, far, 20.0)) == pytest.approx(8 - 0.5, rel=1e-4)


def test_colour_loss_counts_free_pixels_alone_and_samples_alike() -> None:
    rebuilt, target = torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 8, 8)
    free = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    target[0, :, :, 4:], target[1] = 1.0, 0.4
    free[0, :, :, :4], free[1, :, :2] = True, True
    assert float(colour_loss(rebuilt, target, 20.0, free=free)) == pytest.approx((0 + 7.5) / 2)
    everything = torch.ones_like(free)
    plain = colour_loss(rebuilt, target, 20.0)
    torch.testing.assert_close(colour_loss(rebuilt, target, 20.0, free=everything), plain)


def test_no_loss_where_everything_finds_itself() -> None:
    # Colours that are bilinear between the cells, so that the enlargement loses nothing.
    lab = enlarge(torch.randn(2, 3, 5, 6), 17, 21).unsqueeze(1).expand(-1, 2, -1, -1, -1)
    features = peaked(5, 6).expand(2, 2, -1, -1, -1)
    config = TrainingConfig(radius=2, temperature=0.01)
    loss = intra_loss(features, lab, torch.tensor([1, 2]), config)
    assert loss.dtype == torch.float32
    assert float(loss) < 1e-8


@pytest.mark.parametrize("dropped", [1, 2])
def test_only_the_dropped_channel_is_rebuilt(dropped: int) -> None:
    features = torch.randn(1, 2, 8, 4, 4)
    lab = torch.randn(1, 2, 3, 16, 16, requires_grad=True)
    intra_loss(features, lab, torch.tensor([dropped]), CONFIG).backward()
    assert lab.grad is not None
    others = [channel for channel in range(3) if channel != dropped]
    assert (lab.grad[0, :, others] == 0).all()
    # The target is compared at every pixel; the reference is read on the cells' grid alone.
    target, reference = lab.grad[0, 1, dropped], lab.grad[0, 0, dropped]
    assert (target != 0).all()
    assert (reference[::4, ::4] != 0).all()
    assert reference.count_nonzero() == 16


def test_the_last_frame_is_rebuilt_from_the_others() -> None:
    """A reference that was moved by one cell costs nothing once the features know."""
    colours = torch.randn(1, 3, 6, 7)
    features = peaked(6, 7)
    moved = torch.stack((features.roll(1, 2), features))[None]
    lab = torch.stack((colours.roll(1, 3), colours), dim=1)  # (1, 2, 3, 6, 7) of cells
    lab = torch.stack([enlarge(frame, 21, 25) for frame in lab.unbind(1)], dim=1)
    config = TrainingConfig(radius=6, temperature=0.01)
    dropped = torch.tensor([1])
    assert float(intra_loss(moved, lab, dropped, config)) < 1e-6
    assert float(intra_loss(moved.flip(1), lab, dropped, config)) > 1


def test_dot_products_are_not_normalised() -> None:
    features = torch.randn(1, 2, 8, 4, 4)
    lab = torch.randn(1, 2, 3, 16, 16)

    def loss(similarity: str, factor: float) -> float:
        config = TrainingConfig(radius=2, similarity=similarity)  # type: ignore[arg-type]
        return float(intra_loss(factor * features, lab, torch.tensor([1]), config))

    assert loss("cosine", 3.0) == pytest.approx(loss("cosine", 1.0), rel=1e-4)
    assert loss("dot", 3.0) != pytest.approx(loss("dot", 1.0), rel=1e-3)


def test_what_can_be_rebuilt_lies_in_the_window() -> None:
    # Two cells of the first sample lie one and three further right and down, of the second nothing
    # is known.
    places = torch.full((2, 5, 6, 2), torch.nan)
    places[0, 1, 2] = torch.tensor([4.0 * 3, 4.0 * 1])
    places[0, 2, 0] = torch.tensor([4.0 * 0, 4.0 * 5])
    for radius, expected in ((0, []), (1, [(1, 2)]), (2.9, [(1, 2)]), (3, [(1, 2), (2, 0)])):
        reached = in_reach(places, radius)
        assert reached.shape == (2, 1, 20, 24)
        cells = reached[0, 0].unflatten(0, (5, 4)).unflatten(2, (6, 4))
        torch.testing.assert_close(cells.any(3).any(1), cells.all(3).all(1))
        assert [tuple(cell) for cell in cells.all(3).all(1).nonzero().tolist()] == expected
        assert bool(reached[1].all())


def test_descent_finds_the_correspondence() -> None:
    """Free features learn where a shuffled picture came from, from colours alone."""
    colours = torch.rand(1, 3, 4, 4)
    shuffled = colours.flatten(2)[..., torch.randperm(16)].view_as(colours)
    lab = torch.stack([enlarge(frame, 13, 13) for frame in (shuffled, colours)], dim=1)
    features = torch.randn(1, 2, 16, 4, 4, requires_grad=True)
    optimizer = torch.optim.Adam([features], 0.05)
    losses = []
    for _ in range(60):
        loss = intra_loss(features, lab, torch.tensor([2]), TrainingConfig(radius=4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]
