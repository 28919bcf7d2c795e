"""The files that figures are written to."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from liir.errors import InputError
from liir.figures import Picture
from liir.files import writing, written


def suffix(out: Path, *kinds: str) -> str:
    """The ending of a figure's file, which says what to write, if it is one of `kinds`.

    Raises:
        InputError: It is not, or the folder cannot be made.
    """
    kind = out.suffix.lower()
    if kind not in kinds:
        raise InputError(f"{out}: let the name end in {' or '.join(kinds)}")
    if out.is_dir():
        raise InputError(f"{out}: is a folder; give the name of a file")
    with writing(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
    return kind


def check_apart(out: Path, *sources: Path) -> None:
    """Sees that a figure does not take the place of what it is drawn from.

    Args:
        out: Where the figure goes.
        sources: Files, and folders whose files are frames.

    Raises:
        InputError: It is one of them, or would be a frame of one.
    """
    place = out.resolve()
    for source in sources:
        if source.resolve() in (place, place.parent):
            raise InputError(f"{out}: lies in what is drawn, {source}; give another --out")


def write_png(out: Path, picture: Picture) -> None:
    """Writes a picture (H, W, 3) uint8, whole or not at all.

    Raises:
        InputError: It cannot be written.
    """
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    with writing(out), written(out) as partial:
        partial.write_bytes(file.getbuffer())
