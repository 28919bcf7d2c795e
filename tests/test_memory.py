"""Which frames are remembered, and how much of them."""

from dataclasses import replace

import pytest
import torch

from liir.errors import InputError
from liir.memory import Memory, Reference
from liir.presets import TrackingConfig


def reference(step, annotated=False, labels=2, cells=16):
    keys = torch.zeros(4, 4, cells // 4)
    known = torch.ones(labels, dtype=torch.bool)
    return Reference(step, keys, torch.full((cells, labels), float(step)), known, annotated)


def fill(memory, steps, annotated=(0,), corrects=False):
    for step in steps:
        memory.add(reference(step, step in annotated), corrects and step in annotated)


def steps(memory, step):
    return [r.step for r in memory.references(step)]


def test_default_references():
    memory = Memory(TrackingConfig())
    fill(memory, range(20))
    assert steps(memory, 20) == [0, 5, 15, 17, 19]


def test_the_window_is_wider_in_what_lasts():
    memory = Memory(TrackingConfig(radius=10, lasting_margin=4))
    fill(memory, range(20), annotated=(0, 9))
    found = memory.references(20)
    assert [r.step for r in found] == [0, 9, 14, 15, 17, 19]  # 14: five after the last annotated
    assert memory.radii(found) == [14, 14, 14, 10, 10, 10]


@pytest.mark.parametrize(
    ("step", "expected"),
    [(1, [0]), (2, [0, 1]), (3, [0, 2]), (5, [0, 2, 4]), (6, [0, 1, 3, 5]), (8, [0, 3, 5, 7])],
)
def test_what_is_not_there_or_repeats_is_left_out(step, expected):
    memory = Memory(TrackingConfig())
    fill(memory, range(step))
    assert steps(memory, step) == expected


def test_without_long_term_references():
    memory = Memory(TrackingConfig(first=()))
    fill(memory, range(20), annotated=())
    assert steps(memory, 20) == [15, 17, 19]


def test_the_annotated_frame_may_be_left_out_too():
    memory = Memory(TrackingConfig(annotated=0, first=()))
    fill(memory, range(20))
    assert steps(memory, 20) == [15, 17, 19]


def test_the_newest_frame_stands_in_where_nothing_else_is():
    memory = Memory(TrackingConfig(annotated=0, first=(), recent=()))
    fill(memory, range(3))
    assert steps(memory, 3) == [2]


def test_first_references_count_from_the_latest_annotation():
    memory = Memory(TrackingConfig())
    fill(memory, range(31), annotated=(0, 10), corrects=True)
    assert steps(memory, 31) == [0, 10, 15, 26, 28, 30]


def test_an_annotation_clears_what_it_corrects():
    memory = Memory(TrackingConfig())
    fill(memory, range(11), annotated=(0, 10), corrects=True)
    assert steps(memory, 11) == [0, 10]


def test_an_annotation_of_something_new_clears_nothing():
    memory = Memory(TrackingConfig())
    fill(memory, range(11), annotated=(0, 10))
    assert steps(memory, 11) == [0, 6, 8, 10]


def test_many_annotations_do_not_add_up():
    memory = Memory(TrackingConfig(annotated=3))
    fill(memory, range(200), annotated=range(0, 200, 10), corrects=True)
    assert steps(memory, 200) == [0, 170, 180, 190, 195, 197, 199]
    assert len(memory) < 12


def test_memory_stays_flat():
    memory = Memory(TrackingConfig())
    fill(memory, range(50))
    size, count = memory.bytes, len(memory)
    fill(memory, range(50, 500), annotated=())
    assert (memory.bytes, len(memory)) == (size, count)


def test_budget_gives_up_old_unannotated_frames_first():
    one_mib = 1 << 18
    memory = Memory(TrackingConfig(budget_mib=4))
    for step in range(10):
        big = replace(reference(step, step in (0, 3)), values=torch.zeros(one_mib, 1))
        memory.add(big)
    assert memory.bytes <= 4 << 20
    kept = steps(memory, 10)
    assert {0, 3, 9} <= set(kept)


def test_one_frame_over_the_budget_is_refused():
    memory = Memory(TrackingConfig(budget_mib=1))
    with pytest.raises(InputError, match="budget"):
        memory.add(replace(reference(0, True), values=torch.zeros(1 << 19, 1)))


def test_new_labels_are_unknown_to_what_is_remembered():
    memory = Memory(TrackingConfig())
    fill(memory, range(3))
    memory.add_labels(1, 2)
    for kept in memory.references(3):
        assert kept.values.shape == (16, 4)
        assert kept.known.tolist() == [True, False, False, True]
        assert bool((kept.values[:, 1:3] == 0).all())
        assert bool((kept.values[:, [0, 3]] == kept.step).all())
