"""Position codes: where the map lands, and what each kind is."""

import pytest
import torch
from torch.nn import functional as F

from liir.position import Fixed, Position, sinusoid

WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])


def test_none_is_the_identity() -> None:
    features = torch.randn(2, 8, 6, 7)
    position = Position("none", 8, 16)
    assert position(features) is features
    assert list(position.state_dict()) == []


@pytest.mark.parametrize("kind", ["sinusoid", "learnable"])
def test_adds_the_map_as_it_is_at_its_own_size(kind: str) -> None:
    position = Position(kind, 8, 16)  # type: ignore[arg-type]
    features = torch.randn(3, 8, 16, 16)
    torch.testing.assert_close(position(features), features + position.map, atol=1e-6, rtol=0)


def test_learnable_gets_a_gradient_everywhere() -> None:
    position = Position("learnable", 4, 8)
    position(torch.zeros(1, 4, 20, 12)).square().sum().backward()
    assert position.map.grad is not None
    assert (position.map.grad != 0).all()
    assert list(position.state_dict()) == ["map"]


def test_sinusoid_is_fixed_and_not_stored() -> None:
    position = Position("sinusoid", 8, 16)
    assert list(position.parameters()) == []
    assert list(position.state_dict()) == []


def test_keeps_the_dtype_and_follows_odd_sizes() -> None:
    features = torch.randn(2, 8, 33, 17, dtype=torch.bfloat16)
    out = Position("learnable", 8, 16)(features)
    assert out.dtype == torch.bfloat16
    assert out.shape == features.shape


@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 40)])
def test_sinusoid(height: int, width: int) -> None:
    code = sinusoid(32, height, width)
    assert code.shape == (32, height, width)
    assert code.dtype == torch.float32
    assert code.abs().max() <= 1
    # Half the channels know rows alone, the others columns alone.
    assert torch.equal(code[:16], code[:16, :, :1].expand(-1, -1, width))
    assert torch.equal(code[16:], code[16:, :1].expand(-1, height, -1))
    # No channel is idle, and no two places share a code.
    assert (code.flatten(1).std(dim=1) > 0.05).all()
    places = code.flatten(1).T
    distance = torch.cdist(places, places) + 10 * torch.eye(len(places))
    assert distance.min() > 0.05
    # Sine and cosine of one wavelength: every place is equally long, and near places are alike.
    torch.testing.assert_close(places.norm(dim=1), torch.full((len(places),), 4.0))
    similarity = code[:16, :, 0].T @ code[:16, :, 0]
    assert (similarity.diagonal(1) < similarity.diagonal()[1:]).all()
    assert (similarity.diagonal(2) < similarity.diagonal(1)[1:]).all()


def test_sinusoid_spans_4_cells_to_4_sides() -> None:
    side = 64
    code = sinusoid(16, side, side)[:8, :, 0]
    x = 2 * torch.pi * torch.arange(side)
    torch.testing.assert_close(code[0], (x / 4).sin(), atol=1e-4, rtol=0)
    torch.testing.assert_close(code[3], (x / (4 * side)).sin(), atol=1e-4, rtol=0)
    torch.testing.assert_close(code[7], (x / (4 * side)).cos(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(16, 16), (40, 24), (9, 31)])
def test_window_of_everything_equals_resizing(size: tuple[int, int]) -> None:
    position = Position("learnable", 4, 16)
    features = torch.zeros(1, 4, *size)
    torch.testing.assert_close(position(features, WHOLE), position(features), atol=1e-6, rtol=0)


def test_window_cuts_a_part_out_of_the_whole() -> None:
    position = Position("learnable", 4, 16)
    whole = position(torch.zeros(1, 4, 32, 48))
    window = torch.tensor([[8 / 32, 12 / 48, 16 / 32, 20 / 48], [0.0, 0.0, 16 / 32, 20 / 48]])
    part = position(torch.zeros(2, 4, 16, 20), window)
    torch.testing.assert_close(part[0], whole[0, :, 8:24, 12:32], atol=1e-5, rtol=0)
    torch.testing.assert_close(part[1], whole[0, :, :16, :20], atol=1e-5, rtol=0)


def test_window_follows_a_ramp() -> None:
    # A map that holds its own coordinates tells directly where each cell of the crop lies.
    position = Position("learnable", 4, 64)
    centres = (torch.arange(64) + 0.5) / 64
    with torch.no_grad():
        position.map[0, :2] = centres[:, None]
        position.map[0, 2:] = centres
    top, left, tall, wide = 0.25, 0.4, 0.5, 0.3
    with torch.no_grad():
        code = position(torch.zeros(1, 4, 10, 10), torch.tensor([[top, left, tall, wide]]))[0]
    steps = (torch.arange(10) + 0.5) / 10
    # Bicubic interpolation bends a ramp by a few hundredths of a cell, 1 / 64.
    torch.testing.assert_close(code[0, :, 3], top + tall * steps, atol=1e-3, rtol=0)
    torch.testing.assert_close(code[2, 3], left + wide * steps, atol=1e-3, rtol=0)


def test_resizing_is_smooth() -> None:
    position = Position("learnable", 4, 8)
    large = position(torch.zeros(1, 4, 32, 32))
    expected = F.interpolate(position.map, (32, 32), mode="bicubic")
    torch.testing.assert_close(large, expected)


@pytest.mark.parametrize("kind", ["none", "sinusoid", "learnable"])
def test_a_fixed_map_is_the_map_at_every_size(kind: str) -> None:
    position = Position(kind, 8, 16)  # type: ignore[arg-type]
    fixed = Fixed(position)
    for size in [(20, 12), (20, 12), (9, 31), (20, 12)]:
        for dtype in (torch.float32, torch.bfloat16):
            features = torch.randn(2, 8, *size).to(dtype)
            assert torch.equal(fixed(features), position(features))
    shift = torch.tensor([[1, 2]])
    features = torch.randn(1, 8, 20, 12)
    assert torch.equal(fixed(features, shift=shift), position(features, shift=shift))


def test_a_fixed_map_is_resized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed = Fixed(Position("learnable", 4, 8))
    features = torch.randn(1, 4, 12, 12)
    first = fixed(features)
    monkeypatch.setattr(F, "interpolate", None)  # cannot be called
    assert torch.equal(fixed(features), first)
