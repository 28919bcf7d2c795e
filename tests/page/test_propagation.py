"""Runs: which frames they label, and that their labels are those of `liir track`."""

import io
import zipfile

import numpy as np
import pytest

from liir.annotations import load_annotations
from liir.cli import main
from liir.errors import InputError
from liir.export import write_label_png
from liir.page import propagation
from liir.page.propagation import make_plan

LENGTH = 20


@pytest.fixture
def page(client, clip):
    client.upload(clip)
    return client


def track(page, weights, out, *more, given=None):
    """What the command line makes of the project's files."""
    project = page.studio.project(page.project)
    given = str(given or project.annotations_path)
    words = ["track", str(project.video_path), "--annotation", given]
    words += ["--model", str(weights), "--dtype", "float32", "--out", str(out), *more]
    assert main(words) == 0
    return {path.name: path.read_bytes() for path in (out / "masks").iterdir()}


def exported(page):
    """The masks that the page hands out, and the tables that lie among its results."""
    data = page.ask("GET", "/export/masks").content
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in archive.namelist() if name.startswith("masks/")]
        return {name.removeprefix("masks/"): archive.read(name) for name in names}


def tables(folder):
    names = ("confidence.csv", "points.csv", "labels.json")
    return {name: (folder / name).read_text() for name in names if (folder / name).exists()}


def only(found, frames):
    return {f"{frame:05d}.png": found[f"{frame:05d}.png"] for frame in frames}


def masks(page):
    folder = page.studio.project(page.project).results.folder.masks
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_whole_clip_is_what_track_writes(page, weights, tmp_path, square):
    page.paint(0, square(0))
    state = page.propagate()
    assert state["labelled"] == [[0, LENGTH - 1]]
    assert state["stale"] is None
    assert masks(page) == track(page, weights, tmp_path / "out")


@pytest.fixture
def begun(monkeypatch):
    """Where each run begins to compute."""
    starts = []
    real = propagation.label_video

    def watched(*args, **options):
        starts.append(options["start"])
        return real(*args, **options)

    monkeypatch.setattr(propagation, "label_video", watched)
    return starts


def test_correction_goes_on_from_a_stored_state_to_the_same_bits(
    page, weights, tmp_path, square, begun
):
    page.paint(0, square(0))
    page.propagate()
    corrected = square(12) + np.roll(square(12, 2), 18, axis=0)
    page.paint(12, corrected)
    assert page.state()["stale"] == 12
    state = page.propagate()
    assert begun == [0, 8]  # a state is kept every eight frames: not from 0
    assert state["stale"] is None
    assert np.array_equal(page.labels(12), corrected)
    assert masks(page) == track(page, weights, tmp_path / "out")
    # The correction taken back: no annotation is left where computing starts.
    page.ask("POST", "/undo")
    page.ask("POST", "/undo")
    page.propagate()
    assert begun == [0, 8, 8]
    assert masks(page) == track(page, weights, tmp_path / "again")


@pytest.fixture
def two(page, square):
    """Two objects and a point; the first annotation in the middle, one more after it."""
    page.paint(7, square(7) + np.roll(square(7, 2), 18, axis=0))
    page.ask("POST", "/points", json={"name": "nose"})
    place = {"x": 20.5, "y": 25.25}
    page.ask("PUT", "/frames/7/points", json={"places": {"nose": place}})
    page.paint(13, square(13))  # the second object is gone
    return page


def test_both_ways_with_points_to_the_bit(two, weights, tmp_path):
    two.propagate()
    assert exported(two) == track(two, weights, tmp_path / "out")
    results = two.studio.project(two.project).results.folder.path
    assert tables(results) == tables(tmp_path / "out")
    assert "points.csv" in tables(results)


@pytest.mark.parametrize(("first", "last"), [(9, 15), (2, 5), (4, 9), (14, 19), (3, 3)])
def test_a_range_is_a_part_of_the_whole(two, weights, tmp_path, first, last):
    state = two.propagate("range", frame=first, last=last)
    assert state["labelled"] == [[first, last]]
    whole = track(two, weights, tmp_path / "out")
    assert masks(two) == only(whole, range(first, last + 1))
    two.propagate("range", frame=0, last=first)
    two.propagate("forward", frame=last)
    two.propagate("range", frame=first, last=last)
    assert exported(two) == whole
    assert tables(two.studio.project(two.project).results.folder.path) == tables(tmp_path / "out")


