"""Annotations on disk: as `liir track` reads them, and read again."""

import json

import numpy as np
import pytest

from liir.annotations import load_annotations
from liir.errors import InputError
from liir.export import write_label_png
from liir.page.marks import Marks, Place, State
from liir.page.store import describe_state, read_state, write_state


def test_there_and_back(tmp_path):
    size = (4, 5)
    state, _ = State().with_thing("dog")
    state, _ = state.with_thing("cat")
    state = state.with_point("nose")
    labels = np.zeros(size, np.uint8)
    labels[1:3] = 1
    labels[3] = 2
    state = state.marked(0, Marks.of(labels))
    gone = (labels == 1).astype(np.uint8)
    state = state.marked(7, Marks.of(gone, frozenset({2}), {"nose": Place(1.25, 2.5, False)}))
    state = state.marked(9, Marks.of(None, points={"nose": Place(3, 1)}))
    write_state(tmp_path, None, state, size, "{:05d}".format)
    assert read_state(tmp_path, describe_state(state), size, None) == state
    files = sorted(tmp_path.iterdir())
    assert [f.name for f in files] == ["00000.png", "00007.png", "absent.json", "points.csv"]
    read = load_annotations([str(f) for f in files], size)
    assert read[7].ids == (1, 2)  # 2 is said to be gone
    assert dict(read[9].points) == {"nose": (3.0, 1.0)}
    write_state(tmp_path, state, State(), size, "{:05d}".format)
    assert list(tmp_path.iterdir()) == []


def test_what_a_name_was_outlives_the_server(tmp_path):
    state, _ = State().with_point("nose").with_thing()
    state, two = state.with_thing()
    state = state.without_thing(1, two.id).renamed_point("nose", "tip")
    known = json.loads(json.dumps(describe_state(state)))
    read = read_state(tmp_path, known, (4, 5), None)
    assert read == state
    assert (read.alias, read.called) == ({1: 2}, {"nose": "tip"})
    del known["called"]  # of a version before
    assert read_state(tmp_path, known, (4, 5), None).called == {}


def test_only_what_differs_is_written(tmp_path):
    size = (4, 5)
    labels = np.ones(size, np.uint8)
    first = State().with_thing()[0].marked(0, Marks.of(labels)).marked(3, Marks.of(labels))
    write_state(tmp_path, None, first, size, "{:05d}".format)
    stamp = (tmp_path / "00000.png").stat().st_ino
    labels[0] = 0
    second = first.marked(3, Marks.of(labels))
    write_state(tmp_path, first, second, size, "{:05d}".format)
    assert (tmp_path / "00000.png").stat().st_ino == stamp
    assert read_state(tmp_path, describe_state(second), size, None) == second


def test_files_that_others_put_there(tmp_path):
    """An object or a point that only a file knows joins the list; frames go by their names."""
    size = (4, 5)
    write_label_png(tmp_path / "b.png", np.full(size, 7, np.uint8))
    write_label_png(tmp_path / "zzz.png", np.full(size, 9, np.uint8))
    (tmp_path / "points.csv").write_text("frame,name,x,y\n2,tail,1,2\n")
    state = read_state(tmp_path, {}, size, ["a", "b", "c"])
    assert state.ids == {7}
    assert state.names == ["tail"]
    assert sorted(state.frames) == [1, 2]
    numbers = read_state(tmp_path, {}, size, None)
    assert sorted(numbers.frames) == [2]


@pytest.mark.parametrize(
    ("file", "data", "words"),
    [
        ("00001.png", b"broken", "00001.png: is not"),
        ("absent.json", b"[]", "absent.json: is damaged"),
        ("absent.json", b'{"images": [{"id": 1}], "annotations": []}', "is damaged"),
        ("points.csv", b"frame,name,x,y\n0,nose,99,1\n", "outside"),
    ],
)
def test_damaged_files_are_named(tmp_path, file, data, words):
    (tmp_path / file).write_bytes(data)
    with pytest.raises(InputError, match=words):
        read_state(tmp_path, {}, (4, 5), None)


def test_a_mask_of_another_size_is_named(tmp_path):
    write_label_png(tmp_path / "00002.png", np.ones((5, 4), np.uint8))
    with pytest.raises(InputError, match=r"00002.png: is not of the video's size"):
        read_state(tmp_path, {}, (4, 5), None)
