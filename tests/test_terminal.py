"""What the command line says of an error, whatever it is: one line that helps."""

import errno

import numpy as np
import pytest
import torch

from liir.errors import InputError
from liir.terminal import one_line, out_of_memory, with_flags


def noted(error: Exception, note: str) -> Exception:
    error.add_note(note)
    return error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("a.mp4: is\nempty"), "a.mp4: is empty"),
        (noted(InputError("a"), "b is kept"), "a; b is kept"),
        (OSError(errno.EACCES, "Permission denied", "a"), "a: Permission denied"),
        (
            OSError(errno.ENOSPC, "No space", "a"),
            "a: No space; make room, then go on with --resume",
        ),
        (noted(KeyError("a"), "b"), "KeyError: 'a'; b"),
        (KeyboardInterrupt(), ""),
    ],
)
def test_errors_become_one_line(error: BaseException, line: str) -> None:
    assert one_line(error) == line


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you"),
    ],
)
def test_too_little_memory_is_told_with_what_helps(error: Exception) -> None:
    assert out_of_memory(error)
    line = one_line(noted(error, "3 frames are finished"))
    assert line.startswith("out of memory (")
    assert "GPU 0" not in line
    assert line.endswith("--device cpu; 3 frames are finished")


def test_memory_errors_are_found_as_they_come() -> None:
    for allocate in (lambda: torch.empty(1 << 60), lambda: np.empty(1 << 55)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            allocate()
        assert out_of_memory(caught.value), caught.value
    assert not out_of_memory(RuntimeError("shapes differ"))


def test_flags_are_settings_too() -> None:
    assert with_flags(["a=1"], size=3, seed=None) == ["a=1", "size=3"]
