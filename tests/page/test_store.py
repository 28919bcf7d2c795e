"""Annotations on disk: as `liir track` reads them, and read again."""

import numpy as np

from liir.annotations import load_annotations
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
