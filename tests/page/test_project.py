"""What is seen of a project's frames."""

import io
import itertools
import os
import re
import shutil
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from liir.page import project as project_module
from liir.page import propagation
from liir.page.marks import NOTHING, Place
from liir.page.project import Project, StaleError


def test_erasing_says_that_an_object_is_gone(client, clip, square):
    client.upload(clip)
    client.paint(0, square(0) + np.roll(square(0, 2), 22, axis=1))
    client.propagate()
    client.paint(9, square(9))
    marks = client.studio.project(client.project).state.marks(9)
    assert marks.ids == {1}
    assert marks.absent == ({2} if 2 in np.unique(client.labels(8)) else set())
    assert client.state()["stale"] == 9
    client.propagate()
    assert np.array_equal(client.labels(9), square(9))


class Killed(BaseException):
    """What a test ends a process with."""


@pytest.fixture
def killing(monkeypatch):
    """Ends what runs at its nth change of the disk, with no time to clean up."""

    def kill(run, after):
        done = 0

        def counted(real):
            def change(*args, **options):
                nonlocal done
                done += 1
                if done > after:
                    raise Killed
                return real(*args, **options)

            return change

        with monkeypatch.context() as patched:
            for name in ("replace", "rename", "unlink", "link", "rmdir"):
                patched.setattr(os, name, counted(getattr(os, name)))
            try:
                run()
            except Killed:
                return True
        return False

    return kill


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in (".png", ".csv")}


def test_killed_at_any_moment_of_taking_a_run_over(
    client, clip, square, tmp_path, monkeypatch, killing
):
    client.upload(clip)
    client.paint(0, square(0))
    client.propagate()
    client.paint(14, square(14) + np.roll(square(14, 2), 18, axis=0))
    with monkeypatch.context() as patched:
        patched.setattr(propagation, "settle", lambda *_, **__: None)
        client.propagate("forward", frame=14)
    project = client.studio.project(client.project)
    whole = Project.read(shutil.copytree(project.folder, tmp_path / "whole"))
    before = [project.results.labels(frame, project.size) for frame in range(20)]
    propagation.settle(whole, finished=True)
    after = [whole.results.labels(frame, whole.size) for frame in range(20)]
    assert not all(map(np.array_equal, before, after))
    for count in itertools.count():
        folder = shutil.copytree(project.folder, tmp_path / str(count))
        opened = Project.read(folder)
        killed = killing(lambda p=opened: propagation.settle(p, finished=True), count)
        again = Project.read(folder)
        for frame in range(20):
            assert np.array_equal(again.tracked(frame), after[frame]), (count, frame)
        propagation.settle(again, finished=True)
        assert files(folder / "results" / "masks") == files(whole.results.folder.masks)
        assert files(folder / "results") == files(whole.folder / "results")
        assert not (folder / "run").exists() or not Project.read(folder).run.frames
        if not killed:
            break
    assert count > 15


def test_killed_at_any_moment_of_a_save(client, clip, square, tmp_path, killing):
    client.upload(clip)
    client.paint(0, square(0))
    client.ask("POST", "/points", json={"name": "nose"})
    client.ask("PUT", "/frames/0/points", json={"places": {"nose": {"x": 3, "y": 4}}})
    folder = client.studio.project(client.project).folder
    for count in itertools.count():
        opened = Project.read(shutil.copytree(folder, tmp_path / str(count)))
        with opened.lock:
            state = opened.state.without_thing(1).renamed_point("nose", "tip")
        killed = killing(lambda p=opened, s=state: p.change(s), count)
        again = Project.read(opened.folder)
        seen = again.state.marks(0)
        assert seen.ids in ({1}, frozenset())
        assert all((at.x, at.y) == (3, 4) for at in seen.points.values())
        assert set(seen.points) <= {"nose", "tip"}
        if not killed:
            break
    assert count >= 3


def test_a_run_half_forgotten_does_not_stop_the_next(client, clip, square):
    client.upload(clip)
    client.paint(0, square(0))
    client.propagate()
    project = client.studio.project(client.project)
    shutil.copytree(project.results.folder.path, project.folder / "run")
    client.studio._open.clear()  # the server was killed
    assert client.propagate()["labelled"] == [[0, 19]]


@pytest.fixture
def pointed(client, clip):
    """Two points tracked from frame 4."""
    client.upload(clip)
    for name in ("nose", "tail"):
        client.ask("POST", "/points", json={"name": name})
    places = {"nose": {"x": 12, "y": 20}, "tail": {"x": 30, "y": 30}}
    client.ask("PUT", "/frames/4/points", json={"places": places})
    client.propagate()
    return client


def places(page, frame=9):
    found = page.frame(frame)["points"]
    return {name: (at["x"], at["y"]) for name, at in found.items()}


def rename(page, name, new):
    return page.ask("PATCH", "/points", json={"name": name, "rename": new})


def test_a_point_called_otherwise_stays_where_it_was_tracked(pointed):
    before = places(pointed)
    assert rename(pointed, "nose", "snout")["stale"] is None
    assert rename(pointed, "snout", "tip")["stale"] is None
    assert places(pointed) == {"tip": before["nose"], "tail": before["tail"]}
    rows = pointed.ask("GET", "/export/points").text.splitlines()
    assert len([row for row in rows if row.split(",")[1] == "tip"]) == 20
    pointed.studio._open.clear()  # the server began anew
    assert places(pointed)["tip"] == before["nose"]
    rename(pointed, "tip", "nose")
    assert places(pointed) == before


