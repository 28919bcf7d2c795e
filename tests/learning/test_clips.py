"""Clips: found, cut into shots, and sampled the same wherever and whenever."""

import json
import logging
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader

from liir.errors import InputError
from liir.learning import clips
from liir.learning.clips import (
    Batch,
    Pairs,
    Runs,
    Shot,
    find_shots,
    find_videos,
    identity,
    index_shots,
)
from liir.presets import TrainingConfig
from liir.video import VideoWriter

Rgb = NDArray[np.uint8]
HEIGHT, WIDTH = 72, 120
CONFIG = TrainingConfig(batch=3, crop=32, crop_source=(24, 64), gap=4, chunk=7, reuse=4)


def scene(seed: int, width: int = WIDTH, blob: int = 12) -> Rgb:
    """Large blobs of saturated colour, (HEIGHT, width, 3)."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 2, (HEIGHT // blob, width // blob, 3), dtype=np.uint8) * 255
    return np.asarray(Image.fromarray(small).resize((width, HEIGHT), Image.Resampling.NEAREST))


def pan(image: Rgb, count: int, speed: int) -> list[Rgb]:
    return [image[:, speed * i : speed * i + WIDTH] for i in range(count)]


def film(path: Path, frames: list[Rgb]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def stills(folder: Path, frames: list[Rgb]) -> Path:
    folder.mkdir(parents=True)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{i:03}.png")
    return folder


def coordinates(count: int, step: int = 10) -> list[Rgb]:
    """Frames whose pixels say where they are: red 2 x, green 3 y, blue `step` times the frame."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return [
        np.stack((2 * x, 3 * y, np.full_like(x, step * i)), axis=-1).astype(np.uint8)
        for i in range(count)
    ]


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return stills(tmp_path / "told", coordinates(24))


def frames_of(batch: Batch) -> list[tuple[int, int]]:
    """Which frames the pixels come from."""
    blue = batch.rgb[:, :, 2].float().mean(dim=(2, 3)) / 10
    return [(round(a), round(b)) for a, b in blue.tolist()]


def equal(a: Batch, b: Batch) -> bool:
    tensors = zip((a.rgb, a.window, a.dropped), (b.rgb, b.window, b.dropped), strict=True)
    return a.names == b.names and all(torch.equal(x, y) for x, y in tensors)


# --- shots


def test_cut_between_two_scenes(tmp_path: Path) -> None:
    frames = pan(scene(0, 200), 9, 2) + pan(scene(1, 200), 14, 2) + pan(scene(2, 200), 6, 2)
    path = film(tmp_path / "a.mp4", frames)
    assert find_shots(path) == [(0, 9), (9, 23), (23, 29)]


