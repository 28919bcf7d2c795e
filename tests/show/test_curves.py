"""Curves of training runs: what is read of a log, and that each run has its line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from liir.errors import InputError
from liir.show.curves import _names, _smoothed, read_log, show_curves

pytest.importorskip("matplotlib")


def entry(step: int, **more: Any) -> dict[str, Any]:
    return {"step": step, "loss": 1 / step, "learning_rate": 1e-3, "seconds": 2.0 * step, **more}


def write(folder: Path, entries: list[dict[str, Any]], tail: str = "") -> Path:
    folder.mkdir(parents=True)
    text = "".join(json.dumps(each) + "\n" for each in entries)
    (folder / "log.jsonl").write_text(text + tail)
    return folder


def test_steps_taken_again_count_once(tmp_path: Path) -> None:
    score = {"step": 20, "validation_J&F": 0.5, "seconds": 40.0}
    entries = [entry(10), entry(20), score, entry(30), entry(20, loss=9.0), score, entry(30)]
    found = read_log(write(tmp_path / "run", entries, '{"step": 40, "lo'))
    assert [each["step"] for each in found] == [10, 20, 20, 30]
    assert found[1]["loss"] == 9.0
    assert found[2] == score


def test_logs_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: holds no log\.jsonl"):
        read_log(tmp_path / "empty")
    with pytest.raises(InputError, match="line 1 is not from liir train"):
        read_log(write(tmp_path / "other", [{"epoch": 1}, entry(2)]))
    with pytest.raises(InputError, match="is empty"):
        read_log(write(tmp_path / "none", []))


def test_runs_are_told_apart_by_as_little_as_needed(tmp_path: Path) -> None:
    runs = [tmp_path / "a/run", tmp_path / "b/run"]
    for run in runs:
        write(run, [entry(1)])
    assert [*_names(runs)] == ["a/run", "b/run"]
    assert [*_names(runs[:1])] == ["run"]
    assert [*_names([runs[0] / "log.jsonl"])] == ["run"]
    with pytest.raises(InputError, match="named twice"):
        _names([runs[0], runs[0]])
    with pytest.raises(InputError, match="nothing to draw"):
        _names([])


def test_smoothing_is_a_mean_that_ends_with_the_values() -> None:
    values = np.array([0.0, 3, 6, 9, 30])
    assert _smoothed(values, 1).tolist() == values.tolist()
    assert _smoothed(values, 3).tolist() == [1.5, 3, 6, 15, 19.5]
    assert _smoothed(values, 99) == pytest.approx([values.mean()] * 5, abs=10)


def lines(path: Path) -> tuple[int, int, int]:
    """Pixels in the colours of the first two runs, and height."""
    with Image.open(path) as image:
        rgb = np.asarray(image).astype(int)
    first, second = (
        int((np.abs(rgb - colour).max(axis=2) < 20).sum())
        for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00))
    )
    return first, second, len(rgb)


def test_each_run_has_a_line_and_only_what_is_told_a_panel(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [entry(10 * i, intra=1 / i) for i in range(1, 30)])
    scored = [{"step": 10 * i, "validation_J&F": 0.1 * i, "seconds": 20.0 * i} for i in (1, 2)]
    two = write(tmp_path / "two", [entry(10), scored[0], entry(20), scored[1]])
    show_curves([one], tmp_path / "a.png")
    show_curves([one, two], tmp_path / "b.png", over="hours", smooth=3)
    first, second, height = lines(tmp_path / "a.png")
    assert first > 500
    assert second == 0
    both = lines(tmp_path / "b.png")
    assert min(both[:2]) > 200
    assert both[2] > 1.5 * height  # a fourth panel begins a second row
    with pytest.raises(InputError, match="--smooth 0: give 1 or more"):
        show_curves([one], tmp_path / "c.png", smooth=0)


def test_what_only_rounding_moves_is_a_flat_line(tmp_path: Path) -> None:
    drawn = []
    for name, least in (("one", 1e-12), ("two", 1e-11)):
        values = [3.94 + least * (i % 3) for i in range(1, 9)]
        run = write(
            tmp_path / name / "run", [entry(i + 1, bank_age=v) for i, v in enumerate(values)]
        )
        show_curves([run], tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            drawn.append(np.asarray(image))
    assert (drawn[0] == drawn[1]).all()
