"""Data sets that are not at hand, made up, from a model to scores or to a server's archive."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.encoder import Model
from liir.errors import InputError
from liir.evaluation.benchmarks import Progress, evaluate
from liir.evaluation.sources import copied


@pytest.mark.parametrize("name", ["vip", "vip-instances", "jhmdb", "badja", "youtube-vos"])
def test_kept_predictions_of_every_layout_score_the_same(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    data = request.getfixturevalue(name.split("-")[0])
    split = "full" if name == "youtube-vos" else None
    first = evaluate(name, data, source=copied, split=split)
    kept = evaluate(name, data, source=copied, split=split, out=tmp_path / "out")
    stored = evaluate(name, data, predictions=tmp_path / "out" / name, split=split)
    assert first.rows
    for a, b, c in zip(first.rows, kept.rows, stored.rows, strict=True):
        assert (a.sequence, a.object) == (b.sequence, b.object) == (c.sequence, c.object)
        assert a.scores == pytest.approx(b.scores, nan_ok=True)
        assert a.scores == pytest.approx(c.scores, nan_ok=True)
    assert first.summary == pytest.approx(stored.summary, nan_ok=True)
    assert any(value > 0 for value in first.summary.values())


@pytest.mark.parametrize("name", ["vip", "vip-instances", "jhmdb", "badja"])
def test_a_model_runs_every_layout(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    name: str,
    random_model: Model,
) -> None:
    data = request.getfixturevalue(name.split("-")[0])
    report = evaluate(name, data, random_model, out=tmp_path / "out", square=40)
    assert report.settings["square"] == 40
    assert evaluate(name, data, predictions=tmp_path / "out" / name).summary == pytest.approx(
        report.summary, abs=1e-4, nan_ok=True
    )


def test_what_is_hidden_becomes_an_archive_for_the_server(
    youtube: Path, tmp_path: Path, random_model: Model
) -> None:
    with pytest.raises(InputError, match=r"the truth of youtube-vos is hidden, .* give a folder"):
        evaluate("youtube-vos", youtube, random_model)
    with pytest.raises(InputError, match=r"the truth of youtube-vos is hidden, .* give a folder"):
        evaluate("youtube-vos", youtube, predictions=tmp_path)
    out = tmp_path / "out"
    report = evaluate("youtube-vos", youtube, random_model, out=out, sequences=["a"])
    assert report.archive is None
    assert report.rows == ()
    seen: list[Progress] = []
    report = evaluate("youtube-vos", youtube, random_model, out=out, progress=seen.append)
    assert seen[-1].done == seen[-1].total == 9
    assert report.archive == out / "youtube-vos.zip"
    with zipfile.ZipFile(report.archive) as archive:
        assert archive.namelist() == [
            *(f"Annotations/a/{5 * i:05}.png" for i in range(5)),
            *(f"Annotations/b/{5 * i:05}.png" for i in range(1, 5)),
        ]
        with archive.open("Annotations/a/00010.png") as file, Image.open(file) as image:
            assert image.size == (32, 24)
            assert image.mode == "P"
            assert set(np.unique(np.array(image))) >= {3}


def test_official_frames_of_all_frames(youtube: Path, tmp_path: Path) -> None:
    report = evaluate("youtube-vos", youtube, source=copied, split="valid_all_frames", out=tmp_path)
    assert report.archive is not None
    with zipfile.ZipFile(report.archive) as archive:
        assert len(archive.namelist()) == 9
    (youtube / "full").rename(youtube / "valid2")
    (youtube / "valid_all_frames").rename(youtube / "valid2_all_frames")
    dense = evaluate("youtube-vos", youtube, source=copied, split="valid2_all_frames")
    assert dense.summary == evaluate("youtube-vos", youtube, source=copied, split="valid2").summary


def test_half_hidden_is_neither(youtube: Path, tmp_path: Path) -> None:
    for path in (youtube / "full/Annotations/a").iterdir():
        if path.stem not in ("00000", "00010"):
            path.unlink()
    with pytest.raises(InputError, match=r"1 of 2 sequences have no ground truth .* first a"):
        evaluate("youtube-vos", youtube, source=copied, split="full", out=tmp_path)
