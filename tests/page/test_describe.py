"""What the page is told: a project, its frames, frame numbers in few words."""

import json

import numpy as np
import pytest

from liir.errors import InputError
from liir.page import project as project_module
from liir.page.describe import describe_frame, describe_project, describe_server, ranges
from liir.page.marks import NOTHING
from liir.page.plans import Plan
from liir.page.wire import unpack


def test_ranges():
    assert ranges(set()) == []
    assert ranges({4}) == [[4, 4]]
    assert ranges({0, 1, 2, 5, 7, 8}) == [[0, 2], [5, 5], [7, 8]]


def test_a_project_before_and_after_its_run(client, clip, square):
    client.upload(clip)
    told = describe_project(client.studio, client.project)
    assert told["clip"] == {"width": 64, "height": 48, "length": 20, "rate": 25.0, "direct": True}
    assert (told["playable"], told["media"]) == (True, "source")
    assert (told["annotated"], told["labelled"], told["stale"]) == ({}, [], None)
    assert (told["undo"], told["redo"]) == (0, 0)
    version = client.paint(4, square(4))["version"]
    client.propagate()
    told = describe_project(client.studio, client.project)
    assert told["annotated"] == {"4": version}
    assert told["labelled"] == [[0, 19]]
    assert sorted(map(int, told["confidence"])) == list(range(20))
    assert all(0 <= row["1"] <= 1 for row in told["confidence"].values())
    assert told["undo"] == 1
    assert told["tasks"][-1]["status"] == "done"
    assert told["interrupted"] is None
    json.dumps(told, allow_nan=False)


def test_each_change_has_a_revision_of_its_own(client, clip, square):
    client.upload(clip)
    seen = [client.state()["revision"]]
    client.paint(0, square(0))
    seen.append(client.state()["revision"])
    client.ask("POST", "/undo", json={})
    seen.append(client.state()["revision"])
    assert seen == sorted(set(seen))
    assert client.state()["revision"] == seen[-1]


def test_a_run_that_was_interrupted_is_told(client, clip, square, monkeypatch):
    monkeypatch.setattr(project_module, "doubtful", lambda *_: [3])
    client.upload(clip)
    client.paint(0, square(0))
    project = client.studio.project(client.project)
    assert project.doubtful() == [3]
    project.begin_run(Plan("range", 3, 9, 0, 9, (0,), 0))
    assert project.doubtful() == []  # it is still changing them
    told = describe_project(client.studio, client.project)
    assert told["interrupted"] == {"frame": 3, "end": 9}


def test_a_frame_says_where_its_labels_come_from(client, clip, square):
    client.upload(clip)
    project = client.studio.project(client.project)
    assert describe_frame(project, 3) == {
        "frame": 3, "version": NOTHING, "source": "none", "labels": None, "points": {}, "drawn": [],
    }  # fmt: skip
    client.paint(3, square(3))
    client.ask("POST", "/points", json={"name": "nose"})
    place = {"x": 12.0, "y": 20.0, "visible": True}
    client.ask("PUT", "/frames/3/points", json={"places": {"nose": place}})
    client.propagate()
    told = describe_frame(project, 3)
    assert (told["source"], told["drawn"]) == ("drawn", ["nose"])
    assert told["points"] == {"nose": {**place, "confidence": 1.0}}
    assert np.array_equal(unpack(told["labels"], project.size), square(3))
    told = describe_frame(project, 4)
    assert (told["source"], told["drawn"], told["version"]) == ("tracked", [], NOTHING)
    assert set(told["points"]) == {"nose"}
    with pytest.raises(InputError, match="no frame 20"):
        describe_frame(project, 20)


def test_the_server(studio):
    told = describe_server(studio, "1.2.3", 5)
    assert (told["version"], told["upload"], told["model"]) == ("1.2.3", 5, "tiny")
    assert {"small", "tiny"} <= set(told["models"])
