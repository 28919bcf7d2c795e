"""Results come back in the opposite order, whole, and gaps on either side do no harm."""

import numpy as np
import pytest
import torch

from liir import spool as module
from liir.errors import InputError
from liir.grid import Grid
from liir.result import Result
from liir.spool import Spool
from liir.video import Frame

GRID = Grid(16, 24, 0, torch.device("cpu"))


def frame(index):
    return Frame(index, index / 25, np.full((16, 24, 3), index, dtype=np.uint8))


def result(index):
    scores = torch.rand(2, *GRID.cells)
    points = {"p": (float(index), 2.0, 0.5)}
    return Result(index, index / 25, frame(index).rgb, (7,), scores / scores.sum(0), GRID, points)


def test_last_in_first_out():
    results = [result(i) for i in range(6)]
    with Spool() as spool:
        for each in reversed(results):
            spool.push(each)
        for each in results:
            back = spool.pop(frame(each.index))
            assert torch.allclose(back.scores, each.scores, atol=1e-3)
            assert back.points == each.points
            assert np.array_equal(back.rgb, each.rgb)


def test_frames_that_decode_in_one_direction_only():
    with Spool() as spool:
        for index in (5, 3, 2, 0):
            spool.push(result(index))
        found = [spool.pop(frame(index)) for index in (0, 1, 3, 4, 5)]
        assert [f and f.index for f in found] == [0, None, 3, None, 5]


def test_a_full_disk_is_said(monkeypatch):
    class Full:
        def tell(self):
            return 0

        def write(self, _):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(module.tempfile, "TemporaryFile", Full)
    with Spool() as spool, pytest.raises(InputError, match=r"frame 4.*No space left"):
        spool.push(result(4))
