"""Where a process stands, by its environment."""

from pathlib import Path

import pytest

from liir import launch
from liir.cli import main
from liir.errors import InputError, ToldElsewhere
from liir.learning import trainer

NAMES = ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), (1, True, 1, 0)),
        ((4, 0, 2, 0), (4, True, 2, 0)),
        ((4, 2, 2, 0), (4, False, 2, 0)),
        ((4, 3, 2, 1), (4, False, 2, 1)),
        ((1, 5, 8, 7), (1, True, 1, 0)),  # of a job that is none of ours
    ],
)
def test_what_torchrun_tells(
    monkeypatch: pytest.MonkeyPatch, values: tuple[int, ...], expected: tuple[object, ...]
) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in zip(NAMES, values, strict=False):
        monkeypatch.setenv(name, str(value))
    found = (launch.size(), launch.is_first(), launch.local_size(), launch.local_rank())
    assert found == expected


def test_the_first_process_alone_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Not the second: no weights, no bar, and nothing that the first one has told."""

    def told(*_: object, **__: object) -> Path:
        raise ToldElsewhere("bad input")

    command = ["train", str(tmp_path), "--out", str(tmp_path / "run"), "--steps", "3"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(trainer, "train", lambda *_, **__: tmp_path)
    assert main(command) == 0
    monkeypatch.setattr(trainer, "train", told)
    assert main(command) == 2
    assert capsys.readouterr() == ("", "")


def test_auto_resume_reaches_the_trainer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def train(*_: object, **options: object) -> Path:
        wanted.append(options["resume"])
        raise InputError("enough")

    wanted: list[object] = []
    monkeypatch.setattr(trainer, "train", train)
    for flags in ([], ["--resume"], ["--auto-resume"], ["--auto-resume", "--preset", "base"]):
        assert main(["train", "a", "--out", str(tmp_path), "--steps", "3", *flags]) == 2
    assert wanted == [False, True, "auto", "auto"]
