"""Damaged files: left out, counted and named at the end of a run that ends as any other."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from liir.learning.checkpoint import restore
from liir.learning.faults import tell_faults
from liir.learning.trainer import train
from liir.presets import ModelConfig, Preset, TrainingConfig

TINY = Preset(
    name="tiny",
    model=ModelConfig(width=0.125, position_grid=8),
    training=TrainingConfig(
        batch=3, crop=32, crop_source=(24, 48), gap=2, chunk=6, reuse=1, radius=3, warmup=2
    ),
)


def test_counted_named_and_with_reasons(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = tmp_path / "log.jsonl"
    tell_faults({}, 10, tmp_path, 5, 1.26)
    assert not log.exists()
    log.write_text("{}\n")
    tell_faults({"/d/b.mp4": "b is cut", "/d/a.mp4": "a is empty"}, 10, tmp_path, 5, 1.26)
    (record,) = caplog.records
    assert "2 of 10 videos could not be read and were left out: a.mp4, b.mp4 (" in record.message
    assert json.loads(log.read_text().splitlines()[1]) == {
        "step": 5,
        "seconds": 1.3,
        "videos": 10,
        "left_out": {"/d/b.mp4": "b is cut", "/d/a.mp4": "a is empty"},
    }
    caplog.clear()
    tell_faults({f"{i:03}.mp4": "bad" for i in range(50)}, 99, tmp_path, 5, 1.26)
    assert "018.mp4, 019.mp4, ... (why" in caplog.records[0].message
    assert len(json.loads(log.read_text().splitlines()[2])["left_out"]) == 50
    tell_faults({"a.mp4": "bad"}, 1, tmp_path / "none", 5, 1.26)  # a full disk
    assert "not written" in caplog.records[-1].message


def damaged(make: Any, root: Path) -> set[Path]:
    """Twenty clips of all kinds, a fifth of them damaged; returns these."""
    frames = make.pan(make.scene(0, 200), 8, 2)
    good = make.film(root / "good.mp4", frames)
    data = good.read_bytes()
    (root / "cut.mp4").write_bytes(data[: len(data) // 2])
    (root / "empty.mp4").touch()
    for i in range(12):
        make.stills(root / f"frames{i}", [frame[::2, ::2] for frame in frames])
    make.stills(root / "broken", frames)
    for path in (root / "broken").iterdir():
        path.write_bytes(path.read_bytes()[:90])
    inside = {f"{i}.mp4": good for i in range(3)} | {"bad.mp4": b"no video" * 99}
    make.shard(root / "shard.tar", inside)
    bad = ("cut.mp4", "empty.mp4", "broken", "shard.tar/bad.mp4")
    return {root / name for name in bad}


@pytest.mark.parametrize(("cuts", "workers"), [("index", 0), ("chunk", 1)])
def test_a_run_with_a_fifth_damaged_ends_normally(
    make: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, cuts: Any, workers: int
) -> None:
    root, out = tmp_path / "footage", tmp_path / "run"
    bad = damaged(make, root)
    preset = replace(TINY, training=replace(TINY.training, cuts=cuts))
    with caplog.at_level(logging.WARNING):
        train([root], preset, out, steps=8, workers=workers)
    assert restore(out).step == 8
    told = [r.message for r in caplog.records if "could not be read and were left" in r.message]
    assert len(told) == 1
    assert told[0].startswith(f"{len(bad)} of 20 videos")
    assert all(path.name in told[0] for path in bad)
    (entry,) = [
        entry
        for entry in map(json.loads, (out / "log.jsonl").read_text().splitlines())
        if "left_out" in entry
    ]
    assert (entry["step"], entry["videos"]) == (8, 20)
    assert {Path(path) for path in entry["left_out"]} == bad
    assert all(entry["left_out"].values())


def test_photographs_are_found_damaged_when_drawn(
    make: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(10):
        Image.fromarray(make.scene(i)).save(tmp_path / f"{i}.png")
    for i in (3, 7):
        path = tmp_path / f"{i}.png"
        path.write_bytes(path.read_bytes()[:200])
    train([f"stills:{tmp_path}"], TINY, tmp_path / "run", steps=12, workers=0)
    assert restore(tmp_path / "run").step == 12
    assert "2 of 10 videos could not be read and were left out: 3.png, 7.png" in caplog.text
