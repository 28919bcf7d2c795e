"""What is drawn, and how often."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

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
    counts = Counter(draws.shot(np.random.default_rng(i), 0, 0).path for i in range(4000))
    return {path: count / 4000 for path, count in counts.items()}


def test_every_video_is_as_likely_as_every_other() -> None:
    assert shares(LONG + SHORT) == pytest.approx({"long": 0.5, "short": 0.5}, abs=0.03)


def test_every_frame_is_as_likely_as_every_other() -> None:
    assert shares(LONG + SHORT, draw="frames") == pytest.approx(
        {"long": 0.75, "short": 0.25}, abs=0.03
    )


def test_a_shot_is_as_likely_as_it_is_long() -> None:
    draws = Draws(LONG, TrainingConfig())
    counts = Counter(draws.shot(np.random.default_rng(i), 0, 0).start for i in range(4000))
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


# --- shards


def sharded(counts: list[int], length: int = 20) -> list[Shot]:
    """One shot a clip; clip k of shard s is s * 100 + k, at an offset of its own."""
    return [
        Shot(f"/d/{s}.tar/{k}.mp4", 0, length, 100 * s + k, offset=512 + 1000 * ((k * 7) % count))
        for s, count in enumerate(counts)
        for k in range(count)
    ]


def walked(shots: list[Shot], steps: int, **config: object) -> list[list[Shot]]:
    """What each slot draws, one after the other."""
    settings = TrainingConfig(**config)  # type: ignore[arg-type]
    draws = Draws(shots, settings)
    return [
        [draws.shot(np.random.default_rng((slot, i)), i, slot) for i in range(steps)]
        for slot in range(settings.batch)
    ]


@pytest.mark.parametrize("counts", [[24], [6, 9, 2, 7], [1] * 24])
def test_slots_together_read_all_shards_once(counts: list[int]) -> None:
    drawn = walked(sharded(counts), 6, batch=4)  # 4 x 6 = 24
    first = [shot.video for slot in drawn for shot in slot]
    assert sorted(first) == sorted(shot.video for shot in sharded(counts))
    assert all(len({slot[i].video for slot in drawn}) == 4 for i in range(6))  # never the same


def test_a_slot_reads_a_shard_in_its_order() -> None:
    (slot,) = walked(sharded([6, 10, 8]), 48, batch=1)
    runs = np.array([shot.video // 100 for shot in slot])
    assert np.count_nonzero(np.diff(runs)) in (4, 5)  # twice through three shards
    for a, b in pairwise(slot):
        if a.video // 100 == b.video // 100 and b.offset != 512:
            assert (b.offset or 0) - (a.offset or 0) == 1000


def test_shards_come_in_another_order_each_time() -> None:
    (slot,) = walked(sharded([1] * 12), 36, batch=1)
    passes = [tuple(shot.video for shot in slot[i : i + 12]) for i in (0, 12, 24)]
    assert len(set(passes)) == 3
    (other,) = walked(sharded([1] * 12), 12, batch=1, seed=1)
    assert tuple(shot.video for shot in other) != passes[0]


def test_the_order_is_not_that_of_names() -> None:
    moved = [
        replace(shot, path=shot.path.replace("/0.tar", "/9.tar")) for shot in sharded([5, 5, 5])
    ]
    assert [[s.video for s in slot] for slot in walked(moved, 9, batch=2)] == [
        [s.video for s in slot] for slot in walked(sharded([5, 5, 5]), 9, batch=2)
    ]


def test_a_long_clip_in_a_shard_comes_more_often() -> None:
    shots = [*sharded([4], 16), Shot("/d/0.tar/long", 0, 64, 7, offset=9999)]
    drawn = Counter(s.video for slot in walked(shots, 8, batch=4, draw="frames") for s in slot)
    assert drawn == {0: 4, 1: 4, 2: 4, 3: 4, 7: 16}
    drawn = Counter(s.video for slot in walked(shots, 5, batch=4) for s in slot)
    assert set(drawn.values()) == {4}


def test_videos_beside_shards_have_their_share() -> None:
    shots = sharded([30]) + [Shot(f"{i}.mp4", 0, 20) for i in range(10)]
    drawn = [s.offset is None for slot in walked(shots, 200, batch=4) for s in slot]
    assert np.mean(drawn) == pytest.approx(0.25, abs=0.05)
