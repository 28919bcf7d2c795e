"""What lies below the places named on the command line."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from liir.cli import main
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


# --- the layouts of data sets


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(*places: object) -> list[str]:
    return [str(source.path) for source in find_videos([str(place) for place in places])]


def test_youtube_vos(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part in ("train", "valid_all_frames"):
        for video in ("0a1b", "0c2d"):
            for i in (0, 5):
                touch(tmp_path, f"{part}/JPEGImages/{video}/{i:05}.jpg")
                touch(tmp_path, f"{part}/Annotations/{video}/{i:05}.png")
                touch(tmp_path, f"{part}/Annotations_unsupervised/{video}/{i:05}.png")
    touch(tmp_path, "train/meta.json")
    assert found(tmp_path) == [
        str(tmp_path / part / "JPEGImages" / video)
        for part in ("train", "valid_all_frames")
        for video in ("0a1b", "0c2d")
    ]
    (record,) = caplog.records
    assert f"labels: {tmp_path}/train/Annotations and 3 more" in record.getMessage()
    # Who names them gets them.
    assert len(found(tmp_path / "train" / "Annotations")) == 2


def test_the_same_videos_again_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In another size, or every fifth frame of them: the bank would take them for others."""
    for size in ("480p", "Full-Resolution"):
        touch(tmp_path, f"DAVIS/JPEGImages/{size}/bear/00000.jpg")
    for part in ("train", "train_all_frames", "valid"):
        touch(tmp_path, f"YouTube/{part}/JPEGImages/0a1b/00000.jpg")
    assert found(tmp_path) == [
        str(tmp_path / "DAVIS/JPEGImages/480p/bear"),
        str(tmp_path / "YouTube/train_all_frames/JPEGImages/0a1b"),
        str(tmp_path / "YouTube/valid/JPEGImages/0a1b"),
    ]
    told = sorted(record.getMessage() for record in caplog.records)
    assert told == [
        f"{tmp_path}/DAVIS/JPEGImages: left out Full-Resolution, the same videos again",
        f"{tmp_path}/YouTube: left out train, the same videos again",
    ]
    # Who names them gets them.
    named = tmp_path / "DAVIS/JPEGImages/Full-Resolution"
    assert found(named) == [str(named / "bear")]


def test_label_maps_by_another_name(tmp_path: Path) -> None:
    touch(tmp_path, "clips/dog/0.jpg")
    (tmp_path / "clips" / "masks").mkdir()
    for i in range(2):
        labels = Image.new("P", (8, 8))
        labels.putpalette([0, 0, 0, 128, 0, 0])
        labels.save(tmp_path / "clips" / "masks" / f"{i}.png")
    assert found(tmp_path) == [str(tmp_path / "clips" / "dog")]
    assert found(tmp_path / "clips" / "masks") == [str(tmp_path / "clips" / "masks")]


def test_kinetics(tmp_path: Path) -> None:
    videos = ["train/juggling balls/a_000001_000011.mp4", "train/yoga/b_000004_000014.mkv"]
    touch(tmp_path, *videos, "val/yoga/c_000001_000011.mp4", "train.csv", "replacement.tgz.md5")
    assert found(tmp_path / "train") == [str(tmp_path / name) for name in videos]


# --- lists


def test_a_list_names_videos_folders_and_shards(make: Any, tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "with space 1.mp4", "yoga/b.mp4", "yoga/c.mp4", "frames/0.jpg")
    make.shard(tmp_path / "s.tar", {"d.mp4": b"x"})
    (tmp_path / "lists").mkdir()
    one = tmp_path / "lists" / "train.txt"
    one.write_text(
        f"# a comment\n\n../a.mp4 \n{tmp_path}/with space 1.mp4\n../yoga/b.mp4 3\n"
        "../frames 250 17\n../s.tar\n../gone.mp4\n../a.mp4\n"
    )
    expected = ["a.mp4", "frames", "gone.mp4", "s.tar/d.mp4", "with space 1.mp4", "yoga/b.mp4"]
    assert found(one) == [str(tmp_path / name) for name in expected]
    assert len(found(one, tmp_path)) == len(expected) + 1
    two = tmp_path / "lists" / "more.lst"
    two.write_text("train.txt\n")
    with pytest.raises(InputError, match=r"more\.lst: names another list"):
        find_videos([two])
    two.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"more\.lst: cannot be read as a list"):
        find_videos([two])
    two.write_text("# nothing\n")
    with pytest.raises(InputError, match="no video and no folder of images below"):
        find_videos([two])


def test_photographs_by_list_and_shard(make: Any, tmp_path: Path) -> None:
    touch(tmp_path, "in/a.jpg", "b.jpg", "c.jpg")
    make.shard(tmp_path / "s.tar", {"x/0.jpg": b"x", "x/1.jpg": b"x", "clip.mp4": b"x"})
    (tmp_path / "list.txt").write_text("in\nb.jpg\ns.tar\n")
    assert found(f"stills:{tmp_path}/list.txt") == [
        str(tmp_path / name) for name in ("b.jpg", "in/a.jpg", "s.tar/x/0.jpg", "s.tar/x/1.jpg")
    ]
    assert len(found(f"stills:{tmp_path}/s.tar")) == 2


def test_shards_are_found_in_folders(make: Any, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for i in range(2):
        make.shard(tmp_path / "set" / f"{i}.tar", {"b.mp4": b"x", "a/0.jpg": b"x"})
    (tmp_path / "set" / "2.tar").write_bytes(b"no tar" * 200)
    expected = [f"{i}.tar/{name}" for i in range(2) for name in ("a", "b.mp4")] + ["2.tar"]
    assert found(tmp_path) == [str(tmp_path / "set" / name) for name in expected]


def test_the_command_line_takes_them(make: Any, tmp_path: Path) -> None:
    make.stills(tmp_path / "clip", make.pan(make.scene(0, 200), 6, 2))
    make.stills(tmp_path / "photographs", [make.scene(1), make.scene(2)])
    (tmp_path / "list.txt").write_text("clip 6 0\n")
    words = f"train {tmp_path}/list.txt stills:{tmp_path}/photographs --mix 3 1 --steps 2"
    words += f" --out {tmp_path}/run --width 0.125 --workers 0"
    quick = [
        "batch=2",
        "crop=32",
        "chunk=4",
        "gap=2",
        "radius=2",
        "position=none",
        "crop_source=24,48",
    ]
    assert main([*words.split(), *(word for each in quick for word in ("--set", each))]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["training"]["mix"] == [3, 1]