def test_forward_is_the_end_of_the_whole(two, weights, tmp_path):
    two.propagate("forward", frame=10)
    whole = track(two, weights, tmp_path / "out")
    assert masks(two) == only(whole, range(10, LENGTH))


def test_backward_comes_from_the_next_annotation_alone(two, weights, tmp_path):
    two.propagate("backward", frame=11)
    given = two.studio.project(two.project).annotations_path / "00013.png"
    alone = track(two, weights, tmp_path / "o", "--start", "8", "--end", "14", given=given)
    assert masks(two) == alone
    two.propagate()
    assert exported(two) == track(two, weights, tmp_path / "whole")


def test_an_annotation_of_one_object_leaves_the_others(two, weights, tmp_path, square):
    write_label_png(tmp_path / "00010.png", square(10))
    data = (tmp_path / "00010.png").read_bytes()
    two.propagate()
    two.ask("POST", "/import", files={"file": ("00010.png", data)})
    two.propagate()
    assert exported(two) == track(two, weights, tmp_path / "out")


@pytest.mark.parametrize("mode", ["range", "forward"])
def test_parts_of_other_settings_are_not_gone_on_from(page, weights, tmp_path, square, mode):
    """After a run of a part with other settings, what lies before it is still of the old ones."""
    page.paint(0, square(0))
    page.propagate()
    page.ask("PATCH", "", json={"settings": {"radius": 2}})
    page.propagate(mode, frame=6, last=18)
    page.paint(17, square(17))
    page.propagate()
    assert masks(page) == track(page, weights, tmp_path / "out", "--set", "radius=2")


def test_what_is_changed_during_a_run_is_told_after_it(
    page, weights, tmp_path, square, monkeypatch
):
    page.paint(0, square(0))
    real = propagation.label_video

    def watched(*args, **options):
        real(*args, **options)
        page.paint(5, square(6))

    with monkeypatch.context() as patched:
        patched.setattr(propagation, "label_video", watched)
        assert page.propagate()["stale"] == 5
    assert page.propagate()["stale"] is None
    assert masks(page) == track(page, weights, tmp_path / "out")


def test_void_alone_is_no_annotation(page, weights, tmp_path, square):
    """Neither to the page nor to track, which refuses a file of it: none is written."""
    void = np.full((48, 64), 255, np.uint8)
    page.paint(2, square(2, 2))
    page.paint(6, np.where(square(6) > 0, square(6), void))
    page.paint(9, void)
    page.ask("DELETE", "/objects/1")  # leaves void alone on frame 6
    project = page.studio.project(page.project)
    written = [str(path) for path in sorted(project.annotations_path.iterdir())]
    assert make_plan(project, "whole", 0).annotations == (2,)
    assert sorted(load_annotations(written, project.size)) == [2]
    page.propagate()
    assert masks(page) == track(page, weights, tmp_path / "out")
    page.ask("DELETE", "/frames/2")
    page.paint(4, void)
    with pytest.raises(InputError, match="nothing is annotated"):
        make_plan(project, "whole", 0)


@pytest.fixture
def three(page, square):
    """Labelled from two objects on frame 3 and the second alone on frame 8."""
    page.paint(3, square(3) + np.roll(square(3, 2), 24, axis=0))
    page.paint(8, square(8, 2))
    page.ask("POST", "/objects", json={"name": "never painted"})
    page.propagate()
    return page


def test_deleting_an_object_asks_for_another_run(three, weights, tmp_path):
    assert three.ask("DELETE", "/objects/3")["stale"] is None
    assert three.ask("DELETE", "/objects/2")["stale"] == 0  # also the way back from frame 3
    assert 2 not in np.unique(three.labels(5))
    assert three.propagate()["stale"] is None
    assert masks(three) == track(three, weights, tmp_path / "out")


