"""Joints are called in words, and coloured by side where their names tell it."""

from pathlib import Path

import pytest

from liir.annotations import Annotation
from liir.evaluation.joints import BADJA_JOINTS
from liir.evaluation.layouts import Sequence
from liir.show.joints import called, legend, painted, side


def clip(*names: str, masks: bool = False) -> Sequence:
    points = dict.fromkeys(names, (3.0, 4.0))
    annotations = {0: Annotation(points=points)}
    shown = {0: Path("00000.png")} if masks else {}
    return Sequence(
        name="a", folder=Path(), stems=("0",), annotations=annotations, masks=shown, joints={0: {}}
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("right-shoulder", "right"),
        ("left_eye", "left"),
        ("Left Ear", "left"),
        ("neck", "middle"),
        ("bright", "middle"),
    ],
)
def test_the_side_is_a_word_of_the_name(name: str, expected: str) -> None:
    assert side(name) == expected


def test_sides_have_a_colour_each() -> None:
    man = clip("neck", "right-shoulder", "left-shoulder", "left_wrist")
    assert called(man) == {
        "neck": "neck",
        "right-shoulder": "R-shoulder",
        "left-shoulder": "L-shoulder",
        "left_wrist": "L-wrist",
    }
    rows = painted(man)
    assert rows["L-shoulder"] == rows["L-wrist"] == legend(man)["left"]
    assert len({rows["neck"], rows["L-wrist"], rows["R-shoulder"]}) == 3


def test_without_sides_colours_follow_each_other_and_suit_all_eyes() -> None:
    many = clip(*(f"right {number}" for number in range(10)))  # only one side: it tells nothing
    assert legend(many) == {}
    assert [*painted(many).values()] == [1, 2, 3, 4, 5, 6, 7, 8, 1, 2]


def test_numbers_of_badja_are_joints_of_animals() -> None:
    numbers = [str(number) for number in BADJA_JOINTS]
    horse = clip(*numbers, masks=True)
    assert called(horse)["8"] == "R-front 1"
    assert called(horse)["31"] == "tail 3"
    assert len({*called(horse).values()}) == len(numbers)
    assert not any(name.isdecimal() for name in called(horse).values())
    assert called(clip("8"))["8"] == "8"  # of somebody's own table
