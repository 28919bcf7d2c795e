"""Masks as COCO writes them: run-length encoding (RLE), polygons, and documents of these.

An RLE counts runs of equal pixels down the columns (column-major), zeros first. The compressed form
writes each count, from the fourth on as the difference to the count two before it, in groups of
five bits, lowest first, one printable character (48 to 111) a group; bit 5 says that more follow
and the last group's top bit is the sign. Format: the COCO API (cocodataset.org).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from liir.errors import InputError

MAX_PIXELS = 64_000_000
"""The largest picture or mask that is read: a small file must not fill the memory."""
MAX_ID = 254
"""The highest object id: labels are 8 bits, and 255 is void."""

_MAX_DOCUMENT = 2_000_000_000  # label pixels of one document: they are all held in memory
_MAX_BYTES = 128_000_000  # of a file
_FAR = 1e6  # pixels: a polygon beyond this is a mistake, and its rows could overflow an integer
_GROUPS = 7  # groups of five bits: enough for any count up to MAX_PIXELS


class RLE(TypedDict):
    """A compressed mask: `size` is [H, W], `counts` the string described above."""

    size: list[int]
    counts: str


def encode(mask: NDArray[np.bool_]) -> RLE:
    """The compressed RLE of a mask (H, W) bool."""
    assert mask.dtype == np.bool_, mask.dtype
    height, width = mask.shape
    pixels = mask.ravel(order="F")
    edges = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    starts = np.zeros(1 if pixels.size and pixels[0] else 0, np.int64)  # a run of no zeros
    counts = np.diff(np.concatenate([[0], starts, edges, [pixels.size]]))
    return RLE(size=[height, width], counts=_compress(counts))


def decode(rle: Mapping[str, object]) -> NDArray[np.bool_]:
    """The mask (H, W) bool of an RLE.

    Args:
        rle: `size` [H, W], and `counts` as the compressed string (str or bytes) or a list of runs.

    Raises:
        InputError: the RLE is malformed, larger than MAX_PIXELS, or its runs do not fill its size.
    """
    height, width = rle_size(rle)
    counts = _counts(rle)
    ones = np.arange(len(counts)) % 2 == 1
    return np.ascontiguousarray(np.repeat(ones, counts).reshape(width, height).T)


def area(rle: Mapping[str, object]) -> int:
    """The number of pixels set, without decoding. Raises InputError as `decode` does."""
    return int(_counts(rle)[1::2].sum())


def rle_size(rle: Mapping[str, object]) -> tuple[int, int]:
    """(H, W) of an RLE; InputError where it is missing, not two positive integers, or too large."""
    size = rle.get("size")
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise InputError("the RLE needs a size of [height, width]")
    return _size(*size)


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


def _compress(counts: NDArray[np.int64]) -> str:
    """Counts to the characters of the compressed form."""
    rest = counts.copy()
    rest[3:] -= counts[1:-2]
    groups, used = [], []
    going = np.ones(len(rest), np.bool_)
    while going.any():
        used.append(going)
        low = rest & 0x1F
        rest = rest >> 5
        # Done when the rest is nothing but the sign that the top bit of this group shows.
        more = going & (rest != np.where(low & 0x10, -1, 0))
        groups.append(low | (more * 0x20))
        going = more
    characters = np.stack(groups, axis=1)[np.stack(used, axis=1)] + 48
    return characters.astype(np.uint8).tobytes().decode("ascii")


def _counts(rle: Mapping[str, object]) -> NDArray[np.int64]:
    """The runs of a compressed or uncompressed RLE: not negative, filling the size exactly."""
    height, width = rle_size(rle)
    given = rle.get("counts")
    if isinstance(given, str | bytes):
        counts = _expand(given)
    elif isinstance(given, list):
        runs = [integer(run, "a count of the RLE", 0, MAX_PIXELS) for run in given]
        counts = np.array(runs, np.int64)
    else:
        raise InputError("the RLE needs counts: a string, or a list of runs")
    if ((counts < 0) | (counts > height * width)).any() or counts.sum() != height * width:
        raise InputError(f"the counts of the RLE do not fill its size of {width}x{height}")
    return counts


def _expand(text: str | bytes) -> NDArray[np.int64]:
    """The characters of the compressed form to counts."""
    try:
        data = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError:
        raise InputError("the counts of the RLE hold a character that RLE does not use") from None
    codes = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    if ((codes < 0) | (codes > 63)).any():
        raise InputError("the counts of the RLE hold a character that RLE does not use")
    if not len(codes):
        return codes
    last = codes & 0x20 == 0
    if not last[-1]:
        raise InputError("the counts of the RLE end in the middle of a number")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _GROUPS:
        raise InputError("the counts of the RLE hold a number that is too large")
    place = np.arange(len(codes)) - np.repeat(starts, lengths)
    counts = np.add.reduceat((codes & 0x1F) << (5 * place), starts)
    counts -= np.where(codes[ends] & 0x10, 1 << (5 * lengths), 0)
    # From the fourth on, differences to the count two before: odd and even places sum separately.
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts


# --- Documents


def read_document(document: Mapping[str, object]) -> dict[int, tuple[NDArray[np.uint8], set[int]]]:
    """The labels (H, W) uint8 of each frame of a COCO document, and the objects it speaks for.

    The object id is `track_id` (of the annotation, or of its `attributes`), else `category_id`
    (its instances are then one object), else `id`. Where masks of a frame overlap, the later one
    counts. A mask without any pixel says that the object is not there. The frame is `frame_index`
    of the image, else the number at the end of its `file_name`, else its place in the list.
    """
    images: dict[object, tuple[int, Mapping[str, object]]] = {}
    for place, (where, image) in enumerate(records(document, "images")):
        with naming(where):
            key = image.get("id")
            if not isinstance(key, int | str) or key in images:
                raise InputError("an image needs an id of its own")
            images[key] = _image_frame(image, place), image
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


def _image_frame(image: Mapping[str, object], place: int) -> int:
    """The frame of an image record that is number `place` in its list."""
    if image.get("frame_index") is not None:
        return frame_number(image["frame_index"])
    name = re.search("([0-9]{1,9})$", PurePosixPath(str(image.get("file_name", ""))).stem)
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
        return rasterise(segmentation, _size(image.get("height"), image.get("width")))
    if not isinstance(segmentation, Mapping):
        raise InputError("has no segmentation: it takes an RLE or polygons")
    sides = [image.get("height"), image.get("width")]
    if sides != [None, None] and rle_size(segmentation) != _size(*sides):
        raise InputError("its RLE is not of the size of its image")
    return decode(segmentation)


# --- Values from outside


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Put `where` (a file, a line, a point) before the message of any InputError raised within."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def integer(value: object, name: str, low: int, high: int) -> int:
    """The value, if it is an integer from `low` to `high`; else InputError."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise InputError(f"{name} is {value!r:.40}: it must be an integer")
    if not low <= value <= high:
        raise InputError(f"{name} is {value!r:.40}: it goes from {low} to {high}")
    return int(value)


