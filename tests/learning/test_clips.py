"""Clips sampled as pairs, the same wherever and whenever."""

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from liir.errors import InputError
from liir.learning.clips import Batch, Pairs, Runs
from liir.learning.shots import Shot
from liir.presets import TrainingConfig

CONFIG = TrainingConfig(batch=3, crop=32, crop_source=(24, 64), gap=4, chunk=7, reuse=4)


@pytest.fixture
def told(make: Any, tmp_path: Path) -> Path:
    return make.stills(tmp_path / "told", make.coordinates(24))


def frames_of(batch: Batch) -> list[tuple[int, int]]:
    """Which frames the pixels come from."""
    blue = batch.rgb[:, :, 2].float().mean(dim=(2, 3)) / 10
    return [(round(a), round(b)) for a, b in blue.tolist()]


def equal(a: Batch, b: Batch) -> bool:
    tensors = zip((a.rgb, a.window, a.dropped), (b.rgb, b.window, b.dropped), strict=True)
    return a.names == b.names and all(torch.equal(x, y) for x, y in tensors)


def test_batch(told: Path) -> None:
    batch = Pairs([Shot(str(told), 0, 24)], CONFIG)[0]
    assert batch.rgb.shape == (3, 2, 3, 32, 32)
    assert batch.rgb.dtype == torch.uint8
    assert (batch.window.shape, batch.window.dtype) == ((3, 4), torch.float32)
    assert (batch.dropped.shape, batch.dropped.dtype) == ((3,), torch.int64)


def test_pairs_keep_to_their_shot_and_gap(told: Path) -> None:
    shots = [Shot(str(told), 0, 5), Shot(str(told), 5, 7), Shot(str(told), 8, 24)]
    pairs = Pairs(shots, CONFIG)
    gaps, seen, dropped = set(), set(), set()
    for step in range(80):
        batch = pairs[step]
        dropped.update(batch.dropped.tolist())
        for (a, b), name in zip(frames_of(batch), batch.names, strict=True):
            assert re.fullmatch(rf"told frames {a}, {b}", name)
            assert any(s.start <= min(a, b) and max(a, b) < s.stop for s in shots)
            gaps.add(b - a)
            seen.update((a, b))
    assert gaps == {*range(-CONFIG.gap, CONFIG.gap + 1)} - {0}
    assert seen == {*range(24)} - {7}
    assert dropped == {1, 2}


def test_slots_stay_on_a_chunk(told: Path) -> None:
    pairs = Pairs([Shot(str(told), 0, 24)], CONFIG)
    spans = []
    for step in range(3 * CONFIG.reuse):
        pairs[step]
        spans.append([pairs._chunks[slot][0] for slot in range(CONFIG.batch)])
    changes = np.diff(np.array(spans), axis=0)
    assert (changes.sum(axis=0) == 2).all()
    for shot, frames in [pairs._chunks[slot][1:] for slot in range(CONFIG.batch)]:
        assert shot.stop - shot.start == len(frames) == CONFIG.chunk


