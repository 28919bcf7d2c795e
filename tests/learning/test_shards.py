"""Clips inside tar files, read where they lie."""

import errno
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from liir.errors import InputError
from liir.learning.places import find_videos
from liir.learning.shards import (
    ScratchError,
    is_shard,
    members,
    open_clip,
    open_photograph,
    read,
    shard,
)
from liir.learning.shots import index_shots


def names(path: Path) -> dict[str, list[str]]:
    """The clips of a shard, and of what files they are made."""
    return {name: [file.name for file in files] for name, files in shard(path).clips.items()}


def test_what_is_a_clip(make: Any, tmp_path: Path) -> None:
    files = [
        "a.mp4", "a.json", "a.jpg",  # a video with its thumbnail
        "deep/b.webm", ".hidden.mp4", "deep/.also/c.mp4", "notes.txt",
        "folder/10.jpg", "folder/9.jpg", "folder/9.png",  # frames, and labels beside one of them
        "key.00001.jpg", "key.00000.jpg", "other.0.seg.png", "other.0.png",
        "./dotted/0.png", "/rooted/0.png",
    ]  # fmt: skip
    path = make.shard(tmp_path / "s.tar", dict.fromkeys(files, b"x"))
    assert names(path) == {
        "a.mp4": ["a.mp4"],
        "deep/b.webm": ["deep/b.webm"],
        "folder": ["folder/9.jpg", "folder/10.jpg"],
        "key": ["key.00000.jpg", "key.00001.jpg"],
        "other": ["other.0.png", "other.0.seg.png"],
        "dotted": ["dotted/0.png"],
        "rooted": ["rooted/0.png"],
    }
    assert len(shard(path).images) == 10
    loose = make.shard(tmp_path / "loose.tar", {"1.png": b"x", "0.png": b"x"})
    assert names(loose) == {"loose": ["0.png", "1.png"]}


def test_clips_are_what_they_are_outside(make: Any, tmp_path: Path) -> None:
    film = make.film(tmp_path / "a.mp4", make.pan(make.scene(0, 200), 9, 2))
    folder = make.stills(tmp_path / "frames", make.pan(make.scene(1, 200), 12, 2))
    frames = {f"frames/{p.name}": p for p in sorted(folder.iterdir())}
    path = make.shard(tmp_path / "s.tar", {"in/a.mp4": film, **frames})
    for inside, outside in (("in/a.mp4", film), ("frames", folder)):
        with open_clip(path / inside) as one, open_clip(outside) as other:
            assert (one.name, one.size, one.length) == (other.name, other.size, other.length)
            pairs = zip(one.frames(3, 8), other.frames(3, 8), strict=True)
            for a, b in pairs:
                assert a.index == b.index
                np.testing.assert_array_equal(a.rgb, b.rgb)
    picture = path / "frames/004.png"
    np.testing.assert_array_equal(
        open_photograph(picture, 480), open_photograph(folder / "004.png", 480)
    )


