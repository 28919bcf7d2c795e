"""Adapting in the background, and the choice after it."""

import numpy as np
import pytest

from liir.page.wire import unpack


@pytest.mark.parametrize("which", ["before", "after"])
def test_adapt_compare_keep(client, clip, square, monkeypatch, which):
    from liir.learning import trainer

    monkeypatch.setattr(trainer, "TIMED_STEPS", 2)
    client.upload(clip)
    client.paint(0, square(0))
    client.ask("POST", "/adapt", json={"minutes": 0.002})
    state = client.wait()
    task = next(t for t in state["tasks"] if t["kind"] == "adapt")
    assert task["status"] == "done", task["error"]
    assert len(task["curve"]) >= 2
    assert state["choice"]
    assert state["comparable"]
    pair = client.ask("GET", "/adapt/5")
    assert set(pair) == {"before", "after"}
    wanted = unpack(pair[which], square(5).shape)
    assert wanted.any()
    state = client.ask("POST", "/adapt/keep", json={"which": which})
    assert not state["choice"]
    assert state["adapted"] == (which == "after")
    assert state["settings"]["model"] == ("adapted" if which == "after" else None)
    assert np.array_equal(client.labels(5), wanted)