def test_no_cut_in_a_fast_pan(tmp_path: Path) -> None:
    frames = pan(scene(0, 600), 24, 20)
    moved = np.abs(np.diff(np.stack(frames).astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert moved.min() > 60  # far above the level of a cut
    assert find_shots(film(tmp_path / "a.mp4", frames)) == [(0, 24)]


def test_no_cut_in_a_fade(tmp_path: Path) -> None:
    a, b = scene(0).astype(float), scene(1).astype(float)
    frames = [(a + (b - a) * t).astype(np.uint8) for t in np.linspace(0, 1, 16)]
    assert find_shots(film(tmp_path / "a.mp4", [frames[0]] * 8 + frames)) == [(0, 24)]


def test_a_frame_that_cannot_be_read_ends_a_shot(tmp_path: Path) -> None:
    folder = stills(tmp_path / "a", [scene(0)] * 8)
    (folder / "003.png").write_bytes(b"no image")
    assert find_shots(folder) == [(0, 3), (4, 8)]


def test_shots_of_one_frame_are_left_out(tmp_path: Path) -> None:
    flash = [scene(0)] * 8 + [scene(1)] + [scene(0)] * 8
    path = film(tmp_path / "a.mp4", flash)
    shots = index_shots([path], tmp_path / "clips.json")
    assert [(s.start, s.stop) for s in shots] == [(0, 8), (9, 17)]


# --- finding


def test_finds_what_is_nested_and_not_what_is_hidden(tmp_path: Path) -> None:
    names = ["a.mp4", "in/b.MOV", "in/deep/c.webm", ".hidden.mp4", ".trash/d.mp4", "notes.txt"]
    names += ["frames/000.png", "frames/001.png", "mac/._000.png", ".thumbs/000.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_videos([tmp_path])]
    assert found == ["a.mp4", "frames", "in/b.MOV", "in/deep/c.webm"]


def test_one_file_or_folder_named_twice_counts_once(tmp_path: Path) -> None:
    path = film(tmp_path / "in" / "a.mp4", pan(scene(0, 200), 4, 2))
    assert find_videos([path]) == [path]
    assert find_videos([tmp_path, str(path), tmp_path / "in"]) == [path]
    videos = find_videos([path, os.path.relpath(path)])
    assert len(index_shots(videos, tmp_path / "clips.json")) == 1


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        find_videos([tmp_path / "nowhere"])
    with pytest.raises(InputError, match="no video and no folder of images below"):
        find_videos([tmp_path])
    one = film(tmp_path / "one.mp4", [scene(0)])
    with pytest.raises(InputError, match="none of the 1 videos has two readable frames"):
        index_shots([one], tmp_path / "clips.json")


# --- the index


def test_bad_videos_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = film(tmp_path / "good.mp4", pan(scene(0, 200), 6, 2))
    (tmp_path / "cut.mp4").write_bytes(good.read_bytes()[:200])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    progress = []
    shots = index_shots(
        find_videos([tmp_path]), tmp_path / "clips.json", lambda *at: progress.append(at)
    )
    assert shots == [Shot(str(good), 0, 6)]
    assert progress[-1] == (4, 4) or progress[-1] == (3, 4)
    for name in ("cut.mp4", "empty.mp4", "gone.mp4"):
        assert any(name in record.getMessage() for record in caplog.records), name


def test_index_is_reused_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [film(tmp_path / f"{n}.mp4", pan(scene(0, 200), 4, 2)) for n in "ab"]
    cache = tmp_path / "clips.json"
    read: list[str] = []

    def watched(path: Path) -> list[tuple[int, int]]:
        read.append(path.name)
        return find_shots(path)

    monkeypatch.setattr(clips, "find_shots", watched)
    first = index_shots(paths, cache)
    assert index_shots(paths, cache) == first
    assert read == ["a.mp4", "b.mp4"]
    os.utime(paths[0], ns=(1, 1))
    index_shots(paths, cache)
    assert read[2:] == ["a.mp4"]
    film(paths[1], pan(scene(0, 200), 7, 2))
    os.utime(paths[1], ns=(2, 2))
    assert index_shots(paths, cache)[1] == Shot(str(paths[1]), 0, 7)
    assert read[3:] == ["b.mp4"]


@pytest.mark.parametrize(
    "damage", ["", "{", "[1, 2]", "null", '{"PATH": 3}', '{"PATH": {"stamp": [1]}}', "\xff\xfe"]
)
def test_damaged_index_is_made_anew(tmp_path: Path, damage: str) -> None:
    path = film(tmp_path / "a.mp4", pan(scene(0, 200), 4, 2))
    cache = tmp_path / "clips.json"
    cache.write_text(damage.replace("PATH", str(path)), "latin-1")
    assert index_shots([path], cache) == [Shot(str(path), 0, 4)]
    assert json.loads(cache.read_text())[str(path)]["shots"] == [[0, 4]]


def test_index_that_cannot_be_written(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", pan(scene(0, 200), 4, 2))
    with pytest.raises(InputError, match=r"clips\.json: cannot be written"):
        index_shots([path], tmp_path / "none" / "clips.json")
    (tmp_path / "clips.json").mkdir()
    with pytest.raises(InputError, match=r"clips\.json: cannot be written"):
        index_shots([path], tmp_path / "clips.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "clips.json"]


def test_interrupted_index_keeps_what_it_has(tmp_path: Path) -> None:
    paths = [film(tmp_path / f"{n}.mp4", pan(scene(0, 200), 4, 2)) for n in "ab"]

    def stop(done: int, _: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_shots(paths, tmp_path / "clips.json", stop)
    assert list(json.loads((tmp_path / "clips.json").read_text())) == [str(paths[0])]


# --- pairs


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


def test_large_frames_are_shrunk(tmp_path: Path) -> None:
    large = stills(tmp_path / "large", [np.full((120, 200, 3), 9, dtype=np.uint8)] * 3)
    pairs = Pairs([Shot(str(large), 0, 3)], replace(CONFIG, frame_side=60))
    assert pairs[0].rgb.shape[-2:] == (32, 32)
    assert all(frame.shape == (60, 100, 3) for frame in pairs._chunks[0][2])


def test_identity_is_of_the_content(told: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.bin"
    copy.write_bytes(b"abc" * 100_000)
    other = tmp_path / "other.bin"
    other.write_bytes(b"abc" * 100_000)
    assert identity(copy) == identity(other)
    other.write_bytes(b"abc" * 99_999 + b"abd")
    assert identity(copy) != identity(other)
    assert 0 <= identity(copy) < 2**63


def test_both_frames_share_crop_and_flip(tmp_path: Path) -> None:
    still = stills(tmp_path / "still", coordinates(5, step=0))
    pairs = Pairs([Shot(str(still), 0, 5)], CONFIG)
    crops = [pairs[step].rgb for step in range(8)]
    for rgb in crops:
        assert torch.equal(rgb[:, 0], rgb[:, 1])
    assert len({rgb[b].numpy().tobytes() for rgb in crops for b in range(3)}) == 24  # all differ


def test_window_says_where_the_crop_lies(told: Path) -> None:
    pairs = Pairs([Shot(str(told), 0, 24)], CONFIG)
    steps = (torch.arange(32) + 0.5) / 32
    flips = set()
    for step in range(12):
        batch = pairs[step]
        assert (batch.window >= 0).all()
        assert (batch.window[:, :2] + batch.window[:, 2:] <= 1 + 1e-6).all()
        for rgb, (top, left, tall, wide) in zip(batch.rgb, batch.window, strict=True):
            assert (
                CONFIG.crop_source[0] - 0.01 <= float(wide) * WIDTH <= CONFIG.crop_source[1] + 0.01
            )
            assert float(wide) * WIDTH == pytest.approx(float(tall) * HEIGHT, rel=1e-4)
            red, green = rgb[1, :2, 2:-2, 2:-2].float()
            x = (red.mean(dim=0) / 2 + 0.5) / WIDTH
            y = (green.mean(dim=1) / 3 + 0.5) / HEIGHT
            flipped = bool(x[0] > x[-1])
            flips.add(flipped)
            place = (left + wide * steps)[2:-2]  # in the frame, mirrored where the crop is
            torch.testing.assert_close(1 - x if flipped else x, place, atol=5e-3, rtol=0)
            torch.testing.assert_close(y, (top + tall * steps)[2:-2], atol=5e-3, rtol=0)
    assert flips == {False, True}


def test_every_video_is_as_likely_as_every_other(tmp_path: Path) -> None:
    many = stills(tmp_path / "many", coordinates(24))
    few = stills(tmp_path / "few", coordinates(3))
    config = TrainingConfig(batch=8, crop=8, crop_source=(24, 64), reuse=1)
    shots = [Shot(str(many), i, i + 2) for i in range(0, 24, 2)] + [Shot(str(few), 0, 3)]
    pairs = Pairs(shots, config)
    names = [name.split()[0] for step in range(15) for name in pairs[step].names]
    assert 0.3 < names.count("few") / len(names) < 0.7


def test_small_frames(tmp_path: Path) -> None:
    small = stills(tmp_path / "small", [frame[:10, :14] for frame in coordinates(2)])
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


def test_any_number_of_processes_gives_the_same_batches(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", pan(scene(0, 400), 24, 4))
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
