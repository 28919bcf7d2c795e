"""COCO documents: the images, and the objects in each as RLE or polygons.

Format: the COCO API (cocodataset.org).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from liir.errors import InputError
from liir.inputs import MAX_ID, frame_number, integer, naming, picture_size, records
from liir.rle import decode, rle_size

_MAX_DOCUMENT = 2_000_000_000  # label pixels of one document: they are all held in memory
_FAR = 1e6  # pixels: a polygon beyond this is a mistake, and its rows could overflow an integer


def read_document(
    document: Mapping[str, object], stems: Sequence[str] | None = None
) -> dict[int, tuple[NDArray[np.uint8], set[int]]]:
    """The labels (H, W) uint8 of each frame of a COCO document, and the objects it speaks for.

    The object id is `track_id` (of the annotation, or of its `attributes`), else `category_id`
    (its instances are then one object), else `id`. Where masks of a frame overlap, the later one
    counts. A mask without any pixel says that the object is not there. The frame is `frame_index`
    of the image, else that of `stems` (names of a folder's images, in order) which its `file_name`
    is, else the number at the end of that, else its place in the list.
    """
    images: dict[object, tuple[int, Mapping[str, object]]] = {}
    for place, (where, image) in enumerate(records(document, "images")):
        with naming(where):
            key = image.get("id")
            if not isinstance(key, int | str) or key in images:
                raise InputError("an image needs an id of its own")
            images[key] = _image_frame(image, place, stems or ()), image
    if len({frame for frame, _ in images.values()}) < len(images):
        raise InputError("several images are of the same frame: give each its frame_index")
    found: dict[int, tuple[NDArray[np.uint8], set[int]]] = {}
    total = 0
    for where, record in records(document, "annotations"):
        with naming(where):
            key = record.get("image_id")
            if not isinstance(key, int | str) or key not in images:
                raise InputError("its image_id is not among the images")
            frame, image = images[key]
            number = _object_id(record)
            if "keypoints" in record and not record.get("segmentation"):
                raise InputError("has keypoints alone: they are read from CSV (frame,name,x,y)")
            mask = _mask(record.get("segmentation"), image)
            if frame not in found:
                total += mask.size
                if total > _MAX_DOCUMENT:
                    raise InputError("the document is too large: split it")
                found[frame] = np.zeros(mask.shape, np.uint8), set()
            labels, ids = found[frame]
            if labels.shape != mask.shape:
                raise InputError("its mask is not of the size of others of the same image")
            labels[mask] = number
            ids.add(number)
    return found


def _image_frame(image: Mapping[str, object], place: int, stems: Sequence[str]) -> int:
    """The frame of an image record that is number `place` in its list."""
    if image.get("frame_index") is not None:
        return frame_number(image["frame_index"])
    stem = PurePosixPath(str(image.get("file_name", ""))).stem
    if stem in stems:
        return stems.index(stem)
    name = re.search("([0-9]{1,9})$", stem)
    return int(name[1]) if name else place


def _object_id(record: Mapping[str, object]) -> int:
    extra = record.get("attributes")
    for source in (record, extra if isinstance(extra, Mapping) else {}):
        if source.get("track_id") is not None:
            return integer(source["track_id"], "track_id", 1, MAX_ID)
    for key in ("category_id", "id"):
        if record.get(key) is not None:
            return integer(record[key], f"{key} (there is no track_id)", 1, MAX_ID)
    raise InputError("has neither track_id nor category_id nor id: give a track_id")


def _mask(segmentation: object, image: Mapping[str, object]) -> NDArray[np.bool_]:
    """The mask of an annotation; an image may leave out its size where the RLE has one."""
    if isinstance(segmentation, list) and segmentation:
        return rasterise(segmentation, picture_size(image.get("height"), image.get("width")))
    if not isinstance(segmentation, Mapping):
        raise InputError("has no segmentation: it takes an RLE or polygons")
    sides = [image.get("height"), image.get("width")]
    if sides != [None, None] and rle_size(segmentation) != picture_size(*sides):
        raise InputError("its RLE is not of the size of its image")
    return decode(segmentation)


# --- Polygons


def rasterise(polygons: Sequence[object], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels whose centre lies in one of the polygons (even-odd rule within each).

    Args:
        polygons: each a list [x0, y0, x1, y1, ...] in pixels, at least three points; it may leave
            the frame.
        size: (H, W).

    Raises:
        InputError: a polygon is malformed or has a coordinate that is not finite or far outside.
    """
    mask = np.zeros(size, np.bool_)
    for polygon in polygons:
        mask |= _fill(_corners(polygon), size)
    return mask


def _corners(polygon: object) -> NDArray[np.float64]:
    """(K, 2) float64, x y: the corners of one polygon, checked."""
    if not isinstance(polygon, list | tuple) or len(polygon) < 6 or len(polygon) % 2:
        raise InputError("a polygon is a list x0, y0, x1, y1, ... of at least three points")
    for value in polygon:
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= _FAR:
            raise InputError("a polygon's coordinates are finite numbers within a million pixels")
    return np.array(polygon, np.float64).reshape(-1, 2)


def _fill(corners: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Scan conversion at pixel centres.

    Pillow's polygon also paints every pixel its outline touches: half a pixel too wide on each
    side, so that neighbours would overlap.
    """
    height, width = size
    toggles = np.zeros((height, width + 1), np.bool_)  # where inside and outside change places
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        top, bottom = np.clip(np.ceil(np.array([y0, y1]) - 0.5), 0, height).astype(int)
        if top == bottom:
            continue
        rows = np.arange(top, bottom)
        crossing = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
        toggles[rows, np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)] ^= True
    return np.logical_xor.accumulate(toggles, axis=1)[:, :width]
