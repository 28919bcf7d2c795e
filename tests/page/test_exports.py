"""Exports, and the same read in again."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

LENGTH = 20


@pytest.fixture
def page(client, clip, square):
    client.upload(clip)
    client.paint(0, square(0) + np.roll(square(0, 2), 22, axis=1))
    client.ask("POST", "/points", json={"name": "nose"})
    client.ask("PUT", "/frames/0/points", json={"places": {"nose": {"x": 9.5, "y": 20.25}}})
    client.propagate()
    return client


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("masks", "m.zip"),
        ("coco", "c.json"),
        ("yolo", "y.zip"),
        ("cvat", "v.xml"),
        ("tiff", "t.tif"),
    ],
)
def test_there_and_back(page, kind, name):
    data = page.http.get(f"/api/projects/{page.project}/export/{kind}").content
    shown = [page.labels(frame) for frame in range(LENGTH)]
    first = page.project
    page.upload(page.studio.project(first).video_path)
    told = page.ask("POST", "/import", files={"file": (name, data)})
    assert len(told["imported"]) > 3
    for frame in told["imported"]:
        assert np.array_equal(page.labels(frame), shown[frame]), frame


def test_points_overlay_and_tiff(page):
    table = page.ask("GET", "/export/points").text.splitlines()
    assert table[:2] == ["frame,name,x,y,visible,confidence", "0,nose,9.500,20.250,1,1.0000"]
    assert page.ask("GET", "/export/overlay").content[4:8] == b"ftyp"
    stack = Image.open(io.BytesIO(page.ask("GET", "/export/tiff").content))
    assert stack.n_frames == LENGTH


def test_a_deleted_object_is_gone_from_exports(page):
    page.ask("DELETE", "/objects/2")
    with zipfile.ZipFile(io.BytesIO(page.ask("GET", "/export/masks").content)) as archive:
        for name in archive.namelist():
            if name.endswith(".png"):
                assert 2 not in np.unique(np.array(Image.open(archive.open(name))))
