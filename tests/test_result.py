"""What is left of shares when some labels are left out."""

import numpy as np
import torch

import liir
from liir.grid import Grid
from liir.result import Result, without


def test_the_others_share_what_is_left():
    scores = torch.tensor([[0.2, 0.0], [0.6, 1.0], [0.2, 0.0]])[:, None]
    left = without(scores, [1])
    assert torch.allclose(left[:, 0], torch.tensor([[0.5, 1.0], [0.0, 0.0], [0.5, 0.0]]))
    assert torch.allclose(without(scores, []), scores)


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
