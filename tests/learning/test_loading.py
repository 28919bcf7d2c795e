"""Decoding in other processes: their errors in one line, and no wait that a signal cannot end."""

import multiprocessing
import os
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import _utils

from liir.errors import InputError
from liir.learning import loading
from liir.learning.clips import Batch, Pairs
from liir.learning.loading import following, load
from liir.learning.shots import Shot
from liir.presets import TrainingConfig

CONFIG = TrainingConfig(batch=2, crop=32, crop_source=(24, 48), gap=2, chunk=6, reuse=2, radius=3)


def test_error_in_a_process_is_one_line(tmp_path: Path) -> None:
    pairs = Pairs([Shot(str(tmp_path / "gone.mp4"), 0, 9)], CONFIG)
    with pytest.raises(InputError) as caught:
        following(load(pairs, 1, 0), threading.Event())
    assert str(caught.value).startswith("a hundred clips in a row")
    assert "\n" not in str(caught.value)


def test_waiting_loses_no_batch(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = make.film(tmp_path / "a.mp4", make.pan(make.scene(0, 200), 9, 2))
    pairs = Pairs([Shot(str(film), 0, 9)], CONFIG)
    monkeypatch.setattr(loading, "_PATIENCE", 0.05)  # a process takes seconds to start
    with closing(load(pairs, 1, 3)) as batches:
        found = [following(batches, threading.Event()) for _ in range(4)]
    for step, batch in enumerate(found, 3):
        assert batch is not None
        assert batch.names == pairs[step].names
        assert batch.rgb.equal(pairs[step].rgb)


class _Large(Pairs):
    """Batches that take long to hand over."""

    def __getitem__(self, step: int) -> Batch:
        return replace(super().__getitem__(step), rgb=torch.zeros(6, 2_000_000))


def test_processes_end_quietly_while_they_hand_over_a_batch(
    make: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    film = make.film(tmp_path / "a.mp4", make.pan(make.scene(0, 200), 9, 2))
    pairs = _Large([Shot(str(film), 0, 9)], CONFIG)
    others = {*multiprocessing.active_children()}
    with closing(load(pairs, 2, 0)) as batches:
        assert following(batches, threading.Event()) is not None
        children = {*multiprocessing.active_children()} - others
    assert [child.exitcode for child in children] == [0, 0]
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a file that is never read to its end")
def test_a_decoder_that_hangs_does_not_keep_a_run_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("0.png", "1.png"):
        os.mkfifo(tmp_path / name)
    monkeypatch.setattr(_utils, "MP_STATUS_CHECK_INTERVAL", 0.1)  # until torch ends the process
    stopped = threading.Event()
    threading.Timer(2.0, stopped.set).start()
    start = time.monotonic()
    with closing(load(Pairs([Shot(str(tmp_path), 0, 2)], CONFIG), 1, 0)) as batches:
        assert following(batches, stopped) is None
    assert stopped.is_set()
    assert time.monotonic() - start < 60
