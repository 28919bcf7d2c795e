"""A checkpoint comes back whole, or says what is wrong with it."""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from liir.errors import InputError
from liir.learning import checkpoint as module
from liir.learning.checkpoint import FILE, Checkpoint, restore, save
from liir.presets import preset


def checkpoint(step: int = 3) -> Checkpoint:
    layer = torch.nn.Linear(40, 30)
    optimizer = torch.optim.AdamW(layer.parameters(), 1e-2)
    layer(torch.randn(2, 40)).sum().backward()
    optimizer.step()
    return Checkpoint(
        preset=preset("small"),
        step=step,
        steps=None,
        minutes=1.5,
        seconds=2.25,
        data="0123",
        objective=layer.state_dict(),
        optimizer=optimizer.state_dict(),
        rng=torch.get_rng_state(),
    )


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file can grow beyond `room` bytes, as on a disk that runs full halfway through."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save(checkpoint(), folder)
    return folder


def test_comes_back(tmp_path: Path) -> None:
    state = checkpoint()
    save(state, tmp_path)
    back = restore(tmp_path)
    for name, value in vars(state).items():
        assert same(value, getattr(back, name)), name
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no checkpoint\.pt to resume from"):
        restore(tmp_path)
    with pytest.raises(InputError, match="to resume from"):
        restore(tmp_path / "nowhere")


@given(st.floats(0, 1, exclude_max=True))
def test_cut_short(run: Path, share: float) -> None:
    data = (run / FILE).read_bytes()
    folder = run / "cut"
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match="damaged, or not a liir checkpoint") as caught:
        restore(folder)
    assert "\n" not in str(caught.value)


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_wrong_byte_never_crashes(run: Path, place: float, change: int) -> None:
    data = bytearray((run / FILE).read_bytes())
    data[int(place * len(data))] ^= change
    folder = run / "wrong"
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_bytes(data)
    with suppress(InputError):  # unless it is a byte of padding
        assert restore(folder).step == 3


@pytest.mark.parametrize(
    "content", [b"", b"no checkpoint", bytes(500), {"step": 1}, [1, 2], None, torch.zeros(3)]
)
def test_something_else(tmp_path: Path, content: object) -> None:
    if isinstance(content, bytes):
        (tmp_path / FILE).write_bytes(content)
    else:
        torch.save(content, tmp_path / FILE)
    with pytest.raises(InputError, match="damaged, or not a liir checkpoint"):
        restore(tmp_path)


def test_configuration_of_another_version(tmp_path: Path) -> None:
    save(checkpoint(), tmp_path)
    state = torch.load(tmp_path / FILE, weights_only=True)
    state["preset"]["training"]["novelty"] = 1
    torch.save(state, tmp_path / FILE)
    with pytest.raises(InputError, match=rf"{FILE}: .*no field 'novelty'"):
        restore(tmp_path)


@pytest.mark.parametrize("room", [0, 200, 5000])
def test_a_full_disk_leaves_the_one_before(tmp_path: Path, room: int) -> None:
    save(checkpoint(3), tmp_path)
    with full_disk(room), pytest.raises(InputError, match="cannot be written") as caught:
        save(checkpoint(4), tmp_path)
    assert "\n" not in str(caught.value)
    assert restore(tmp_path).step == 3
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    save(checkpoint(5), tmp_path)
    assert restore(tmp_path).step == 5


def test_no_space_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.torch, "save", full)
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot be written \(No space left"):
        save(checkpoint(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nowhere_to_write(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        save(checkpoint(), tmp_path / "nowhere")


def test_one_of_before_losses_were_kept(tmp_path: Path) -> None:
    save(checkpoint(), tmp_path)
    state = torch.load(tmp_path / FILE, weights_only=True)
    del state["recent"]
    torch.save(state, tmp_path / FILE)
    assert restore(tmp_path).recent == []
