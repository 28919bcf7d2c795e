"""Label images: which object each pixel of a frame belongs to, as files and arrays say it."""

import io
import logging
import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from liir.errors import InputError
from liir.inputs import MAX_ID, MAX_PIXELS, listed, read_bytes

VOID = 255  # the label of a pixel of which nothing is known
Size = tuple[int, int]  # (H, W)
Labels = NDArray[np.uint8]

_log = logging.getLogger(__name__)
_MANY = 16  # objects; fewer grey values than these are not looked at for soft edges
_VOID_SHARE = 0.005  # of the image; a narrower rim of unknown pixels is meant as one
_SKEW = 0.03  # sides whose ratio differs by more are of another picture
_RECIPE = (
    "save it as greyscale or indexed PNG with the object's number as grey value "
    "(GIMP: Image > Mode > Indexed; ImageJ: 8-bit)"
)


def read_picture(path: Path) -> Labels:
    """(H, W) uint8 ids of a label image: PNG, TIFF or BMP, with a palette or grey (1 to 16 bits).

    The values are the ids, never the colours. 255 is void; a picture of nothing but black and
    white, without a palette, is one object (the form of DAVIS-2016).

    Raises:
        InputError: The file is no such image, or its values cannot be ids.
    """
    try:
        data = io.BytesIO(read_bytes(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oddities of a file that can be read all the same
            with Image.open(data, formats=("PNG", "TIFF", "BMP")) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise InputError(f"{image.width}x{image.height} pixels are too many")
                if (pages := getattr(image, "n_frames", 1)) > 1:
                    raise InputError(
                        f"is a stack of {pages} pages, not one mask: save each page as FRAME.png, "
                        "or import it in liir serve, which reads stacks"
                    )
                # Pillow stretches 2 and 4 bits of grey to 0..255, and tells only before load.
                shallow = re.search("L;([24])", str(image.tile)) if image.mode == "L" else None
                step = {"2": 85, "4": 17}[shallow[1]] if shallow else 1
                image.load()
                values = _ids(image) // step
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError("has too many pixels") from None
    except Exception as error:  # Pillow's readers raise almost anything on a broken file
        raise InputError(
            f"is not a PNG, TIFF or BMP image that can be read ({type(error).__name__}); "
            "masks are palette or grey images, points are CSV or JSON"
        ) from None
    grey = image.mode != "P" and step == 1
    labels = label_map(values, grey=grey, highest=VOID if values.itemsize == 1 else MAX_ID)
    if grey:
        _check_edges(labels)
        unknown = np.count_nonzero(labels == VOID)
        if unknown > _VOID_SHARE * labels.size:
            _log.warning("%s: 255 is 'unknown' here: %d pixels are ignored", path, unknown)
    return labels


def voc_palette() -> NDArray[np.uint8]:
    """(256, 3) uint8 RGB: the colours of PASCAL VOC, id 0 black and 255 almost white.

    The bits of an id, lowest first, are dealt to red, green and blue in turn, highest bit first.
    """
    ids = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        palette[:, bit % 3] |= ((ids >> bit & 1) << 7 - bit // 3).astype(np.uint8)
    return palette


def label_map(values: NDArray[np.generic], grey: bool = True, highest: int = VOID) -> Labels:
    """(H, W) uint8 ids, a copy, of an array of integers or bool; `grey`: 0 and 255 is object 1."""
    if values.ndim != 2 or not values.size:
        raise InputError(f"has shape {values.shape}: label maps are (H, W)")
    if values.dtype.kind not in "biu":
        raise InputError(f"holds {values.dtype} values: label maps hold integer ids, or bool")
    for value in (int(values.min()), int(values.max())):
        if not 0 <= value <= highest:
            raise InputError(f"holds the value {value}: object ids go from 1 to {MAX_ID}")
    labels = values.astype(np.uint8)
    if grey and labels.max() == VOID and not ((labels > 0) & (labels < VOID)).any():
        labels //= VOID
    return labels


def fitted(labels: Labels, size: Size | None, resize: bool) -> Labels:
    """The labels at the video's size: as they are, or brought to it by nearest neighbour."""
    if size is None or labels.shape == size:
        return labels
    (height, width), (rows, columns) = size, labels.shape
    sizes = f"is {columns}x{rows} pixels and the video {width}x{height}"
    if not resize:
        raise InputError(f"{sizes}: save it at the video's size, or give --resize-annotation")
    # Rounding moves a side by up to a pixel: that alone must not be taken for another shape.
    if abs(columns * height - rows * width) > _SKEW * rows * width + max(*size, *labels.shape):
        raise InputError(f"{sizes}, which is another shape: is the mask rotated or cropped?")
    down = (np.arange(height) * 2 + 1) * rows // (2 * height)  # the one under each pixel's centre
    along = (np.arange(width) * 2 + 1) * columns // (2 * width)
    found: Labels = labels[np.ix_(down, along)]
    return found


def _ids(image: Image.Image) -> NDArray[np.generic]:
    """The values of a palette or grey image; a picture in colour is refused, saying why."""
    if image.mode in ("P", "L", "1", "I;16", "I;16B", "I"):
        values = np.asarray(image)
        if values.itemsize > 1 and np.isin(values, (0, 65535)).all():  # black and white of 16 bits
            return values > 0
        return values
    if image.mode in ("RGB", "RGBA", "LA"):
        values = np.asarray(image)
        if np.isin(values, (0, 255)).all():
            colours = values[..., :3] if image.mode != "LA" else values[..., :1]
            if (colours == colours[..., :1]).all():  # black and white, seen or cut away
                return np.asarray(values.min(axis=2))
    if not image.mode.startswith("RGB"):
        raise InputError(f"has mode {image.mode}: {_RECIPE}")
    kind = f"is an {image.mode} picture, which holds colours and not ids"
    colours_used = [colour for _, colour in image.convert("RGB").getcolors(256) or ()]
    known: dict[object, int] = {tuple(rgb): i for i, rgb in enumerate(voc_palette().tolist())}
    if colours_used and known.keys() >= set(colours_used):
        ids = listed(known[colour] for colour in colours_used)
        kind += f" (its colours are those of ids {ids} in the VOC palette)"
    raise InputError(f"{kind}: {_RECIPE}")


def _check_edges(labels: Labels) -> None:
    """Refuse a picture whose grey values are shades: of many, most have no neighbour of their own.

    The pixels of an object lie together; along a soft edge the value changes from pixel to pixel,
    however wide the edge is. Objects of a single pixel, on background, are no edge.
    """
    pixels = np.bincount(labels.ravel(), minlength=256)
    alike = np.zeros(256, np.int64)  # pairs of equal neighbours, of eight around a pixel
    mixed = np.zeros(256, np.int64)  # pairs with another value that is not the background
    top, left, right = labels[:-1], labels[:, :-1], labels[:, 1:]
    pairs = ((top, labels[1:]), (left, right), (left[:-1], right[1:]), (right[:-1], left[1:]))
    for one, two in pairs:
        alike += np.bincount(one[one == two], minlength=256)
        mixed += np.bincount(one[(one != two) & (two > 0)], minlength=256)
    ids = np.arange(1, VOID)[pixels[1:VOID] > 0]
    loose = np.count_nonzero((2 * alike < pixels)[ids] & (mixed > 0)[ids])
    if len(ids) > _MANY and 2 * loose > len(ids):
        raise InputError(
            f"holds {len(ids)} grey values, most at the edges of others: it was drawn with soft "
            "edges; save it without antialiasing, or threshold it"
        )
