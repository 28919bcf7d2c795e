"""Masks in run-length encoding (RLE), as COCO writes them.

An RLE counts runs of equal pixels down the columns (column-major), zeros first. The compressed form
writes each count, from the fourth on as the difference to the count two before it, in groups of
five bits, lowest first, one printable character (48 to 111) a group; bit 5 says that more follow
and the last group's top bit is the sign. Format: the COCO API (cocodataset.org).
"""

from collections.abc import Mapping
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from liir.errors import InputError
from liir.inputs import MAX_PIXELS, integer, picture_size

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


def encode_labels(labels: NDArray[np.uint8]) -> dict[int, RLE]:
    """The compressed RLEs of all ids of a label map (H, W), as `encode` makes one of each mask."""
    height, width = labels.shape
    pixels = labels.ravel(order="F")
    starts = np.flatnonzero(np.concatenate([[True], pixels[1:] != pixels[:-1]]))
    runs = np.stack([starts, np.append(starts[1:], pixels.size)], axis=1)
    values = pixels[starts]
    found = {}
    for number in np.unique(values).tolist():
        ends = runs[values == number].ravel()
        counts = np.diff(np.concatenate([[0], ends, [pixels.size]]))
        counts = counts[:-1] if counts[-1] == 0 else counts
        found[number] = RLE(size=[height, width], counts=_compress(counts))
    return found


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
    return picture_size(*size)


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