def test_runs_are_the_steps_and_decode_each_chunk_once(
    told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = Pairs([Shot(str(told), 0, 24)], CONFIG)
    decoded = []
    decode = Pairs._decode
    monkeypatch.setattr(Pairs, "_decode", lambda *a: (decoded.append(1), decode(*a))[1])
    runs = Runs(Pairs([Shot(str(told), 0, 24)], CONFIG))
    for run in (5, 2):  # in any order, as processes take them
        for i, batch in enumerate(runs[run]):
            assert equal(batch, pairs[run * CONFIG.reuse + i])
    assert len(decoded) == 4 * CONFIG.batch  # two runs, and the same two step by step


def test_large_frames_are_shrunk(make: Any, tmp_path: Path) -> None:
    large = make.stills(tmp_path / "large", [np.full((120, 200, 3), 9, dtype=np.uint8)] * 3)
    pairs = Pairs([Shot(str(large), 0, 3)], replace(CONFIG, frame_side=60))
    assert pairs[0].rgb.shape[-2:] == (32, 32)
    assert all(frame.shape == (60, 100, 3) for frame in pairs._chunks[0][2])


def test_both_frames_share_crop_and_flip(make: Any, tmp_path: Path) -> None:
    still = make.stills(tmp_path / "still", make.coordinates(5, step=0))
    pairs = Pairs([Shot(str(still), 0, 5)], CONFIG)
    crops = [pairs[step].rgb for step in range(8)]
    for rgb in crops:
        assert torch.equal(rgb[:, 0], rgb[:, 1])
    assert len({rgb[b].numpy().tobytes() for rgb in crops for b in range(3)}) == 24  # all differ


def test_window_says_where_the_crop_lies(make: Any, told: Path) -> None:
    pairs = Pairs([Shot(str(told), 0, 24)], CONFIG)
    steps = (torch.arange(32) + 0.5) / 32
    flips = set()
    for step in range(12):
        batch = pairs[step]
        assert (batch.window >= 0).all()
        assert (batch.window[:, :2] + batch.window[:, 2:] <= 1 + 1e-6).all()
        for rgb, (top, left, tall, wide) in zip(batch.rgb, batch.window, strict=True):
            assert (
                CONFIG.crop_source[0] - 0.01
                <= float(wide) * make.width
                <= CONFIG.crop_source[1] + 0.01
            )
            assert float(wide) * make.width == pytest.approx(float(tall) * make.height, rel=1e-4)
            red, green = rgb[1, :2, 2:-2, 2:-2].float()
            x = (red.mean(dim=0) / 2 + 0.5) / make.width
            y = (green.mean(dim=1) / 3 + 0.5) / make.height
            flipped = bool(x[0] > x[-1])
            flips.add(flipped)
            place = (left + wide * steps)[2:-2]  # in the frame, mirrored where the crop is
            torch.testing.assert_close(1 - x if flipped else x, place, atol=5e-3, rtol=0)
            torch.testing.assert_close(y, (top + tall * steps)[2:-2], atol=5e-3, rtol=0)
    assert flips == {False, True}


def test_small_frames(make: Any, tmp_path: Path) -> None:
    small = make.stills(tmp_path / "small", [frame[:10, :14] for frame in make.coordinates(2)])
    batch = Pairs([Shot(str(small), 0, 2)], CONFIG)[5]
    assert batch.rgb.shape == (3, 2, 3, 32, 32)
    assert {abs(a - b) for a, b in frames_of(batch)} == {1}


def test_seed_and_step_alone_decide(told: Path) -> None:
    shots = [Shot(str(told), 0, 24)]
    walked = Pairs(shots, CONFIG)
    batches = [walked[step] for step in range(10)]
    for step in (0, 3, 9, 4):  # from anywhere, also backwards
        assert equal(Pairs(shots, CONFIG)[step], batches[step])
        assert equal(walked[step], batches[step])
    other = TrainingConfig(**{**vars(CONFIG), "seed": 1})
    assert not equal(Pairs(shots, other)[0], batches[0])
    assert len({batch.rgb.numpy().tobytes() for batch in batches}) == 10


def test_any_number_of_processes_gives_the_same_batches(make: Any, tmp_path: Path) -> None:
    path = make.film(tmp_path / "a.mp4", make.pan(make.scene(0, 400), 24, 4))
    pairs = Pairs([Shot(str(path), 0, 11), Shot(str(path), 11, 24)], CONFIG)
    loader = DataLoader(
        pairs,
        batch_size=None,
        sampler=range(3, 9),
        num_workers=2,
        multiprocessing_context="spawn",
    )
    for step, batch in enumerate(loader, start=3):
        assert equal(batch, pairs[step])


def test_video_that_vanished_is_skipped(told: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone = Shot(str(told.with_name("gone.mp4")), 0, 9)
    short = Shot(str(told), 20, 90)  # as long as the index says, but no longer
    pairs = Pairs([gone, short, Shot(str(told.parent / "." / "told"), 0, 9)], CONFIG)
    with caplog.at_level(logging.WARNING):
        for step in range(6):
            assert len(pairs[step].names) == 3
    assert any("gone.mp4" in record.getMessage() for record in caplog.records)
    with pytest.raises(InputError, match="a hundred clips in a row"):
        Pairs([gone], CONFIG)[0]
