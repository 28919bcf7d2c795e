"""What is left of shares when some labels are left out."""

import numpy as np
import pytest
import torch

import liir
from liir.grid import Grid
from liir.guide import Guide
from liir.result import Result, _least, strongest, without


def test_the_others_share_what_is_left():
    scores = torch.tensor([[0.2, 0.0], [0.6, 1.0], [0.2, 0.0]])[:, None]
    left = without(scores, [1])
    assert torch.allclose(left[:, 0], torch.tensor([[0.5, 1.0], [0.0, 0.0], [0.5, 0.0]]))
    assert torch.allclose(without(scores, []), scores)


@pytest.mark.parametrize("objects", [1, 2, 9, 64])
@pytest.mark.parametrize("size", [48, 96])
@pytest.mark.parametrize("radius", [0, 2])
def test_the_strongest_label_of_every_pixel_wins(objects, size, radius):
    rng = torch.Generator().manual_seed(objects)
    grid = Grid(75, 101, size, torch.device("cpu"))
    # Objects of all sizes, some everywhere a little, some nowhere; and void cells.
    shares = torch.rand(objects + 1, *grid.cells, generator=rng) ** 8
    shares[1::3] *= torch.rand(shares[1::3].shape, generator=rng) > 0.7
    shares[2::5] = 0.0
    shares /= shares.sum(0).clamp_min(1e-6)
    shares[:, 2:5, 3:8] = 0.0
    ids = tuple(range(3, 3 + objects))
    rgb = np.random.default_rng(objects).integers(0, 256, (75, 101, 3), dtype=np.uint8)
    guide = Guide(rgb, grid, radius)
    labels, sure = strongest(shares, ids, guide)
    read = grid.to_pixels(shares)
    for channel, share in enumerate(shares[1:] if radius else (), start=1):
        likely = (share >= _least(shares)) & (share > 0)  # elsewhere colours do not make it win
        rows, columns, _, added = guide.read(share, likely)
        read[channel, rows, columns] += added
        read[0, rows, columns] -= added
    best, channel = read.max(0)
    assert np.allclose(sure, best.clamp(0, 1), atol=1e-5)
    wanted = torch.tensor([0, *ids], dtype=torch.uint8)[channel].numpy()
    second = read.topk(2, dim=0).values[1]
    clear = (best - second > 1e-5).numpy()
    assert (labels == wanted)[clear].all()
    assert clear.mean() > 0.9
    nothing = (grid.to_pixels(shares).sum(0) == 0).numpy()
    assert nothing.any()
    assert radius or not labels[nothing].any()  # a guide reads void cells by what is around them


def test_a_label_wins_between_cells_that_are_others() -> None:
    """With hardly more than a quarter of the strongest."""
    grid = Grid(29, 37, 0, torch.device("cpu"))
    shares = torch.full((13, *grid.cells), 0.05)
    shares[0] = 0.0
    for corner in range(4):
        shares[1 + corner] = 0.0
        shares[1 + corner, corner // 2 :: 2, corner % 2 :: 2] = 0.5
    shares[5] = 0.15
    labels, sure = strongest(
        shares, tuple(range(1, 13)), Guide(np.zeros((29, 37, 3), np.uint8), grid, 0)
    )
    assert (labels[2:-1:4, 2:-1:4] == 5).all()
    assert np.allclose(sure[2:-1:4, 2:-1:4], 0.15)
    assert (labels[::4, ::4] < 5).all()


def test_a_label_wins_with_hardly_more_than_the_average() -> None:
    grid = Grid(29, 37, 0, torch.device("cpu"))
    shares = torch.tensor([0.25, 0.25, 0.26, 0.24])[:, None, None].expand(4, *grid.cells)
    labels, sure = strongest(shares, (1, 2, 3), Guide(np.zeros((29, 37, 3), np.uint8), grid, 0))
    assert (labels == 2).all()
    assert np.allclose(sure, 0.26)


def test_a_result_is_shown_in_one_short_line():
    result = Result(
        index=7,
        time=0.3,
        rgb=np.zeros((48, 64, 3), np.uint8),
        ids=(1, 4),
        scores=torch.zeros(3, 12, 16),
        grid=Grid(48, 64, 48, torch.device("cpu")),
        points={"nose": (1.0, 2.0, 0.5)},
    )
    assert repr(result) == "Result(index=7, size=64x48, ids=(1, 4), points=1)"


def test_only_public_names_are_listed():
    assert set(dir(liir)) == set(liir.__all__)
    assert all(hasattr(liir, name) for name in dir(liir))
