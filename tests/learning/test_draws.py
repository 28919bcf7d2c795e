"""What is drawn, and how often."""

from collections import Counter

import numpy as np
import pytest

from liir.errors import InputError
from liir.learning.draws import Draws
from liir.learning.shots import Shot
from liir.presets import TrainingConfig

LONG = [Shot("long", i, i + 2) for i in range(0, 26, 2)] + [Shot("long", 30, 34)]  # 30 frames
SHORT = [Shot("short", 0, 10)]


def shares(shots: list[Shot], **config: object) -> dict[str, float]:
    """How often each path comes."""
    draws = Draws(shots, TrainingConfig(**config))  # type: ignore[arg-type]
    counts = Counter(draws.shot(np.random.default_rng(i)).path for i in range(4000))
    return {path: count / 4000 for path, count in counts.items()}


def test_every_video_is_as_likely_as_every_other() -> None:
    assert shares(LONG + SHORT) == pytest.approx({"long": 0.5, "short": 0.5}, abs=0.03)


def test_every_frame_is_as_likely_as_every_other() -> None:
    assert shares(LONG + SHORT, draw="frames") == pytest.approx(
        {"long": 0.75, "short": 0.25}, abs=0.03
    )


def test_a_shot_is_as_likely_as_it_is_long() -> None:
    draws = Draws(LONG, TrainingConfig())
    counts = Counter(draws.shot(np.random.default_rng(i)).start for i in range(4000))
    assert counts[30] / 4000 == pytest.approx(4 / 30, abs=0.03)


@pytest.mark.parametrize("draw", ["videos", "frames"])
def test_places_have_their_shares(draw: str) -> None:
    shots = [*SHORT, *(Shot(f"b{i}", 0, 20, place=1) for i in range(9))]
    found = shares(shots, mix=(6, 2), draw=draw)
    assert found.pop("short") == pytest.approx(0.75, abs=0.03)
    assert found == pytest.approx({f"b{i}": 0.25 / 9 for i in range(9)}, abs=0.02)


def test_a_share_of_nothing() -> None:
    with pytest.raises(InputError, match="none of the videos of place 2"):
        Draws(SHORT, TrainingConfig(mix=(1, 1)))
