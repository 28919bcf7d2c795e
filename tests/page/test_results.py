"""Labels that are read while they grow; frames worth a correction."""

import os

import numpy as np
from PIL import Image

from liir.annotations import read_annotations
from liir.export import ConfidenceWriter, write_label_png
from liir.page.results import DOUBTFUL, Results, doubtful, merge, write_tables


def test_rows_are_read_as_they_come(tmp_path):
    results = Results(tmp_path, None)
    assert not results.refresh()
    with ConfidenceWriter(tmp_path / "confidence.csv") as table:
        table.write(0, {1: 0.5})
        assert results.refresh()
        table.write(1, {1: 0.25, 2: 1.0})
        assert results.refresh()
    assert results.confidence == {0: {1: 0.5}, 1: {1: 0.25, 2: 1.0}}
    with ConfidenceWriter(tmp_path / "confidence.csv") as table:  # another run
        table.write(5, {3: 0.75})
    results.refresh()
    assert results.confidence == {5: {3: 0.75}}


def test_the_least_sure_frames_are_told_apart():
    sure = {f: {1: 0.95} for f in range(60)} | {20: {1: 0.3}, 21: {1: 0.35}, 45: {1: 0.5}}
    assert doubtful(sure, []) == [20, 45]
    assert doubtful(sure, [20]) == [45]
    gone = {f: {1: 0.95 if f < 30 else 0.0} for f in range(60)}
    assert doubtful(gone, [0]) == [30]


SIZE = (4, 5)


def write_results(path, frames, number=1, points=()):
    """A folder as `liir track` writes it: every pixel of a frame is the object."""
    results = Results(path, None)
    results.folder.masks.mkdir(parents=True)
    for frame in frames:
        write_label_png(results.folder.mask(frame), np.full(SIZE, number, np.uint8))
    sure = {frame: {number: 0.5} for frame in frames}
    places = {frame: dict.fromkeys(points, (1.5, 2.5, True, 0.75)) for frame in frames}
    write_tables(results.folder, sure, places)
    results.refresh()
    return results


def test_what_is_half_written_waits(tmp_path):
    results = Results(tmp_path, None)
    table = tmp_path / "confidence.csv"
    table.write_text("frame,object,confidence\n0,1,0.5\n1,1,0.")
    results.refresh()
    assert results.confidence == {0: {1: 0.5}}
    with table.open("a") as file:
        file.write("25\nnonsense\n2,x,0.5\n3,1\n")
    before = results.confidence
    results.refresh()
    assert results.confidence == {0: {1: 0.5}, 1: {1: 0.25}}
    assert before == {0: {1: 0.5}}  # another thread may be reading it
    table.unlink()
    results.refresh()
    assert results.frames == set()


def test_points_with_and_without_masks(tmp_path):
    results = write_results(tmp_path, [2], points=["nose"])
    assert results.points == {2: {"nose": (1.5, 2.5, True, 0.75)}}
    results.folder.confidence.unlink()
    results.refresh()
    assert results.frames == {2}
    assert results.labels(2, SIZE) is None


def test_only_a_label_image_of_the_size_is_one(tmp_path):
    results = write_results(tmp_path, [0, 1, 2, 3])
    assert np.array_equal(results.labels(0, SIZE), np.ones(SIZE))
    assert results.labels(0, (5, 4)) is None
    assert results.labels(9, SIZE) is None
    results.folder.mask(1).write_bytes(b"broken")
    Image.new("RGB", SIZE[::-1]).save(results.folder.mask(2))
    os.replace(results.folder.mask(3), tmp_path / "elsewhere.png")
    results.folder.mask(3).symlink_to(tmp_path / "elsewhere.png")
    assert [results.labels(frame, SIZE) for frame in (1, 2, 3)] == [None] * 3


def test_a_run_takes_the_place_of_its_frames_alone(tmp_path):
    into = write_results(tmp_path / "results", range(6), 1, ["nose"])
    run = write_results(tmp_path / "run", range(2, 9), 2)
    into.folder.overlay.write_bytes(b"old")
    (run.folder.settings).write_text("{}")
    merge(run, into, range(3, 5), SIZE)
    assert [int(into.labels(f, SIZE)[0, 0]) for f in range(6)] == [1, 1, 1, 2, 2, 1]
    assert into.confidence == {f: {2 if f in (3, 4) else 1: 0.5} for f in range(6)}
    assert sorted(into.points) == [0, 1, 2, 5]
    assert not into.folder.overlay.exists()  # a picture of what was
    assert into.folder.settings.read_text() == "{}"
    found = read_annotations(into.folder.labels)
    assert {f: found[f].ids for f in found} == {3: (2,), 4: (2,)}
    assert run.labels(3, SIZE) is not None  # the run stays whole
    before = {p: p.read_bytes() for p in into.folder.path.rglob("*") if p.is_file()}
    merge(run, into, range(3, 5), SIZE)  # as after a kill
    merge(run, into, range(20, 30), SIZE)
    assert {p: p.read_bytes() for p in into.folder.path.rglob("*") if p.is_file()} == before


def test_few_frames_are_told_apart_by_nobody():
    assert doubtful({}, []) == []
    assert doubtful({0: {1: 0.9}, 1: {1: 0.1}}, []) == []
    even = {f: {1: 0.5} for f in range(30)}
    assert doubtful(even, []) == []
    assert len(doubtful({f: {1: 0.1 if f % 20 == 10 else 0.9} for f in range(200)}, [])) == DOUBTFUL


def test_a_clip_that_is_bad_throughout_is_marked_where_it_began():
    bad = {f: {1: 0.9 if f < 12 else 0.5} for f in range(60)}
    assert doubtful(bad, [0]) == [12]
    drifting = {f: {1: 0.84 - 0.004 * f, 2: 0.9} for f in range(60)}
    assert doubtful(drifting, [0])[0] in (21, 22)
    assert doubtful(drifting, [0, 20])[0] in (41, 42)  # since the last annotation
    assert doubtful(bad, [11]) == []  # and was never better since
