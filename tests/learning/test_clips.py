"""Clips sampled as pairs, the same wherever and whenever."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch.utils.data import DataLoader

from liir.errors import InputError
from liir.learning import clips
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
    fields = ("rgb", "window", "dropped", "videos", "correspondence")
    tensors = [(getattr(a, name), getattr(b, name)) for name in fields]
    same = all(torch.equal(x.nan_to_num(-1), y.nan_to_num(-1)) for x, y in tensors)
    return a.names == b.names and same


def test_batch(told: Path) -> None:
    batch = Pairs([Shot(str(told), 0, 24)], CONFIG)[0]
    assert batch.rgb.shape == (3, 2, 3, 32, 32)
    assert batch.rgb.dtype == torch.uint8
    assert (batch.window.shape, batch.window.dtype) == ((3, 4), torch.float32)
    assert (batch.dropped.shape, batch.dropped.dtype) == ((3,), torch.int64)
    places = batch.correspondence
    assert (places.shape, places.dtype) == ((3, 8, 8, 2), torch.float32)
    assert places.isnan().all()


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


def test_more_references_lie_between_the_farthest_and_the_target(told: Path) -> None:
    four = Pairs([Shot(str(told), 0, 24)], replace(CONFIG, references=3))
    for step in range(40):
        batch = four[step]
        assert batch.rgb.shape == (3, 4, 3, 32, 32)
        blue = batch.rgb[:, :, 2].float().mean(dim=(2, 3)) / 10
        for far, *between, target in [[round(each) for each in row] for row in blue.tolist()]:
            distances = [(target - each) * (1 if target > far else -1) for each in between]
            gap = abs(target - far)
            assert 1 <= gap <= CONFIG.gap
            assert distances == sorted(distances, reverse=True)  # a teacher goes that way
            inner = [each for each in distances if each < gap]
            assert len({*inner}) == len(inner) == min(2, gap - 1)
            assert min(distances) >= 1
            assert max(distances) <= gap


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


def test_references_may_be_zoomed(make: Any, tmp_path: Path) -> None:
    still = make.stills(tmp_path / "still", make.coordinates(5, step=0))
    config = replace(CONFIG, crop_source=(16, 24), references=2, zoom=1.5)
    pairs = Pairs([Shot(str(still), 0, 5)], config)
    factors, away = [], []
    for step in range(12):
        red, green = pairs[step].rgb[:, :, :2, 2:-2, 2:-2].float().unbind(2)
        x, y = red.mean(2) / 2, green.mean(3) / 3  # (B, T, side) in pixels of the frame
        across, down = (axis[..., -1] - axis[..., 0] for axis in (x, y))
        factors += (across[:, :-1] / across[:, -1:]).flatten().tolist()
        torch.testing.assert_close(down, across.abs(), atol=1.0, rtol=0)
        for axis in (x, y):
            middle = axis.mean(2)
            away += (middle[:, :-1] - middle[:, -1:]).abs().flatten().tolist()
    assert 1 / 1.55 < min(factors) < 0.75  # of what is seen: smaller and larger
    assert 1.35 < max(factors) < 1.55
    assert len({*factors}) > 36  # of 72: each reference by its own, in whole steps of a pixel
    assert np.median(away) < 0.3  # around the same middle, if the frame allows it
    plain = Pairs([Shot(str(still), 0, 5)], replace(config, zoom=1.0))[0].rgb
    assert torch.equal(plain[:, 0], plain[:, 2])
    inverse = Pairs([Shot(str(still), 0, 5)], replace(config, zoom=1 / 1.5))
    assert torch.equal(inverse[0].rgb, pairs[0].rgb)  # the same, as with view_zoom


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


@pytest.mark.parametrize("mib", [1, 100])
def test_frames_kept_change_no_sample(
    told: Path, monkeypatch: pytest.MonkeyPatch, mib: int
) -> None:
    shots = [Shot(str(told), 0, 12), Shot(str(told), 12, 24)]
    plain, kept = Pairs(shots, CONFIG), Pairs(shots, replace(CONFIG, cache_mib=mib))
    opened: list[int] = []
    real = clips.open_clip

    def counted(path: Path) -> Any:
        opened.append(1)
        return real(path)

    batches = [plain[step] for step in range(40)]
    monkeypatch.setattr(clips, "open_clip", counted)
    for step in range(40):
        assert equal(kept[step], batches[step])
    assert len(opened) < (12 if mib == 100 else 30)  # of 10 runs x 3 chunks


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


def test_video_that_vanished_is_left_out(told: Path) -> None:
    gone = Shot(str(told.with_name("gone.mp4")), 0, 9)
    short = Shot(str(told.parent / "." / "short"), 20, 90)  # as long as the index says
    told.parent.joinpath("short").symlink_to(told)
    pairs = Pairs([gone, short, Shot(str(told), 0, 9)], CONFIG)
    faults: dict[str, str] = {}
    for step in range(24):
        batch = pairs[step]
        assert all(name.startswith("told") for name in batch.names)
        faults |= batch.faults
        if step % CONFIG.reuse:
            assert not batch.faults  # told once, when the chunk is decoded
    assert faults.keys() == {gone.path, short.path}
    assert "no such file" in faults[gone.path]
    assert "short: some of the frames from" in faults[short.path]
    with pytest.raises(InputError, match=r"a hundred clips in a row .*gone\.mp4: no such file"):
        Pairs([gone], CONFIG)[0]


def test_cuts_found_in_the_chunk(make: Any, tmp_path: Path) -> None:
    frames = [*make.coordinates(9), *(255 - f for f in make.coordinates(15)[9:])]
    folder = make.stills(tmp_path / "cut", frames)
    pairs = Pairs([Shot(str(folder), 0, 15)], replace(CONFIG, cuts="chunk", chunk=8))
    sides = set()
    for step in range(0, 120, 4):
        for name in pairs[step].names:
            a, b = (int(number) for number in re.findall(r"\d+", name))
            assert (a < 9) == (b < 9)
            sides.add(a < 9)
        for slot in range(CONFIG.batch):
            shot, held = pairs.chunk(step, slot)
            assert shot.stop - shot.start == len(held)
    assert sides == {False, True}


def test_shards_are_sampled_like_files(make: Any, told: Path, tmp_path: Path) -> None:
    frames = {f"told/{p.name}": p for p in sorted(told.iterdir())}
    path = make.shard(tmp_path / "s.tar", frames)
    inside, outside = Shot(f"{path}/told", 0, 24, offset=512), Shot(str(told), 0, 24)
    for step in (0, 5):
        # Alone, each is all that can be drawn.
        assert equal(Pairs([inside], CONFIG)[step], Pairs([outside], CONFIG)[step])


# --- two views

VIEWS = replace(CONFIG, crop_source=(40, 64), view_light=0, view_colour=0)


def check_places(batch: Batch) -> None:
    """Red and green say where a pixel comes from: the same in both views, where they match."""
    for rgb, places in zip(batch.rgb, batch.correspondence, strict=True):
        known = places.isfinite().all(dim=-1)
        assert known.float().mean() > 0.4
        x, y = places[known].T.numpy()
        for channel in (0, 1):
            there = map_coordinates(rgb[0, channel].numpy().astype(float), [y, x], order=1)
            here = rgb[1, channel, ::4, ::4][known].numpy()
            assert np.abs(there - here).mean() < 1.5


def test_photographs_are_seen_twice(make: Any, tmp_path: Path) -> None:
    folder = make.stills(tmp_path / "photographs", make.coordinates(3))
    shots = [Shot(str(path), 0, 1, i) for i, path in enumerate(sorted(folder.iterdir()))]
    pairs = Pairs(shots, VIEWS)
    flips = set()
    for step in range(12):
        batch = pairs[step]
        check_places(batch)
        for (a, b), video in zip(frames_of(batch), batch.videos.tolist(), strict=True):
            assert a == b == video
        assert all(re.fullmatch(r"00\d.png frame 0, two views", name) for name in batch.names)
        red = batch.rgb[:, 0, 0].float().mean(dim=1)
        flips.update((red[:, -1] > red[:, 0]).tolist())
        start = [batch.window[:, 1], batch.window[:, 1] + batch.window[:, 3]]
        edges = red[:, [0, -1]].T / 2 / make.width
        place = torch.where(edges[0] < edges[1], edges, 1 - edges)
        torch.testing.assert_close(place, torch.stack(start), atol=0.02, rtol=0)
    assert flips == {False, True}
    assert equal(Pairs(shots, VIEWS)[7], pairs[7])


def test_some_samples_of_a_video_are_two_views(told: Path) -> None:
    pairs = Pairs([Shot(str(told), 0, 24)], replace(VIEWS, view_share=0.3))
    known = []
    for step in range(60):
        batch = pairs[step]
        for place, (a, b), name in zip(
            batch.correspondence, frames_of(batch), batch.names, strict=True
        ):
            known.append(bool(place.isfinite().any()))
            assert known[-1] == (a == b) == name.endswith(f"frame {a}, two views")
    assert np.mean(known) == pytest.approx(0.3, abs=0.1)


def test_a_photograph_that_cannot_be_read_is_skipped(make: Any, tmp_path: Path) -> None:
    folder = make.stills(tmp_path / "photographs", make.coordinates(4))
    (folder / "000.png").write_bytes(b"no image")
    shots = [Shot(str(path), 0, 1) for path in sorted(folder.iterdir())]
    names = [name for step in range(20) for name in Pairs(shots, VIEWS)[step].names]
    assert {name.split(".")[0] for name in names} == {"001", "002", "003"}
