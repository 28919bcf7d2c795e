"""YouTube-VOS as it is laid out: late objects, hidden truth, seen and unseen categories."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.errors import InputError
from liir.evaluation.youtube import youtube_vos


def test_objects_are_given_where_they_appear(youtube: Path) -> None:
    a, b = youtube_vos(youtube)
    assert (a.name, a.ids, a.start, sorted(a.annotations)) == ("a", (1, 3), 0, [0, 2])
    assert (b.name, b.ids, b.start) == ("b", (2,), 1)
    assert (a.born(1), a.born(3)) == (0, 2)
    assert a.stems == ("00000", "00005", "00010", "00015", "00020")
    assert a.groups == {1: "seen", 3: "unseen"}
    assert a.hidden
    assert a.counted == ()
    assert a.official == {0, 1, 2, 3, 4}
    assert b.official == {1, 2, 3, 4}  # before its object is given there is nothing to say


def test_only_new_objects_are_given_where_all_are_shown(youtube: Path) -> None:
    a, b = youtube_vos(youtube, "full")
    assert not a.hidden
    assert a.counted == (1, 2, 3, 4)
    assert b.counted == (2, 3, 4)
    assert a.annotations[2].ids == (3,)
    assert set(np.unique(a.annotations[2].labels)) == {0, 3}
    assert set(np.unique(a.truth(2))) == {0, 1, 3}


def test_without_training_categories_objects_are_neither_seen_nor_unseen(youtube: Path) -> None:
    (youtube / "train/meta.json").unlink()
    assert youtube_vos(youtube)[0].groups == {}


def without_category(path: Path, *chosen: str) -> None:
    meta = json.loads(path.read_text())
    for name, video in meta["videos"].items():
        for number, about in video["objects"].items():
            if not chosen or f"{number} of {name}" in chosen:
                del about["category"]
    path.write_text(json.dumps(meta))


@pytest.mark.parametrize("split", ["valid", "train"])
def test_without_categories_objects_are_neither_seen_nor_unseen(youtube: Path, split: str) -> None:
    without_category(youtube / split / "meta.json")
    a, _ = youtube_vos(youtube)
    assert a.groups == {}
    assert a.ids == (1, 3)


def test_categories_of_some_are_refused(youtube: Path) -> None:
    without_category(youtube / "valid/meta.json", "3 of a", "2 of b")
    with pytest.raises(InputError, match=r"2 of 3 objects have no category, first object 3 of a"):
        youtube_vos(youtube)
    (youtube / "train/meta.json").unlink()  # and are not asked for where there is no use for them
    assert len(youtube_vos(youtube)) == 2


def test_all_frames_are_tracked_and_official_ones_kept(youtube: Path) -> None:
    a, b = youtube_vos(youtube, "valid_all_frames")
    assert len(a.stems) == 21
    assert sorted(a.annotations) == [0, 10]
    assert a.official == {0, 5, 10, 15, 20}
    assert b.start == 5
    assert b.hidden


def no_meta(root: Path) -> None:
    (root / "valid/meta.json").unlink()


def empty_meta(root: Path) -> None:
    (root / "valid/meta.json").write_text(json.dumps({"videos": {"a": {"objects": {}}}}))


def no_mask(root: Path) -> None:
    (root / "valid/Annotations/a/00010.png").unlink()


def no_frame(root: Path) -> None:
    (root / "valid/JPEGImages/a/00010.jpg").unlink()


def no_object(root: Path) -> None:
    path = root / "valid/Annotations/a/00010.png"
    Image.fromarray(np.zeros((24, 32), np.uint8)).save(path)


def half_a_truth(root: Path) -> None:
    path = root / "valid/Annotations/a"
    (path / "00015.png").write_bytes((path / "00010.png").read_bytes())


def no_folder(root: Path) -> None:
    (root / "valid/Annotations").rename(root / "valid/Labels")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_meta, r"meta.json: expected videos -> NAME -> objects"),
        (empty_meta, r"meta.json: expected videos -> NAME -> objects"),
        (no_mask, r"a: label maps: 1 of 2 missing, first 00010.png"),
        (no_frame, r"a: frame 00010, in which object 3 appears, missing"),
        (no_object, r"00010.png: meta.json says that object 3 appears here"),
        (half_a_truth, r"a: ground-truth files: 2 of 5 missing, first 00005.png"),
        (no_folder, r"expected valid/Annotations; found JPEGImages, Labels, meta.json"),
    ],
)
def test_a_wrong_layout_is_explained(
    youtube: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(youtube)
    with pytest.raises(InputError, match=message) as caught:
        youtube_vos(youtube)
    assert "\n" not in str(caught.value)


def test_an_unknown_split_is_explained(youtube: Path) -> None:
    with pytest.raises(InputError, match=r"expected test/JPEGImages; found no such folder"):
        youtube_vos(youtube, "test")
    (youtube / "valid_all_frames/JPEGImages/b/00015.jpg").unlink()
    with pytest.raises(InputError, match=r"b: 1 official frames missing, first 00015"):
        youtube_vos(youtube, "valid_all_frames")
