"""Still pictures as frames: folders of images, pages of one image file, arrays.

Whatever they hold becomes (H, W, 3) uint8. Legend: T time, H W pixels.

- Grey is repeated to three channels; palette and CMYK are converted; alpha is composited over
  black.
- Pixels deeper than 8 bits (integers or floats) are scaled so that the percentiles 0.5 and 99.5
  become 0 and 255. These are taken once, over up to 16 pictures spread over the sequence, so that
  brightness does not flicker. Float *colour* that lies in [0, 1] is multiplied by 255 instead.
- EXIF orientation is not applied: masks are drawn on the pixel grid that the file stores, and a
  picture that turns while its mask does not would be wrong without a word. (A TIFF's own
  orientation tag is: Pillow always does that.)
"""

import re
import struct
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from liir.errors import InputError
from liir.frames import DEFAULT_RATE, Frame, Video

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
PERCENTILES = (0.5, 99.5)
SAMPLES = 16

Raw = NDArray[Any]  # (H, W) or (H, W, 1 | 3 | 4), any depth
Load = Callable[[int], Raw]


class UnreadableError(InputError):
    """A picture that cannot be decoded: fatal if it is the first, skipped later on."""


@dataclass(frozen=True)
class Pictures:
    """A sequence of still pictures that can be had in any order.

    Attributes:
        name: what to call the sequence.
        count: how many there are.
        opened: a context that holds the file open (where there is one) and gives a function
            index -> raw pixels, raising `UnreadableError`.
        label: index -> how to name that picture in a message.
        files: file names, for a folder.
    """

    name: str
    count: int
    opened: Callable[[], AbstractContextManager[Load]]
    label: Callable[[int], str]
    files: list[str] | None = None

    @cached_property
    def span(self) -> tuple[float, float]:
        """Black and white point of the deep pictures among them."""
        spread = sorted({round(i) for i in np.linspace(0, self.count - 1, SAMPLES)})
        samples = []
        with self.opened() as load:
            for index in spread:
                with suppress(UnreadableError):
                    samples.append(checked(load(index), self.label(index)))
        return black_and_white(samples)


def checked(raw: Raw, label: str) -> Raw:
    """Give `raw` back if it can be a frame.

    Raises:
        InputError: if its shape or type is none that `to_rgb` takes.
    """
    plane = raw.ndim == 2 or (raw.ndim == 3 and raw.shape[2] in (1, 3, 4))
    deep = raw.dtype.kind in "uif" and raw.shape[2:] != (4,)
    if plane and raw.size and (raw.dtype in (np.uint8, np.bool_) or deep):
        return raw
    raise InputError(
        f"{label}: shape {raw.shape}, type {raw.dtype}; "
        "give (H, W), (H, W, 3) or, as uint8, (H, W, 4)"
    )


def black_and_white(samples: Iterable[Raw]) -> tuple[float, float]:
    """Values that become 0 and 255, from a thinned sample of deep pictures."""
    values = [np.zeros(0)]
    colour = False
    for raw in samples:
        if raw.dtype in (np.uint8, np.bool_):
            continue
        step = max(1, int((raw.shape[0] * raw.shape[1] / 65536) ** 0.5))
        values.append(raw[::step, ::step].astype(np.float64).ravel())
        colour = raw.dtype.kind == "f" and raw.shape[2:] == (3,)
    pooled = np.concatenate(values)
    pooled = pooled[np.isfinite(pooled)]
    if not pooled.size or (colour and pooled.min() >= 0 and pooled.max() <= 1):
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(pooled, PERCENTILES))
    return (low, high) if high > low else (low, low + 1)


