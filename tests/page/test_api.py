"""The interface: what it does, and what it refuses."""

import os

import numpy as np
import pytest

from liir.page.wire import pack


@pytest.fixture
def page(client, clip):
    client.upload(clip)
    return client


def test_lists_and_frames(page, square):
    page.ask("PATCH", "/objects/1", json={"name": "dog", "colour": "#00ff00"})
    told = page.paint(3, square(3))
    assert told["objects"] == [1]
    assert np.array_equal(page.labels(3), square(3))
    page.ask("POST", "/points", json={"name": "nose"})
    page.ask("PUT", "/frames/3/points", json={"places": {"nose": {"x": 1.0, "y": 2.0}}})
    assert page.frame(3)["points"]["nose"]["visible"] is True
    page.ask("PATCH", "/points", json={"name": "nose", "rename": "a/b"})
    page.ask("DELETE", "/points?name=a/b")
    assert page.frame(3)["points"] == {}
    page.paint(3, square(3, 2))
    page.ask("POST", "/objects/2/merge", json={"into": 1})
    assert set(np.unique(page.labels(3))) == {0, 1}
    page.ask("DELETE", "/frames/3")
    assert page.frame(3)["source"] == "none"
    page.ask("POST", "/undo", json={})
    assert page.frame(3)["source"] == "drawn"


def test_what_is_hidden_stays_hidden(page, square):
    page.paint(0, square(0))
    page.ask("POST", "/points", json={"name": "nose"})
    page.ask("PATCH", "/objects/1", json={"hidden": True})
    told = page.ask("PATCH", "/points", json={"name": "nose", "hidden": True})
    assert told["objects"][0]["hidden"]
    assert told["points"][0]["hidden"]
    assert page.ask("POST", "/undo", json={})["points"] == []  # hiding was no step


def test_two_painters(page, square):
    first = page.paint(0, square(0), version="none")
    page.paint(0, square(1), status=412, version="none")
    page.paint(0, square(1), version=first["version"])


def test_grow_picture_media(page, square):
    strokes = np.zeros((48, 64), np.uint8)
    strokes[24:28, 10:14] = 1
    grown = page.ask("POST", "/frames/0/grow", json={"strokes": pack(strokes)})
    assert grown["labels"]
    assert page.ask("GET", "/frames/2/picture").content[:2] == b"\xff\xd8"
    part = page.ask("GET", "/media", 206, headers={"range": "bytes=4-7"})
    assert part.content == b"ftyp"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/frames/20", 422),
        ("GET", "/frames/-1", 422),
        ("GET", "/api/projects/..%2f..%2fetc", 404),
        ("GET", "/api/projects/none", 404),
        ("GET", "/export/exe", 422),
        ("GET", "/export/masks", 422),
        ("POST", "/resume", 404),
        ("DELETE", "/api/tasks/99999", 404),
        ("GET", "/adapt/0", 404),
        ("POST", "/undo", 422),
    ],
)
def test_refusals(page, method, path, status):
    page.ask(method, path, status)


def test_what_is_no_video_leaves_nothing(client):
    for name, data in (("a.mp4", b"nothing"), ("../../x.png", b"\x89PNG"), ("", b"x")):
        client.ask("POST", "/api/projects", 422, files={"files": (name, data)})
    assert list(client.studio.root.iterdir()) == []
    assert client.ask("GET", "/api/projects") == []


def test_links_do_not_lead_out(page, square, tmp_path):
    page.paint(0, square(0))
    page.propagate()
    project = page.studio.project(page.project)
    (tmp_path / "secret.png").write_bytes(project.results.folder.mask(4).read_bytes())
    mask = project.results.folder.mask(5)
    mask.unlink()
    os.symlink(tmp_path / "secret.png", mask)
    assert page.frame(5)["labels"] is None
    os.symlink(project.folder, page.studio.root / "link")
    page.ask("GET", "/api/projects/link", 404)
