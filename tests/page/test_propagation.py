"""Runs: which frames they label, and that their labels are those of `liir track`."""

import numpy as np
import pytest

from liir.cli import main
from liir.page import propagation

LENGTH = 20


@pytest.fixture
def page(client, clip):
    client.upload(clip)
    return client


def track(page, weights, out):
    """What the command line makes of the project's files."""
    project = page.studio.project(page.project)
    words = ["track", str(project.video_path), "--annotation", str(project.annotations_path)]
    words += ["--model", str(weights), "--dtype", "float32", "--out", str(out)]
    assert main(words) == 0
    return {path.name: path.read_bytes() for path in (out / "masks").iterdir()}


def masks(page):
    folder = page.studio.project(page.project).results.folder.masks
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_whole_clip_is_what_track_writes(page, weights, tmp_path, square):
    page.paint(0, square(0))
    state = page.propagate()
    assert state["labelled"] == [[0, LENGTH - 1]]
    assert state["stale"] is None
    assert masks(page) == track(page, weights, tmp_path / "out")


def test_correction_goes_on_from_a_stored_state_to_the_same_bits(
    page, weights, tmp_path, square, monkeypatch
):
    page.paint(0, square(0))
    page.propagate()
    corrected = square(12) + np.roll(square(12, 2), 18, axis=0)
    page.paint(12, corrected)
    assert page.state()["stale"] == 12
    begun = []
    real = propagation.label_video

    def watched(*args, **options):
        begun.append(options["start"])
        return real(*args, **options)

    monkeypatch.setattr(propagation, "label_video", watched)
    state = page.propagate()
    assert begun == [8]  # a state is kept every eight frames: not from 0
    assert state["stale"] is None
    assert np.array_equal(page.labels(12), corrected)
    assert masks(page) == track(page, weights, tmp_path / "out")
    # The correction taken back: no annotation is left where computing starts.
    page.ask("POST", "/undo")
    page.ask("POST", "/undo")
    page.propagate()
    assert begun == [8, 8]
    assert masks(page) == track(page, weights, tmp_path / "again")
