"""What is no number is told at once, what explodes once there is something to compare it with."""

import math

import pytest

from liir.learning.guard import Guard


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none(bad: float) -> None:
    guard = Guard(25.0)
    assert guard.trouble({"intra": 1.0}, 2.0) is None
    assert guard.trouble({"intra": bad, "inter": 1.0}, 2.0) == (
        f"the loss is intra {bad}, inter 1.0 and its gradient 2.0"
    )
    assert guard.trouble({"intra": 1.0}, bad) is not None


def test_an_explosion() -> None:
    guard = Guard(25.0)
    assert guard.trouble({"intra": 900.0}, 1.0) is None  # how a run begins is nobody's business
    for _ in range(120):
        assert guard.trouble({"intra": 1.5, "inter": 0.5}, 1.0) is None
    assert guard.trouble({"intra": 40.0, "inter": 9.0}, 1.0) is None
    told = guard.trouble({"intra": 40.0, "inter": 40.0}, 1.0)
    assert told == "the loss is 80, 32 times that of the steps before"
    assert guard.trouble({"intra": 40.0, "inter": 40.0}, 1.0) == told  # it is not got used to


def test_no_limit() -> None:
    guard = Guard(0.0)
    for _ in range(50):
        assert guard.trouble({"intra": 1.0}, 1.0) is None
    assert guard.trouble({"intra": 1e9}, 1.0) is None
    assert guard.trouble({"intra": math.nan}, 1.0) is not None


def test_losses_of_nothing_at_all() -> None:
    """Black footage costs nothing; what comes after it is no explosion."""
    guard = Guard(25.0)
    for _ in range(20):
        assert guard.trouble({"intra": 0.0}, 0.0) is None
    assert guard.trouble({"intra": 1.0}, 1.0) is None
    assert guard.trouble({"intra": 1e3}, 1.0) is not None


def test_it_goes_on_with_what_it_knew() -> None:
    guard = Guard(25.0)
    for _ in range(130):
        guard.trouble({"intra": 2.0}, 1.0)
    assert Guard(25.0).trouble({"intra": 80.0}, 1.0) is None
    again = Guard(25.0, [*guard.recent])
    assert len(again.recent) == 100
    assert again.trouble({"intra": 80.0}, 1.0) is not None
