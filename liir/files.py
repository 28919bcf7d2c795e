"""Files that appear under their name whole, or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from liir.errors import InputError


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to, which takes its name when all went well.

    If the block raises, what was written is removed, and a file of that name stays as it was.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def remove_partial(folder: Path) -> None:
    """Removes what processes that were killed have left of files that they were writing there."""
    for partial in folder.glob(".*.partial"):
        with suppress(OSError):
            partial.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says which file it was that could not be written: an OSError becomes an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes a state for `torch.load`, tensor by tensor; the one before stays until it is there.

    Raises:
        InputError: The disk is full, or the folder is not there or not to be written to.
    """
    import torch  # takes seconds that `liir --help` does not have

    try:
        with written(path) as partial, partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch turns a write cut short into the latter
        reason = error.strerror if isinstance(error, OSError) else "the disk may be full"
        raise InputError(f"{path}: cannot be written ({reason})") from error
