"""What the verbs of the command line share: options, errors in one line, checks, a bar."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import UseAppendAction, arg

from liir.errors import InputError
from liir.launch import is_first

Count = Annotated[int | None, arg(metavar="N")]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Name = Annotated[str, arg(metavar="NAME")]
Settings = Annotated[UseAppendAction[tuple[str, ...]], arg(name="set", metavar="FIELD=VALUE")]


def one_line(error: BaseException) -> str:
    """The error in one line, its notes after it; with its type where liir did not foresee it."""
    text = str(error)
    if out_of_memory(error):
        text = f"out of memory ({text.partition('. ')[0] or 'of the computer'})"
        text += "; lower --size (or the batch, in training), or compute with --device cpu"
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            text += "; make room, then go on with --resume"
    elif not isinstance(error, InputError | OSError | KeyboardInterrupt):
        text = f"{type(error).__name__}: {text}"
    notes = getattr(error, "__notes__", ())
    return " ".join("; ".join(filter(None, (text, *notes))).split())


def out_of_memory(error: BaseException) -> bool:
    """Whether memory, the computer's or the device's, was too small (torch is not imported)."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def set_threads(threads: int | None) -> None:
    """Bounds the threads of torch.

    Raises:
        InputError: There would be none.
    """
    if threads is not None and threads < 1:
        raise InputError(f"--threads {threads}: at least 1 is needed to compute anything")
    if threads:
        import torch

        torch.set_num_threads(threads)


def check_out(folder: Path) -> None:
    """Sees that a folder can be made and written to.

    Raises:
        InputError: It could not.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise InputError(f"{folder}: {there} is a file; choose another folder to write to")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: {there} cannot be written to; choose another folder")


def check_file(file: Path) -> None:
    """Sees that a file can be written, its folder made if need be.

    Raises:
        InputError: It could not.
    """
    check_out(file.parent)
    if file.is_dir():
        raise InputError(f"{file}: is a folder; give the name of a file")


def with_flags(setting: Sequence[str], **more: float | str | None) -> list[str]:
    """Settings, FIELD=VALUE, with those that have a flag of their own."""
    own = [f"{name}={value}" for name, value in more.items() if value is not None]
    return [*setting, *own]


@contextmanager
def bar(unit: str) -> Iterator[Callable[[int, int | None, int, str], None]]:
    """A bar on a terminal, one for a run: show(done, total, done by earlier runs, note)."""
    from tqdm import tqdm

    with tqdm(unit=f" {unit}s", disable=None if is_first() else True, dynamic_ncols=True) as shown:

        def show(done: int, total: int | None, before: int, note: str) -> None:
            shown.total, shown.initial, shown.n = total, before, max(shown.n, before)
            shown.set_postfix_str(note, refresh=False)
            shown.update(done - shown.n)

        yield show
