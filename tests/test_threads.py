"""Threads in the background leave the cores to those that compute."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import liir
from liir import labelling
from liir.annotations import Annotation
from liir.presets import TrackingConfig
from liir.threads import background_thread
from liir.video import open_video


@pytest.fixture(autouse=True)
def _three():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_torch_keeps_to_one_core_there_and_only_there():
    with background_thread("test") as thread, ThreadPoolExecutor(1) as other:
        assert torch.get_num_threads() == 3
        assert thread.submit(torch.get_num_threads).result() == 1
        assert other.submit(torch.get_num_threads).result() == 3
        assert torch.get_num_threads() == 3


def test_labels_are_written_in_such_a_thread(monkeypatch, tmp_path):
    """With a second team of threads, matching without the kernel took half as long again."""
    seen = []
    write = labelling.write_label_png

    def watched(*given):
        seen.append(torch.get_num_threads())
        write(*given)

    monkeypatch.setattr(labelling, "write_label_png", watched)
    model = liir.load("random:small")
    labels = np.tile(np.arange(48, dtype=np.uint8) // 24, (32, 1))
    video = open_video(np.zeros((2, 32, 48, 3), dtype=np.uint8))
    config = TrackingConfig(size=32)
    labelling.label_video(model, video, {0: Annotation(labels)}, tmp_path / "out", config=config)
    assert seen == [1, 1]
    assert torch.get_num_threads() == 3
