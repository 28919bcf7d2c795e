"""Values from outside: what may be read from a file or an option, and the one line if it may not.

A check returns the value or raises `InputError`; `naming` puts before it where the value stands.
"""

import csv
import difflib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path

from liir.errors import InputError

MAX_PIXELS = 64_000_000
"""The largest picture or mask that is read: a small file must not fill the memory."""
MAX_ID = 254
"""The highest object id: labels are 8 bits, and 255 is void."""

_MAX_BYTES = 128_000_000  # of a file

Records = Iterator[tuple[str, Mapping[str, object]]]
"""Each record, after the words that say where it stands."""


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Put `where` (a file, a line, a point) before the message of any InputError raised within."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def integer(value: object, name: str, low: int, high: int) -> int:
    """The value, if it is an integer from `low` to `high`; else InputError."""
    # Integral is also what numpy's are, without importing it: --help has no need of numpy.
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name} is {value!r:.40}: it must be an integer")
    if not low <= int(value) <= high:
        raise InputError(f"{name} is {value!r:.40}: it goes from {low} to {high}")
    return int(value)


def frame_number(value: object) -> int:
    """A frame number, also written as text: an integer from 0; else InputError."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,9}\s*", value):
        value = int(value)
    return integer(value, "the frame", 0, 2**31 - 1)


def picture_size(height: object, width: object) -> tuple[int, int]:
    """(H, W), if they are integers from 1 and not over MAX_PIXELS together; else InputError."""
    rows = integer(height, "the height", 1, MAX_PIXELS)
    columns = integer(width, "the width", 1, MAX_PIXELS)
    if rows * columns > MAX_PIXELS:
        raise InputError(f"{columns}x{rows} is over the limit of {MAX_PIXELS} pixels")
    return rows, columns


def nearest(name: str, known: Iterable[str]) -> str:
    """Words to put after a wrong name: what was perhaps meant; "" if nothing is near."""
    near = difflib.get_close_matches(name, [*known], n=1)
    return f"; did you mean {near[0]}?" if near else ""


def listed(numbers: Iterable[int]) -> str:
    """A few of the numbers in words."""
    ordered = sorted(numbers)
    return ", ".join(map(str, ordered[:8])) + (", ..." if len(ordered) > 8 else "")


# --- Files and what they hold


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


def records(document: Mapping[str, object], key: str) -> Records:
    """(words for its place, record) of each record in the list `document[key]`."""
    listed = document.get(key)
    if not isinstance(listed, list):
        raise InputError(f"{key} must be a list")
    for place, record in enumerate(listed):
        if not isinstance(record, Mapping):
            raise InputError(f"{key}[{place}] is not an object")
        yield f"{key}[{place}]", record


def read_table(path: Path) -> tuple[set[str], Records]:
    """The columns that a CSV's first line names, in lower case, and its rows; else InputError.

    Commas stand between them or, where the first line has none, semicolons or tabs.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("is not text in UTF-8: save it as CSV in UTF-8") from None
    header = text.partition("\n")[0]
    # Spreadsheets of many countries write semicolons, for a comma is their decimal point.
    sign = next((sign for sign in ",;\t" if sign in header), ",")
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=sign)
    with _naming_line(reader):
        names = [name.strip().lower() for name in reader.fieldnames or ()]
    reader.fieldnames = names
    return {*names}, _rows(reader)


def _rows(reader: "csv.DictReader[str]") -> Records:
    with _naming_line(reader):
        for row in reader:
            if None in row or None in row.values():
                raise InputError(f"line {reader.line_num}: has not as many values as the header")
            yield f"line {reader.line_num}", row


@contextmanager
def _naming_line(reader: "csv.DictReader[str]") -> Iterator[None]:
    """Make what the csv module raises an InputError."""
    try:
        yield
    except csv.Error as error:
        raise InputError(f"line {reader.line_num}: {error}") from None
