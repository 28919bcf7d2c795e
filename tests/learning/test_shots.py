"""Shots: videos cut where the scene changes, looked through once."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liir.errors import InputError
from liir.learning import shots as module
from liir.learning.places import Source, find_videos
from liir.learning.shards import ScratchError
from liir.learning.shots import Shot, digest, find_shots, identity, index_shots


def index(paths: list[Path], cache: Path, *progress: Any) -> list[Shot]:
    return index_shots([Source(0, path) for path in paths], cache, *progress)[0]


# --- shots


def test_cut_between_two_scenes(make: Any, tmp_path: Path) -> None:
    frames = (
        make.pan(make.scene(0, 200), 9, 2)
        + make.pan(make.scene(1, 200), 14, 2)
        + make.pan(make.scene(2, 200), 6, 2)
    )
    path = make.film(tmp_path / "a.mp4", frames)
    assert find_shots(path) == [(0, 9), (9, 23), (23, 29)]


def test_no_cut_in_a_fast_pan(make: Any, tmp_path: Path) -> None:
    frames = make.pan(make.scene(0, 600), 24, 20)
    moved = np.abs(np.diff(np.stack(frames).astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert moved.min() > 60  # far above the level of a cut
    assert find_shots(make.film(tmp_path / "a.mp4", frames)) == [(0, 24)]


def test_no_cut_in_a_fade(make: Any, tmp_path: Path) -> None:
    a, b = make.scene(0).astype(float), make.scene(1).astype(float)
    frames = [(a + (b - a) * t).astype(np.uint8) for t in np.linspace(0, 1, 16)]
    assert find_shots(make.film(tmp_path / "a.mp4", [frames[0]] * 8 + frames)) == [(0, 24)]


def test_a_frame_that_cannot_be_read_ends_a_shot(make: Any, tmp_path: Path) -> None:
    folder = make.stills(tmp_path / "a", [make.scene(0)] * 8)
    (folder / "003.png").write_bytes(b"no image")
    assert find_shots(folder) == [(0, 3), (4, 8)]


def test_shots_of_one_frame_are_left_out(make: Any, tmp_path: Path) -> None:
    flash = [make.scene(0)] * 8 + [make.scene(1)] + [make.scene(0)] * 8
    path = make.film(tmp_path / "a.mp4", flash)
    shots = index([path], tmp_path / "clips.json")
    assert [(s.start, s.stop) for s in shots] == [(0, 8), (9, 17)]


# --- the index


def test_bad_videos_are_left_out(
    make: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = make.film(tmp_path / "good.mp4", make.pan(make.scene(0, 200), 6, 2))
    (tmp_path / "cut.mp4").write_bytes(good.read_bytes()[:200])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    progress = []
    for _ in range(2):  # found, and remembered
        caplog.clear()
        shots, faults = index_shots(
            find_videos([tmp_path]), tmp_path / "clips.json", lambda *at: progress.append(at)
        )
        assert shots == [Shot(str(good), 0, 6)]
        assert progress[-1] == (4, 4)
        assert {Path(name).name for name in faults} == {"cut.mp4", "empty.mp4", "nowhere.mp4"}
        assert all(Path(name).stem[:3] in why for name, why in faults.items() if "now" not in name)
        (record,) = caplog.records
        assert record.getMessage().startswith("3 of 4 videos cannot be used and are left out")


def test_index_is_reused_until_the_file_changes(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [make.film(tmp_path / f"{n}.mp4", make.pan(make.scene(0, 200), 4, 2)) for n in "ab"]
    cache = tmp_path / "clips.json"
    read: list[str] = []

    def watched(path: Path) -> list[tuple[int, int]]:
        read.append(path.name)
        return find_shots(path)

    monkeypatch.setattr(module, "find_shots", watched)
    first = index(paths, cache)
    assert index(paths, cache) == first
    assert read == ["a.mp4", "b.mp4"]
    os.utime(paths[0], ns=(1, 1))
    index(paths, cache)
    assert read[2:] == ["a.mp4"]
    make.film(paths[1], make.pan(make.scene(0, 200), 7, 2))
    os.utime(paths[1], ns=(2, 2))
    assert index(paths, cache)[1] == Shot(str(paths[1]), 0, 7)
    assert read[3:] == ["b.mp4"]


@pytest.mark.parametrize(
    "damage", ["", "{", "[1, 2]", "null", '{"PATH": 3}', '{"PATH": {"stamp": [1]}}', "\xff\xfe"]
)
def test_damaged_index_is_made_anew(make: Any, tmp_path: Path, damage: str) -> None:
    path = make.film(tmp_path / "a.mp4", make.pan(make.scene(0, 200), 4, 2))
    cache = tmp_path / "clips.json"
    cache.write_text(damage.replace("PATH", str(path)), "latin-1")
    assert index([path], cache) == [Shot(str(path), 0, 4)]
    assert json.loads(cache.read_text())[str(path)]["shots"] == [[0, 4]]


def test_index_that_cannot_be_written(make: Any, tmp_path: Path) -> None:
    path = make.film(tmp_path / "a.mp4", make.pan(make.scene(0, 200), 4, 2))
    with pytest.raises(InputError, match=r"clips\.json: cannot be written"):
        index([path], tmp_path / "none" / "clips.json")
    (tmp_path / "clips.json").mkdir()
    with pytest.raises(InputError, match=r"clips\.json: cannot be written"):
        index([path], tmp_path / "clips.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "clips.json"]


def test_interrupted_index_keeps_what_it_has(make: Any, tmp_path: Path) -> None:
    paths = [make.film(tmp_path / f"{n}.mp4", make.pan(make.scene(0, 200), 4, 2)) for n in "ab"]

    def stop(done: int, _: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index(paths, tmp_path / "clips.json", stop)
    assert list(json.loads((tmp_path / "clips.json").read_text())) == [str(paths[0])]


def test_a_killed_index_keeps_what_it_had_a_minute_before(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [make.film(tmp_path / f"{n}.mp4", make.pan(make.scene(0, 200), 4, 2)) for n in "ab"]
    cache = tmp_path / "clips.json"
    monkeypatch.setattr(module, "_SAVE_SECONDS", -1.0)
    kept: list[int] = []
    index(paths, cache, lambda *_: kept.append(len(json.loads(cache.read_text()))))
    assert kept == [1, 2]


def test_a_full_scratch_is_no_fault_of_the_videos(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = make.film(tmp_path / "a.mp4", make.pan(make.scene(0, 200), 4, 2))
    path = make.shard(tmp_path / "s.tar", {"a.mp4": film}) / "a.mp4"
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path / "none"))
        with pytest.raises(ScratchError, match="TMPDIR"):
            index([film, path], tmp_path / "clips.json")
    assert {shot.path for shot in index([path], tmp_path / "clips.json")} == {str(path)}


def test_nothing_that_moves(make: Any, tmp_path: Path) -> None:
    one = make.film(tmp_path / "one.mp4", [make.scene(0)])
    with pytest.raises(InputError, match="none of the 1 videos has two readable frames"):
        index([one], tmp_path / "clips.json")


@pytest.mark.parametrize("cuts", ["index", "chunk"])
def test_a_single_frame_is_told(
    make: Any, tmp_path: Path, cuts: str, caplog: pytest.LogCaptureFixture
) -> None:
    make.film(tmp_path / "one.mp4", [make.scene(0)])
    make.stills(tmp_path / "still", [make.scene(0)])
    make.film(tmp_path / "two.mp4", [make.scene(0)] * 2)
    for _ in range(2):
        shots, faults = index_shots(find_videos([tmp_path]), tmp_path / "clips.json", None, cuts)
        assert [Path(shot.path).name for shot in shots] == ["two.mp4"]
        assert {Path(name).name for name in faults} == {"one.mp4", "still"}
        assert all(why.endswith("no two readable frames in a row") for why in faults.values())


def test_what_lies_in_two_places_is_looked_through_once(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [make.film(tmp_path / f"{n}.mp4", make.pan(make.scene(n, 200), 4, 2)) for n in (0, 1)]
    read: list[Path] = []
    monkeypatch.setattr(module, "find_shots", lambda path: read.append(path) or [(0, 4)])
    sources = [Source(0, paths[0]), Source(1, paths[0]), Source(1, paths[1])]
    mixed, _ = index_shots(sources, tmp_path / "clips.json")
    assert sorted((shot.place, shot.path) for shot in mixed) == [
        (source.place, str(source.path)) for source in sources
    ]
    assert read == paths


def test_photographs_are_shots_of_one_frame(make: Any, tmp_path: Path) -> None:
    folder = make.stills(tmp_path / "a", [make.scene(i) for i in range(3)])
    paths = sorted(folder.iterdir())
    sources = [Source(0, folder), *(Source(0, path, still=True) for path in paths)]
    for _ in range(2):
        shots, _ = index_shots(sources, tmp_path / "clips.json")
        stills = [shot for shot in shots if shot.still]
        assert sorted(stills, key=str) == [Shot(str(path), 0, 1) for path in paths]
        assert len({shot.video for shot in stills}) == 3
        assert len(shots) == 4
    # The same file taken for a video has one frame, which is none to train on.
    with pytest.raises(InputError, match="none of the 1 videos"):
        index(paths[:1], tmp_path / "clips.json")


def test_a_clip_is_the_same_in_a_shard(make: Any, tmp_path: Path) -> None:
    film = make.film(
        tmp_path / "a.mp4", make.pan(make.scene(0, 200), 9, 2) + make.pan(make.scene(1, 200), 9, 2)
    )
    folder = make.stills(tmp_path / "f", make.pan(make.scene(2, 200), 6, 2))
    frames = {f"f/{p.name}": p for p in folder.iterdir()}
    one = make.shard(tmp_path / "one.tar", {"x.mp4": film, **frames})
    two = make.shard(tmp_path / "two.tar", {**frames, "bad.mp4": b"x", "y.mp4": film})
    for _ in range(2):  # looked through, and remembered
        shots, faults = index_shots(
            find_videos([film, folder, one, two, tmp_path / "one.tar"]), tmp_path / "clips.json"
        )
        assert [*faults] == [f"{two}/bad.mp4"]
        by_path: dict[str, list[Shot]] = {}
        for shot in shots:
            by_path.setdefault(shot.path, []).append(shot)
        assert len(by_path) == 6
        for name, spans in ((film, [(0, 9), (9, 18)]), (folder, [(0, 6)])):
            video = by_path[str(name)][0].video
            same = [held for held in by_path.values() if held[0].video == video]
            assert len(same) == 3
            assert all([(s.start, s.stop) for s in held] == spans for held in same)
        offsets = {path: held[0].offset for path, held in by_path.items()}
        assert offsets[str(film)] is None
        assert offsets[f"{one}/x.mp4"] == 512
        assert (offsets[f"{two}/y.mp4"] or 0) > (offsets[f"{two}/f"] or 0) > 0


def test_the_same_frames_under_two_keys_are_one_video(make: Any, tmp_path: Path) -> None:
    """Names in the manner of webdataset begin with the clip's key, which says nothing of it."""
    folder = make.stills(tmp_path / "f", make.pan(make.scene(2, 200), 12, 2))
    frames = sorted(folder.iterdir())

    def held(name: str, key: str, count: int = 12, last: bytes | None = None) -> int:
        files = {f"{key}.{p.name}": last or p.read_bytes() for p in frames[:count]}
        files |= {f"{key}.{p.name}": p.read_bytes() for p in frames[: count - 1]}
        return identity(make.shard(tmp_path / name, files) / key)

    video = identity(folder)
    assert held("one.tar", "000012") == held("two.tar", "7") == video
    assert held("less.tar", "000012", 11) != video
    assert held("else.tar", "000012", last=b"another") != video


