"""Projects on disk: they outlive the server, whatever it was at."""

import time

import numpy as np

from liir.page.models import Models
from liir.page.studio import Studio


def test_a_run_that_was_interrupted_goes_on_to_the_same_labels(client, clip, square, weights):
    client.upload(clip)
    client.paint(0, square(0))
    client.propagate()
    masks = client.studio.project(client.project).results.folder.masks
    whole = {path.name: path.read_bytes() for path in masks.iterdir()}
    client.ask("PATCH", "", json={"settings": {"radius": 5}})
    client.ask("PATCH", "", json={"settings": {}})
    client.ask("POST", "/propagate", json={})
    while not client.studio.tasks()[-1].done:
        time.sleep(0.005)
    client.studio.close()  # as when the server ends
    again = Studio(client.studio.root, Models([str(weights)], dtype="float32"))
    project = again.project(client.project)
    assert np.array_equal(project.state.marks(0).labels(project.size), square(0))
    if project.plan is not None:
        task = again.resume(client.project)
        while task.active:
            time.sleep(0.01)
        assert task.status == "done", task.error
    masks = project.results.folder.masks
    assert {path.name: path.read_bytes() for path in masks.iterdir()} == whole
    again.delete(client.project)
    assert list(again.root.iterdir()) == []
    again.close()


def test_one_broken_project_stops_no_other(client, clip):
    client.upload(clip)
    broken = client.studio.root / "broken"
    broken.mkdir()
    (broken / "project.json").write_text("{")
    told = client.ask("GET", "/api/projects")
    assert {each["id"]: bool(each["error"]) for each in told} == {"square": False, "broken": True}


def test_two_projects_of_one_name_are_told_apart(client, clip):
    names = [(told["id"], told["name"]) for told in (client.upload(clip), client.upload(clip))]
    assert names == [("square", "square"), ("square-2", "square 2")]
    assert client.studio.project("square-2").name == "square 2"


def test_a_video_of_this_computer_is_opened_once(studio, clip):
    assert studio.from_disk(clip) == studio.from_disk(clip) == "square"