def to_rgb(raw: Raw, span: tuple[float, float]) -> NDArray[np.uint8]:
    """Convert a picture of any depth.

    Args:
        raw: (H, W) or (H, W, 1 | 3 | 4); bool, uint8, or deeper (then without alpha).
        span: the deep values that become 0 and 255; NaN becomes 0.

    Returns:
        (H, W, 3) uint8, C-contiguous, never a view of `raw`.
    """
    if raw.dtype == np.bool_:
        raw = raw.astype(np.uint8) * np.uint8(255)
    if raw.dtype != np.uint8:
        low, high = span
        within = np.nan_to_num(np.clip(raw, low, high).astype(np.float32), nan=low)
        raw = ((within - low) * (255 / (high - low)) + 0.5).astype(np.uint8)
    if raw.ndim == 2:
        raw = raw[..., None]
    if raw.shape[2] == 4:
        alpha = raw[..., 3:].astype(np.uint16)
        raw = ((raw[..., :3] * alpha + 127) // 255).astype(np.uint8)
    return np.array(np.broadcast_to(raw, (*raw.shape[:2], 3)), order="C")


class Stills(Video):
    """A folder, the pages of a file, an array: any picture can be had at once."""

    def __init__(self, stills: Pictures) -> None:
        self._stills = stills
        with stills.opened() as load:
            first = checked(load(0), stills.label(0))
        super().__init__(stills.name, (first.shape[0], first.shape[1]), None, stills.files)

    @property
    def length(self) -> int:
        """Number of pictures."""
        return self._stills.count

    def _read(self, start: int, stop: int | None) -> Generator[Frame, None, None]:
        label = self._stills.label
        with self._stills.opened() as load:
            for index in range(start, self.length if stop is None else min(stop, self.length)):
                try:
                    raw = checked(load(index), label(index))
                except UnreadableError:
                    self._skip([index])
                    continue
                _same_size(raw, label(index), self.size, label(0))
                shallow = raw.dtype in (np.uint8, np.bool_)
                rgb = to_rgb(raw, (0, 1) if shallow else self._stills.span)
                yield Frame(index, index / DEFAULT_RATE, rgb)


class Stream(Video):
    """Frames that somebody else makes, one after the other, once."""

    can_rewind = False

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self._position = 0  # index of the item that comes next
        self._waiting = [self._next()]
        if self._waiting[0] is None:
            raise InputError("iterator: holds no frames; give at least one")
        first = self._waiting[0]
        super().__init__("iterator", (first.shape[0], first.shape[1]), None)
        self._span = black_and_white([first])  # all that is known of it so far

    def _next(self) -> Raw | None:
        for item in self._items:
            return checked(np.asarray(item), f"iterator: frame {self._position}")
        return None

    def _read(self, start: int, stop: int | None) -> Generator[Frame, None, None]:
        if start < self._position:
            raise InputError(
                f"iterator: frame {start} has gone by, the next is {self._position}; "
                "give a file or an array to read it twice"
            )
        while stop is None or self._position < stop:
            raw = self._waiting.pop() if self._waiting else self._next()
            if raw is None:
                return
            index = self._position
            self._position += 1
            _same_size(raw, f"iterator: frame {index}", self.size, "frame 0")
            if index >= start:
                yield Frame(index, index / DEFAULT_RATE, to_rgb(raw, self._span))


def from_array(array: Raw) -> Pictures:
    """Take an array (T, H, W), (T, H, W, 3) or (T, H, W, 4).

    Raises:
        InputError: for other shapes.
    """
    if array.ndim not in (3, 4) or (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise InputError(
            f"array of shape {array.shape}: give (T, H, W) or (T, H, W, 3); "
            "one image becomes a video as image[None]"
        )
    return from_list(array, "array")


def from_list(frames: Sequence[Any] | Raw, name: str = "list") -> Pictures:
    """Take a list of frames.

    Raises:
        InputError: if it is empty.
    """
    if len(frames) == 0:
        raise InputError(f"{name}: holds no frames; give at least one")

    def load(index: int) -> Raw:
        return np.asarray(frames[index])

    return Pictures(name, len(frames), lambda: nullcontext(load), lambda i: f"{name}: frame {i}")


def from_folder(folder: Path, *, check: bool = True) -> Pictures:
    """Take the images of a folder in natural order (2 before 10).

    Args:
        folder: The folder.
        check: Whether to look into all of them at once, rather than when each is read.

    Raises:
        InputError: if there are none, two share a stem, their sizes differ, or one has pages.
    """
    paths = sorted(
        (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."),
        key=natural,
    )
    if not paths:
        raise InputError(f"{folder}: holds no images (png, jpg, bmp, webp, tif); check the path")
    by_stem: dict[str, Path] = {}
    for path in paths:
        if (other := by_stem.setdefault(path.stem, path)) is not path:
            raise InputError(f"{folder}: holds {other.name} and {path.name}; keep one of the two")
    if check:
        _check_headers(paths)

    def load(index: int) -> Raw:
        return decode(paths[index], str(paths[index]))

    def opened() -> AbstractContextManager[Load]:
        return nullcontext(load)

    return Pictures(
        folder.name, len(paths), opened, lambda i: str(paths[i]), [p.name for p in paths]
    )


def from_pages(path: Path) -> Pictures:
    """Take the pages of one image file, such as a TIFF stack.

    Raises:
        InputError: if the file is no image.
    """

    @contextmanager
    def opened() -> Iterator[Load]:
        with _readable(str(path)):
            image = Image.open(path)

        def load(index: int) -> Raw:
            with _readable(f"{path}: page {index}"):
                image.seek(index)
                return _decoded(image)

        with image:
            yield load

    with _readable(str(path)), Image.open(path) as image:
        count = int(getattr(image, "n_frames", 1))
    return Pictures(path.name, count, opened, lambda i: f"{path}: page {i}")


def decode(file: Path | IO[bytes], label: str, side: int = 0) -> Raw:
    """Reads one image.

    Args:
        file: The file.
        label: How to name it in a message.
        side: The short side in pixels that will do, if not 0: a larger JPEG is decoded at 1/2, 1/4
            or 1/8 of its size, in a fraction of the time, as long as it stays above.

    Returns:
        (H, W) or (H, W, 3 | 4), of its own depth.

    Raises:
        UnreadableError: It cannot be read.
    """
    with _readable(label), Image.open(file) as image:
        if side:
            image.draft(None, (side, side))
        return _decoded(image)


def natural(path: Path) -> tuple[list[str | int], str]:
    """Sort key: digits at odd places of the split compare as numbers, then the name itself."""
    parts: list[str | int] = list(re.split(r"([0-9]+)", path.name.lower()))
    parts[1::2] = [int(part) for part in parts[1::2]]
    return parts, path.name


def is_stack(path: Path) -> bool:
    """Tell whether a file is a TIFF of several pages: a video, not one picture of a video."""
    if path.suffix.lower() in (".tif", ".tiff"):
        with suppress(UnreadableError), _readable(str(path)), Image.open(path) as image:
            return _pages(image) > 1
    return False


def has_palette(path: Path) -> bool:
    """Tell whether an image file has a palette, as label maps do."""
    with suppress(UnreadableError), _readable(str(path)), Image.open(path) as image:
        return image.mode == "P"
    return False


def _pages(image: Image.Image) -> int:
    # The second picture of an MPO, a JPEG of phones, is the same for the other eye, or in HDR.
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))


def _check_headers(paths: Sequence[Path]) -> None:
    """Compare sizes and count pages, before hours of work on the first half of a folder."""
    first: tuple[Path, tuple[int, int]] | None = None
    for path in paths:
        with suppress(UnreadableError), _readable(str(path)), Image.open(path) as image:
            first = first or (path, image.size)
            if image.size != first[1]:
                (w, h), (first_w, first_h) = image.size, first[1]
                raise _differ(str(path), (h, w), str(first[0]), (first_h, first_w))
            if (count := _pages(image)) > 1:
                raise InputError(
                    f"{path}: has {count} pages, so that it is a video by itself; open it alone, "
                    "or save each page as a file"
                )


def _differ(
    label: str, size: tuple[int, ...], other: str, other_size: tuple[int, ...]
) -> InputError:
    return InputError(
        f"{label} is {size[1]}x{size[0]} but {other} is {other_size[1]}x{other_size[0]}; "
        "the frames of a video have one size: resize them, or put them in folders of their own"
    )


def _same_size(raw: Raw, label: str, size: tuple[int, int], first: str) -> Raw:
    """Give `raw` back if it is of `size` (H, W), that of the picture named `first`.

    Raises:
        InputError: if it is not.
    """
    if raw.shape[:2] != size:
        raise _differ(label, raw.shape[:2], first, size)
    return raw


def _decoded(image: Image.Image) -> Raw:
    """Pixels as (H, W) or (H, W, 3 | 4): grey of any depth stays as it is."""
    if image.mode in ("L", "F") or image.mode.startswith("I"):
        return np.asarray(image)
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


@contextmanager
def _readable(label: str) -> Iterator[None]:
    """Name the file when Pillow gives up on it, which it does with many kinds of exception."""
    broken = (OSError, SyntaxError, ValueError, EOFError, struct.error)
    try:
        yield
    except InputError:
        raise
    except (*broken, Image.DecompressionBombError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UnreadableError(
            f"{label}: cannot be read as an image ({reason}); replace or remove it"
        ) from error
