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


def test_stills_are_photographs_and_folders_of_them_no_video(tmp_path: Path) -> None:
    for name in ("a/x.jpg", "a/y.PNG", "a/deep/z.webp", "a/clip.mp4", "a/.hidden.jpg", "n.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    a = tmp_path / "a"
    photographs = [Source(0, a / name, still=True) for name in ("deep/z.webp", "x.jpg", "y.PNG")]
    assert find_videos([f"stills:{a}"]) == photographs
    assert find_videos([f"stills:{a}/x.jpg"]) == photographs[1:2]
    both = find_videos([f"stills:{a}", a])
    assert [source for source in both if source.still] == photographs
    assert [s.path for s in both if not s.still] == [a, a / "clip.mp4", a / "deep"]
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"no image below stills:.*none; give another"):
        find_videos([f"stills:{tmp_path}/none", a])
    with pytest.raises(InputError, match=r"^\S*gone: no such file or folder"):
        find_videos([f"stills:{tmp_path}/gone"])


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