def test_a_shard_that_cannot_be_read_is_a_fault(make: Any, tmp_path: Path) -> None:
    make.stills(tmp_path / "f", make.pan(make.scene(2, 200), 6, 2))
    (tmp_path / "bad.tar.gz").write_bytes(b"x" * 2000)
    for still in (False, True):
        places = [tmp_path] if not still else [f"stills:{tmp_path}"]
        shots, faults = index_shots(find_videos(places), tmp_path / "clips.json")
        assert shots
        assert [*faults] == [str(tmp_path / "bad.tar.gz")]
        assert "decompress it" in faults[str(tmp_path / "bad.tar.gz")]


def test_cuts_left_for_later(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = make.pan(make.scene(0, 200), 9, 2) + make.pan(make.scene(1, 200), 9, 2)
    paths = [make.film(tmp_path / "a.mp4", frames), make.stills(tmp_path / "b", frames)]
    sources = [Source(0, path) for path in paths]
    with monkeypatch.context() as patch:
        patch.setattr(module, "find_shots", None)  # nothing is decoded
        shots, _ = index_shots(sources, tmp_path / "clips.json", cuts="chunk")
    assert {(shot.start, shot.stop) for shot in shots} == {(0, 18)}
    shots, _ = index_shots(sources, tmp_path / "clips.json")  # is not taken in by the other kind
    assert {(shot.start, shot.stop) for shot in shots} == {(0, 9), (9, 18)}


def test_digest_is_of_content_and_places() -> None:
    def told(*places: int, name: str = "") -> str:
        return digest([Shot(f"{name}{i}", 0, 9, i, place) for i, place in enumerate(places)])

    assert told(0, 0) == told(0, 0, name="elsewhere/")
    assert len({told(0, 0), told(0, 1), told(1, 0), told(0, 0, 0)}) == 4


def test_identity_is_of_the_content(tmp_path: Path) -> None:
    copy = tmp_path / "copy.bin"
    copy.write_bytes(b"abc" * 100_000)
    other = tmp_path / "other.bin"
    other.write_bytes(b"abc" * 100_000)
    assert identity(copy) == identity(other)
    other.write_bytes(b"abc" * 99_999 + b"abd")
    assert identity(copy) != identity(other)
    assert 0 <= identity(copy) < 2**63
