"""What was drawn: versions, ids, undo."""

from dataclasses import replace

import numpy as np
import pytest

from liir.errors import InputError
from liir.page.marks import NOTHING, History, Marks, Place, State


def test_marks_say_what_they_hold():
    labels = np.array([[0, 2], [255, 2]], np.uint8)
    marks = Marks.of(labels, frozenset({2, 3}), {"nose": Place(1, 1)})
    assert marks.ids == {2}
    assert marks.absent == {3}
    assert (marks.labels((2, 2)) == labels).all()
    assert marks.version != Marks.of(labels).version
    assert Marks.of(np.zeros((2, 2), np.uint8)).version == NOTHING


def test_merging_and_deleting_change_every_frame_and_leave_a_trace():
    state, one = State().with_thing()
    state, two = state.with_thing()
    state = state.marked(4, Marks.of(np.array([[1, 2]], np.uint8)))
    merged = state.without_thing(two.id, one.id)
    assert merged.marks(4).labels((1, 2)).tolist() == [[1, 1]]
    gone = merged.without_thing(1)
    assert gone.frames == {}
    assert gone.alias == {2: 0, 1: 0}
    assert gone.with_thing()[1].id == 3  # tracked labels may still hold 1 and 2
    with pytest.raises(InputError, match="no object 9"):
        state.without_thing(9)


def test_undo_goes_back_and_forth():
    history = History(State())
    first, _ = State().with_thing()
    history.push(first)
    assert history.moved(-1) == State()
    assert history.moved(1) == first
    with pytest.raises(InputError, match="redo"):
        history.moved(1)


def test_an_amended_state_is_no_step():
    history = History(State())
    state, thing = State().with_thing()
    history.push(state)
    hidden = replace(state, things=(replace(thing, hidden=True),))
    history.amend(hidden)
    assert history.state == hidden
    assert history.undoable == 1
    assert history.moved(-1) == State()
