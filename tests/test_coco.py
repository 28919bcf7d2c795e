"""COCO documents by hand; their polygons against areas and pycocotools."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as oracle

from liir import coco, rle
from liir.errors import InputError


@given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 9), st.integers(1, 9))
def test_rectangle_covers_its_pixels(x: int, y: int, width: int, height: int) -> None:
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    mask = coco.rasterise([corners], (20, 20))
    expected = np.zeros((20, 20), bool)
    expected[y : y + height, x : x + width] = True
    assert np.array_equal(mask, expected)


@given(st.integers(0, 2**32 - 1))
def test_polygons_are_nearly_those_of_pycocotools(seed: int) -> None:
    """pycocotools rounds the outline to fifths of a pixel: alike but for single pixels of it."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radius = rng.uniform(20, 60, 9)
    corners = np.stack([50 + radius * np.cos(angles), 45 + radius * np.sin(angles)], 1)  # may leave
    polygon = corners.ravel().tolist()
    ours = coco.rasterise([polygon], (90, 100))
    theirs = oracle.decode(oracle.frPyObjects([polygon], 90, 100))[..., 0].astype(bool)
    outline = np.abs(np.diff(corners, axis=0, append=corners[:1])).sum()
    assert np.count_nonzero(ours ^ theirs) <= 0.1 * outline + 3


def test_neighbouring_polygons_share_no_pixel_and_leave_no_gap() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 30, 2)
    fan = [[0, 0, 30, 0, x, y], [30, 0, 30, 30, x, y], [30, 30, 0, 30, x, y], [0, 30, 0, 0, x, y]]
    cover = sum(coco.rasterise([each], (30, 30)).astype(int) for each in fan)
    assert np.array_equal(cover, np.ones((30, 30), int))


@pytest.mark.parametrize(
    "polygon",
    [
        [1, 2, 3, 4],
        [1, 2, 3, 4, 5],
        "polygon",
        None,
        [1, 2, 3, 4, 5, float("nan")],
        [1, 2, 3, 4, 5, float("inf")],
        [1, 2, 3, 4, 5, 10**400],
        [1, 2, 3, 4, 5, "6"],
        [1, 2, 3, 4, 5, 1e7],
    ],
)
def test_refuses_broken_polygons(polygon: object) -> None:
    with pytest.raises(InputError, match="polygon"):
        coco.rasterise([polygon], (10, 10))


def image(**more: object) -> dict[str, object]:
    return {"id": 1, "width": 4, "height": 3, "file_name": "clip_0007.jpg"} | more


def annotation(**more: object) -> dict[str, object]:
    square = [0, 0, 2, 0, 2, 2, 0, 2]
    return {"id": 9, "image_id": 1, "category_id": 5, "segmentation": [square]} | more


def test_document_from_other_tools() -> None:
    document = {
        "images": [image(), image(id="b", file_name="x.png", frame_index=3)],
        "annotations": [
            annotation(),
            annotation(track_id=2, segmentation={"size": [3, 4], "counts": [9, 3]}),
            annotation(image_id="b", attributes={"track_id": 8}, segmentation=rle.encode(ABSENT)),
        ],
    }
    found = coco.read_document(document)
    assert set(found) == {7, 3}
    labels, ids = found[7]
    assert labels.tolist() == [[5, 5, 0, 2], [5, 5, 0, 2], [0, 0, 0, 2]]
    assert ids == {5, 2}
    assert not found[3][0].any()
    assert found[3][1] == {8}


ABSENT = np.zeros((3, 4), bool)


def test_frame_is_the_place_where_nothing_else_tells() -> None:
    images = [image(id=k, file_name="dog.png") for k in (4, 1)]
    assert set(coco.read_document({"images": images, "annotations": [annotation()]})) == {1}


@pytest.mark.parametrize(
    ("images", "annotations", "message"),
    [
        ([image(), image()], [], "id of its own"),
        ([image(), image(id=2)], [], "same frame"),
        ([image(id=[])], [], "id of its own"),
        ([image(frame_index=-1)], [], "frame"),
        ([image(frame_index=1.5)], [], "integer"),
        (None, [], "images must be a list"),
        ([3], [], r"images\[0\] is not an object"),
        ([image()], {}, "annotations must be a list"),
        ([image()], [annotation(image_id=2)], r"annotations\[0\]: its image_id"),
        ([image()], [annotation(image_id={})], "its image_id"),
        ([image()], [annotation(track_id=0)], "track_id is 0"),
        ([image()], [annotation(category_id=255)], "there is no track_id"),
        ([image()], [annotation(category_id=None, id=None)], "give a track_id"),
        ([image()], [annotation(segmentation=[])], "no segmentation"),
        ([image()], [annotation(segmentation=None)], "no segmentation"),
        ([image()], [annotation(segmentation=rle.encode(ABSENT.T))], "not of the size"),
        ([image(width=None)], [annotation()], "width"),
        ([image(width=10**6, height=10**6)], [annotation()], "limit"),
    ],
)
def test_refuses_broken_documents(images: object, annotations: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        coco.read_document({"images": images, "annotations": annotations})


def test_keypoints_alone_are_sent_to_csv() -> None:
    document = {
        "images": [{"id": 1, "height": 4, "width": 4}],
        "annotations": [{"id": 1, "image_id": 1, "keypoints": [1, 2, 2]}],
    }
    with pytest.raises(InputError, match=r"annotations\[0\]: .*from CSV .frame,name,x,y"):
        coco.read_document(document)