def test_merging_objects_asks_for_another_run(three, weights, tmp_path):
    assert three.ask("POST", "/objects/3/merge", json={"into": 2})["stale"] is None
    told = three.ask("POST", "/objects/1/merge", json={"into": 2})
    assert told["stale"] == 0
    assert three.propagate()["stale"] is None
    assert masks(three) == track(three, weights, tmp_path / "out")


def test_a_frame_that_says_nothing_is_not_the_first(page, square):
    """What lies before the first annotation follows from it, whatever else is drawn there."""
    page.ask("POST", "/points", json={"name": "nose"})
    unseen = {"nose": {"x": 5, "y": 5, "visible": False}}
    page.ask("PUT", "/frames/1/points", json={"places": unseen})
    page.paint(6, square(6))
    page.propagate()
    page.paint(6, square(7))
    assert page.state()["stale"] == 0


def test_what_says_the_same_asks_for_no_other_run(three, square):
    three.ask("DELETE", "/frames/5")  # nothing was there
    three.ask("PATCH", "/objects/1", json={"name": "dog", "hidden": True})
    three.ask("POST", "/points", json={"name": "nose"})
    unseen = {"nose": {"x": 5, "y": 5, "visible": False}}
    three.ask("PUT", "/frames/1/points", json={"places": unseen})
    three.ask("PATCH", "/points", json={"name": "nose", "rename": "tip"})
    assert three.ask("POST", "/undo", json={})["stale"] is None
    three.paint(8, square(9, 2))
    assert three.state()["stale"] == 8


def test_a_correction_of_frame_40_of_a_longer_clip(client, film, square, weights, tmp_path, begun):
    """By the way that the page goes on, and from the beginning by the command line."""
    size, length = (32, 48), 48
    client.upload(film(tmp_path / "long.mp4", length, size))
    second = np.zeros(size, np.uint8)
    second[2:12, 30:44] = 2
    client.paint(0, square(0, 1, size, length) + second)
    client.propagate()
    before = masks(client)
    corrected = square(40, 1, size, length) + np.roll(second, 2, axis=1)
    assert not np.array_equal(client.labels(40), corrected)
    client.paint(40, corrected)
    assert client.state()["stale"] == 40
    client.propagate()
    assert begun == [0, 40]
    after = masks(client)
    assert after == track(client, weights, tmp_path / "out")
    assert exported(client) == after
    assert only(after, range(40)) == only(before, range(40))
    assert np.array_equal(client.labels(40), corrected)
    results = client.studio.project(client.project).results.folder.path
    assert tables(results) == tables(tmp_path / "out")


def test_undoing_a_change_takes_back_what_it_put_out_of_date(page, square):
    page.paint(0, square(0))
    page.propagate()
    page.paint(5, square(7))
    assert page.state()["stale"] == 5
    assert page.ask("POST", "/undo", json={})["stale"] is None
    assert page.ask("POST", "/redo", json={})["stale"] == 5


def test_a_range_brings_its_frames_up_to_date(page, square):
    page.paint(0, square(0))
    page.propagate()
    page.paint(0, square(1))
    assert page.state()["outdated"] == [[0, 19]]
    assert page.propagate("range", frame=0, last=8)["outdated"] == [[9, 19]]
    assert page.propagate("range", frame=12, last=15)["stale"] == 9
    assert page.ask("POST", "/undo", json={})["outdated"] == [[0, 19]]
    page.ask("POST", "/redo", json={})
    assert page.propagate("range", frame=9, last=19)["stale"] is None


def test_during_a_run_what_is_new_is_told_from_what_is_old(page, square, monkeypatch):
    page.paint(0, square(0))
    page.propagate()
    page.paint(5, square(7))
    assert page.state()["outdated"] == [[5, 19]]
    real, seen = propagation.label_video, []

    def watched(*args, **options):
        real(*args, **options)
        page.studio.project(page.project).run.refresh()
        seen.append(page.state()["outdated"])
        page.paint(9, square(6))
        seen.append(page.state()["outdated"])

    with monkeypatch.context() as patched:
        patched.setattr(propagation, "label_video", watched)
        assert page.propagate()["stale"] == 9
    assert seen == [[], [[9, 19]]]
