"""VIP as it is laid out: classes and instances."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.errors import InputError
from liir.evaluation.parts import CLASSES, read_classes, vip_instances
from liir.evaluation.parts import vip as read_vip


def test_there_are_20_classes() -> None:
    assert len(set(CLASSES)) == 20


def test_listed_videos_are_read_and_the_first_frame_counts(vip: Path) -> None:
    one, two = read_vip(vip)
    assert (one.name, two.name) == ("videos1", "videos2")
    assert one.counted == (0, 1, 2)
    assert one.ids == (2, 13)
    assert one.stems[1] == "000000000026"
    (vip / "lists/val_videos.txt").write_text("videos2\n")
    assert [each.name for each in read_vip(vip)] == ["videos2"]


def test_the_layout_of_the_data_sets_own_code(vip: Path) -> None:
    for kind in ("Category_ids", "Instance_ids"):
        (vip / "Annotations" / kind).rename(vip / kind)
    assert len(read_vip(vip)) == len(vip_instances(vip)) == 2


def test_a_truth_that_is_gone_is_not_left_out_of_the_score(vip: Path) -> None:
    (vip / "Annotations/Category_ids/videos1/000000000026.png").unlink()
    with pytest.raises(InputError, match=r"label maps of the images: 1 of 3 missing, first 0+26"):
        read_vip(vip)
    assert len(vip_instances(vip)) == 2


def test_instances_have_classes(vip: Path) -> None:
    one = vip_instances(vip)[0]
    assert one.instances
    assert one.groups == {1: "hair", 2: "face"}
    assert read_classes(one.masks[1].with_suffix(".txt")) == {1: 13, 2: 2}


def test_a_wrong_layout_is_explained(vip: Path) -> None:
    table = vip / "Annotations/Instance_ids/videos1/000000000001.txt"
    table.write_text("1 2 1\n")
    with pytest.raises(InputError, match=r"000000000001.txt: no class for part 2"):
        vip_instances(vip)
    table.write_text("1\n")
    with pytest.raises(InputError, match=r"expected a line 'ID CLASS' for each part"):
        vip_instances(vip)
    for kind in (-1, 20):
        table.write_text(f"1 2 1\n2 {kind} 1\n")
        with pytest.raises(InputError, match=rf"class {kind}; there are 0 to 19"):
            vip_instances(vip)
    path = vip / "Annotations/Category_ids/videos1/000000000001.png"
    Image.fromarray(np.full((20, 20), 20, np.uint8)).save(path)
    with pytest.raises(InputError, match=r"shows class 20; there are 0 to 19"):
        read_vip(vip)
    (vip / "Images/videos1/000000000026.jpg").unlink()
    with pytest.raises(
        InputError, match=r"no images for label maps: 1 missing, first 000000000026"
    ):
        read_vip(vip)
    for path in (vip / "Annotations/Category_ids/videos1").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"label maps of the images: 2 of 2 missing"):
        read_vip(vip)
    (vip / "Annotations").rename(vip / "Labels")
    with pytest.raises(InputError, match=r"no folder Annotations/Category_ids/videos1"):
        read_vip(vip)
    (vip / "lists/val_videos.txt").unlink()
    with pytest.raises(InputError, match=r"expected lists/val_videos.txt, .* found Images, Labels"):
        read_vip(vip)
