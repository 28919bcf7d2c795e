"""Files appear whole or not at all, and who cannot be written is named."""

import tracemalloc
from pathlib import Path

import pytest
import torch

from liir.errors import InputError
from liir.files import save_state, writing, written


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with written(path) as partial:
        partial.write_text("new")
        assert partial.parent == tmp_path  # a rename across disks would not be one step
        assert path.read_text() == "old"
    assert contents(tmp_path) == {"a.txt": "new"}


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_what_failed_leaves_the_old_file_and_no_other(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with written(path) as partial:
            partial.write_text("ne")
            raise error

    with pytest.raises(error):
        fail()
    assert contents(tmp_path) == {"a.txt": "old"}


def test_a_file_that_cannot_take_its_name_is_removed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError), written(tmp_path / "folder") as partial:
        partial.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "a.txt"
    with pytest.raises(InputError, match=r"a\.txt: cannot be written .No such file"):
        with writing(path), written(path) as partial:
            partial.write_text("new")


def test_a_state_is_never_held_twice(tmp_path: Path) -> None:
    """A job that saves its state now and then has no more memory for that."""
    path, state = tmp_path / "state", {"a": torch.randn(4, 1 << 20), "step": 3}
    tracemalloc.start()
    try:
        save_state(path, state)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 << 20 < path.stat().st_size  # bytes; a quarter of what is saved
    found = torch.load(path, weights_only=True)
    assert torch.equal(found["a"], state["a"])
    assert found["step"] == 3