def test_nothing_stays_behind(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = make.film(tmp_path / "a.mp4", make.pan(make.scene(0, 200), 5, 2))
    path = make.shard(tmp_path / "s.tar", {"a.mp4": film, "b.mp4": b"no video"})
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    with open_clip(path / "a.mp4") as video:
        assert len(list(video.frames())) == 5
        assert [*(tmp_path / "scratch").iterdir()]
    with pytest.raises(InputError, match=rf"^{path}/b\.mp4: not a video"):
        with open_clip(path / "b.mp4"):
            pass
    assert [*(tmp_path / "scratch").iterdir()] == []


def test_no_room_for_a_copy(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make.shard(tmp_path / "s.tar", {"a.mp4": b"x" * 100})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ScratchError, match=r"a\.mp4: no room .*No space left.* in TMPDIR"):
        with open_clip(path / "a.mp4"):
            pass


def test_damage_is_of_the_clip(make: Any, tmp_path: Path) -> None:
    frames = {f"{clip}/{i}.png": b"x" * 5000 for clip in "ab" for i in range(3)}
    path = make.shard(tmp_path / "s.tar", frames)
    path.write_bytes(path.read_bytes()[: 5 * 5632 + 900])  # within the last file
    assert read(path, shard(path).clips["b"][1]) == b"x" * 5000
    with pytest.raises(InputError, match=r"s\.tar/b/2\.png: the shard is cut short"):
        read(path, shard(path).clips["b"][2])
    with pytest.raises(InputError, match=r"s\.tar/a/0\.png: cannot be read as an image"):
        with open_clip(path / "a"):
            pass
    with pytest.raises(InputError, match="no such clip in the shard"):
        members(path / "gone.mp4")
    path.write_bytes(path.read_bytes()[: 3 * 5632 + 100])  # within the fourth file's header
    assert names(path) == {"a": ["a/0.png", "a/1.png", "a/2.png"]}


def test_clips_that_are_lost_are_told(make: Any, tmp_path: Path) -> None:
    """Where a header is damaged, or gone, `tarfile` takes it for the end."""
    path = make.shard(tmp_path / "s.tar", {f"{name}.mp4": b"x" * 600 for name in "abcd"})
    assert (len(names(path)), shard(path).fault) == (4, "")
    whole = path.read_bytes()
    at = 512 + 1024  # of the second file
    damage: dict[str, bytes] = {
        "overwritten": whole[:at] + b"?" * 300 + whole[at + 300 :],
        "zeros": whole[:at] + bytes(1024) + whole[at + 1024 :],
        "within a header": whole[: at + 100],
        "within a file": whole[: at + 600],
        "between files": whole[:at],
        "within the end": whole[: 4 * at + 600],
    }
    for kind, data in damage.items():
        path.write_bytes(data)
        found = shard(path)
        expected = {"within a file": 2, "within the end": 4}.get(kind, 1)
        assert len(found.clips) == expected, kind
        assert f"s.tar: damaged or cut short after {'abcd'[expected - 1]}.mp4; " in found.fault
        assert path in {source.path for source in find_videos([path])}
    path.write_bytes(whole.rstrip(b"\0") + bytes(424 + 1024))  # without padding to a record
    assert shard(path).fault == ""


def test_a_run_tells_of_lost_clips(make: Any, tmp_path: Path) -> None:
    film = make.film(tmp_path / "a.mp4", make.pan(make.scene(0, 200), 9, 2))
    path = make.shard(tmp_path / "s.tar", {"a.mp4": film, "b.mp4": film})
    path.write_bytes(path.read_bytes()[: 512 + film.stat().st_size // 512 * 512 + 512])
    shots, faults = index_shots(find_videos([path]), tmp_path / "clips.json")
    assert len(shots) == 1
    assert faults == {str(path): f"{path}: damaged or cut short after a.mp4; copy it again"}


def test_no_shard(make: Any, tmp_path: Path) -> None:
    path = make.shard(tmp_path / "s.tar", {"a.mp4": b"x"})
    packed = tmp_path / "s.tar.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    bad = tmp_path / "bad.tar"
    bad.write_bytes(b"no tar file" * 100)
    for each in (packed, bad):
        assert is_shard(each)
        with pytest.raises(InputError, match=r"not a plain tar file .* decompress it"):
            shard(each)
    with pytest.raises(InputError, match=r"none\.tar: cannot be read"):
        shard(tmp_path / "none.tar")
    (tmp_path / "folder.tar").mkdir()
    assert not is_shard(tmp_path / "folder.tar")
    assert members(tmp_path / "folder.tar" / "a.mp4") is None


# --- photographs


def test_a_photograph_is_decoded_no_larger_than_needed(tmp_path: Path) -> None:
    y, x = np.mgrid[:1600, :2000]
    rgb = np.stack((x * 255 // 2000, y * 255 // 1600, np.full_like(x, 90)), -1).astype(np.uint8)
    path = tmp_path / "large.jpg"
    Image.fromarray(rgb).save(path, quality=95)
    small = open_photograph(path, 300)
    assert small.shape == (400, 500, 3)
    assert np.abs(small.astype(int) - rgb[2::4, 2::4]).max() <= 4
    assert open_photograph(path, 5000).shape == rgb.shape


def test_photographs_of_any_depth(tmp_path: Path) -> None:
    deep = np.linspace(1000, 5000, 30 * 40).reshape(30, 40).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    seen = open_photograph(tmp_path / "deep.png", 10)
    assert (seen.shape, seen.dtype, seen.min(), seen.max()) == ((30, 40, 3), np.uint8, 0, 255)
    (tmp_path / "none.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"none\.jpg: cannot be read as an image"):
        open_photograph(tmp_path / "none.jpg", 10)