def test_a_name_given_away_goes_with_the_run_that_knows_it(pointed):
    before = places(pointed)
    rename(pointed, "nose", "tip")
    pointed.ask("POST", "/points", json={"name": "nose"})
    assert places(pointed) == {"tip": before["nose"], "tail": before["tail"]}
    pointed.ask("PUT", "/frames/4/points", json={"places": {"nose": {"x": 50, "y": 8}}})
    pointed.propagate()
    after = places(pointed)
    assert after["tip"] == before["nose"]
    assert after["nose"] != before["nose"]


def test_undo_of_a_name_that_a_run_knows(pointed):
    rename(pointed, "nose", "tip")
    pointed.ask("PATCH", "", json={"settings": {"radius": 3}})
    pointed.propagate()
    before = places(pointed)
    assert pointed.ask("POST", "/undo", json={})["stale"] is None
    assert places(pointed) == {"nose": before["tip"], "tail": before["tail"]}
    pointed.ask("POST", "/redo", json={})
    assert places(pointed) == before
    pointed.ask("DELETE", "/points?name=tip")
    assert places(pointed) == {"tail": before["tail"]}


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/passwd", "a/../../b", "..", "C:\\x", "con.", "~"]
)
def test_names_of_things_are_no_paths(client, clip, square, tmp_path, name):
    client.ask("POST", "/api/projects", files={"files": (f"{name}.mp4", clip.read_bytes())})
    client.project = client.ask("GET", "/api/projects")[0]["id"]
    folder = client.studio.project(client.project).folder
    assert folder.parent == client.studio.root
    outside = {p for p in tmp_path.rglob("*") if folder not in p.parents}
    client.paint(0, square(0))
    client.ask("PATCH", "", json={"name": name})
    client.ask("PATCH", "/objects/1", json={"name": name})
    client.ask("POST", "/points", json={"name": name})
    client.ask("PUT", "/frames/0/points", json={"places": {name: {"x": 5, "y": 5}}})
    for kind in ("masks", "yolo"):
        data = client.ask("GET", f"/export/{kind}")
        with zipfile.ZipFile(io.BytesIO(data.content)) as archive:
            for entry in archive.namelist():
                assert re.fullmatch(
                    r"(masks|labels)/\d{5}\.(png|txt)|objects\.txt|data\.yaml", entry
                )
    for kind in ("coco", "cvat", "points"):
        answer = client.http.get(f"/api/projects/{client.project}/export/{kind}")
        told = answer.headers["content-disposition"]
        assert re.search(r'"([a-z0-9-]+\.[a-z]+)"', told), told
    assert {p for p in tmp_path.rglob("*") if folder not in p.parents} == outside
    client.studio._open.clear()
    state = client.state()
    assert state["name"] == state["objects"][0]["name"] == state["points"][0]["name"] == name


@pytest.mark.parametrize("inside", ["video", "video/square.mp4", "proxy.mp4"])
def test_links_inside_a_project_do_not_lead_out(client, clip, tmp_path, inside):
    client.upload(clip)
    project = client.studio.project(client.project)
    place = project.folder / inside
    shutil.copy(clip, project.proxy)
    assert client.ask("GET", "/media").content == clip.read_bytes()
    target = tmp_path / "elsewhere"
    place.rename(target)
    if target.is_file():
        target.write_bytes(b"secret")
    place.symlink_to(target)
    if inside == "proxy.mp4":  # the video itself is shown instead
        assert client.ask("GET", "/media").content == clip.read_bytes()
        return
    project.proxy.unlink()
    assert "nothing else" in client.ask("GET", "/media", 422)["detail"]
    assert "nothing else" in client.ask("GET", "/frames/3/picture", 422)["detail"]
    client.studio._open.clear()
    assert "nothing else" in client.ask("GET", "", 422)["detail"]


def test_two_threads_write_one_project(client, clip, square, monkeypatch):
    """Each on frames of its own, points and masks at once: all of it is kept."""
    client.upload(clip)
    client.ask("POST", "/points", json={"name": "nose"})
    project = client.studio.project(client.project)
    real = project_module.write_state

    def slow(*args):
        real(*args)
        time.sleep(0.002)  # so that another thread would come between

    monkeypatch.setattr(project_module, "write_state", slow)

    def paint(frame):
        return project.paint(frame, square(frame), None)

    def place(frame):
        return project.place(frame, {"nose": Place(frame, 1)}, None)

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(call, frame) for frame in range(20) for call in (paint, place)]
        assert all(each.result() for each in done)
    again = Project.read(project.folder)
    assert again.state == project.state
    for frame in range(20):
        marks = again.state.marks(frame)
        assert np.array_equal(marks.labels(project.size), square(frame))
        assert marks.points == {"nose": Place(frame, 1)}
    assert project.history.undoable == 41


def test_of_two_who_saw_the_same_one_is_told(client, clip, square):
    client.upload(clip)
    project = client.studio.project(client.project)
    start = threading.Barrier(4)

    def paint(number):
        start.wait()
        try:
            project.paint(0, square(number), NOTHING)
        except StaleError:
            return None
        return number

    with ThreadPoolExecutor(4) as pool:
        first = [n for n in pool.map(paint, range(4)) if n is not None]
    assert len(first) == 1
    read = Project.read(project.folder).state.marks(0)
    assert np.array_equal(read.labels(project.size), square(first[0]))
