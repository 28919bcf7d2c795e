"""Pieces that move on their own: the same in all frames, and nothing else changes."""

import pytest
import torch

from liir.learning.pieces import CHANCES, PLACE, with_pieces

Sample = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def sample(batch: int = 32, frames: int = 3, height: int = 64, width: int = 48) -> Sample:
    generator = torch.Generator().manual_seed(0)
    lab = torch.rand(batch, frames, 3, height, width, generator=generator) - 0.5
    chances = torch.rand(batch, CHANCES, generator=generator)
    return lab, chances, torch.rand(batch, frames, PLACE, generator=generator)


def test_a_share_of_the_samples_gets_one() -> None:
    lab, chances, places = sample(batch=64)
    changed = (with_pieces(lab, 0.25, chances, places) != lab).flatten(1).any(1)
    assert torch.equal(changed, chances[:, 0] < 0.25)
    assert 6 <= int(changed.sum()) <= 26
    assert torch.equal(with_pieces(lab, 0.0, chances, places), lab)


def test_it_is_a_small_part_of_the_frame_and_lies_in_it() -> None:
    lab, chances, places = sample()
    changed = (with_pieces(lab, 1.0, chances, places) != lab).any(2)  # (B, T, H, W)
    shares = changed.float().mean((2, 3))
    assert float(shares.min()) > 0.002
    assert float(shares.max()) < 0.35
    border = changed.clone()
    border[..., 1:-1, 1:-1] = False
    assert not border.any()


def test_every_frame_shows_the_same_piece_elsewhere() -> None:
    lab, chances, places = sample()
    lab[:] = lab[:, -1:]  # so that what is blended with at the edge moves with nothing but it
    pieces = with_pieces(lab, 1.0, chances, places)
    moved = [0, 0]
    for before, after in zip(lab, pieces, strict=True):
        boxes = [((b != a).any(0)).nonzero() for b, a in zip(before, after, strict=True)]
        corner = boxes[-1].amin(0)
        for frame, box in zip(after[:-1], boxes, strict=False):
            way = (box.amin(0) - corner).tolist()
            moved = [count + (step != 0) for count, step in zip(moved, way, strict=True)]
            back = frame.roll((-way[0], -way[1]), dims=(-2, -1))
            same = (back == after[-1]).all(0)
            inside = torch.zeros_like(same)
            inside[tuple(boxes[-1].T)] = True
            # All but its edge, which is half of what lies behind.
            assert float(same[inside].float().mean()) > 0.5
    assert min(moved) > 50


def test_it_has_other_colours_than_the_frames() -> None:
    lab, chances, places = sample()
    lab[:] = torch.tensor([0.1, 0.2, 0.0])[:, None, None]
    pieces = with_pieces(lab, 1.0, chances, places)
    away = (pieces - lab)[:, -1].abs().amax((2, 3))  # (B, 3)
    assert float(away.mean(0).min()) > 0.05
    assert float(pieces.abs().max()) <= 1.0


@pytest.mark.parametrize("frames", [2, 4])
def test_samples_do_not_depend_on_each_other(frames: int) -> None:
    lab, chances, places = sample(frames=frames)
    whole = with_pieces(lab, 1.0, chances, places)
    part = with_pieces(lab[5:7], 1.0, chances[5:7], places[5:7])
    torch.testing.assert_close(part, whole[5:7], rtol=0, atol=1e-6)
