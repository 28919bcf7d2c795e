"""What lies below the places named on the command line."""

import os
from pathlib import Path

import pytest

from liir.errors import InputError
from liir.learning.places import Source, find_videos


def test_finds_what_is_nested_and_not_what_is_hidden(tmp_path: Path) -> None:
    names = ["a.mp4", "in/b.MOV", "in/deep/c.webm", ".hidden.mp4", ".trash/d.mp4", "notes.txt"]
    names += ["frames/000.png", "frames/001.png", "mac/._000.png", ".thumbs/000.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [source.path.relative_to(tmp_path).as_posix() for source in find_videos([tmp_path])]
    assert found == ["a.mp4", "frames", "in/b.MOV", "in/deep/c.webm"]


def test_one_file_or_folder_named_twice_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.mp4"
    path.parent.mkdir()
    path.touch()
    assert find_videos([path]) == [Source(0, path)]
    assert find_videos([tmp_path, str(path), tmp_path / "in"]) == [Source(0, path)]
    assert find_videos([path, os.path.relpath(path)]) == [Source(0, path)]


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        find_videos([tmp_path / "nowhere"])
    with pytest.raises(InputError, match="no video and no folder of images below"):
        find_videos([tmp_path])


def test_mixed_places_stay_apart(tmp_path: Path) -> None:
    for name in ("a/x.mp4", "b/y.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    a, b = tmp_path / "a", tmp_path / "b"
    assert find_videos([b, tmp_path], (1, 2)) == [
        Source(0, b / "y.mp4"), Source(1, a / "x.mp4"), Source(1, b / "y.mp4")
    ]  # fmt: skip
    with pytest.raises(InputError, match="the mix has 3 shares, but there are 2 places"):
        find_videos([a, b], (1, 2, 3))
    (a / "x.mp4").unlink()
    with pytest.raises(InputError, match=r"below .*/a; give another"):
        find_videos([a, b], (1, 2))