def frame_number(value: object) -> int:
    """A frame number, also written as text: an integer from 0; else InputError."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,9}\s*", value):
        value = int(value)
    return integer(value, "the frame", 0, 2**31 - 1)


def read_bytes(path: Path) -> bytes:
    """A whole file, of a size that can be an annotation's; else InputError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"is larger than {_MAX_BYTES // 1_000_000} MB: split it")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None


def read_json(path: Path) -> object:
    """What a JSON file holds; else InputError."""
    try:
        return json.loads(read_bytes(path))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON ({error})") from None


def records(document: Mapping[str, object], key: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """(words for its place, record) of each record in the list `document[key]`."""
    listed = document.get(key)
    if not isinstance(listed, list):
        raise InputError(f"{key} must be a list")
    for place, record in enumerate(listed):
        if not isinstance(record, Mapping):
            raise InputError(f"{key}[{place}] is not an object")
        yield f"{key}[{place}]", record


def _size(height: object, width: object) -> tuple[int, int]:
    """(H, W), checked."""
    rows = integer(height, "the height", 1, MAX_PIXELS)
    columns = integer(width, "the width", 1, MAX_PIXELS)
    if rows * columns > MAX_PIXELS:
        raise InputError(f"{columns}x{rows} is over the limit of {MAX_PIXELS} pixels")
    return rows, columns
