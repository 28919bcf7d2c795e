"""Benchmarks run with made-up trackers on made-up data, and on real data against the oracle."""

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from liir.encoder import Model
from liir.errors import InputError
from liir.evaluation.benchmarks import Progress, evaluate
from liir.evaluation.layouts import Sequence
from liir.evaluation.sources import copied
from liir.evaluation.stored import Predicted


def labels(step: int) -> np.ndarray:
    """Object 1 moves right, object 2 stays; id 3 is new in frame 2."""
    image = np.zeros((20, 30), np.uint8)
    image[12:18, 20:28] = 2
    image[2:8, 2 + step : 8 + step] = 1
    if step >= 2:
        image[0, :] = 3
    return image


Told = Callable[[Sequence], Iterator[Predicted]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sequences of five frames; the second holds object 2 alone."""
    for name, keep in (("move", (1, 2, 3)), ("rest", (2,))):
        for kind in ("JPEGImages", "Annotations"):
            (tmp_path / "data" / kind / name).mkdir(parents=True)
        for index in range(5):
            shown = np.where(np.isin(labels(index), keep), labels(index), 0).astype(np.uint8)
            Image.fromarray(shown).save(tmp_path / "data/JPEGImages" / name / f"{index:05}.jpg")
            path = tmp_path / "data/Annotations" / name / f"{index:05}.png"
            image = Image.fromarray(shown)
            image.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200])
            image.save(path)
    (tmp_path / "data/ImageSets").mkdir()
    (tmp_path / "data/ImageSets/val.txt").write_text("move\nrest\n")
    table = ["sequence,frame,joint,x,y,visible"]
    for index in (0, 2, 4):
        table += [f"move,{index},nose,{5 + index},5,1", f"move,{index},tail,{5 + index},15,1"]
    table += ["move,4,late,5,5,1"]
    (tmp_path / "data/badja.csv").write_text("\n".join(table))
    return tmp_path / "data"


@pytest.mark.parametrize("name", ["davis2017", "davis2016", "semantic", "badja"])
def test_the_truth_scores_one(root: Path, name: str, perfect: Told) -> None:
    report = evaluate(name, root, source=perfect)
    for key, value in report.summary.items():
        assert value == (0 if key.endswith("Decay") else 1), key


def test_objects_have_a_row_each_and_ids_matter(root: Path, perfect: Told) -> None:
    def swapped(sequence: Sequence) -> Iterator[Predicted]:
        for prediction in perfect(sequence):
            exchange = np.array([0, 2, 1], np.uint8)
            yield Predicted(prediction.index, exchange[prediction.labels])

    report = evaluate("davis2017", root, source=perfect)
    assert [(row.sequence, row.object) for row in report.rows] == [
        ("move", "1"),
        ("move", "2"),
        ("rest", "2"),
    ]
    report = evaluate("davis2017", root, source=swapped, sequences=["move"])
    assert report.summary["J-Mean"] == 0


def test_davis_leaves_out_the_first_and_the_last_frame(root: Path, perfect: Told) -> None:
    def poor_at_the_ends(sequence: Sequence) -> Iterator[Predicted]:
        for prediction in perfect(sequence):
            spoil = prediction.index in (0, len(sequence.stems) - 1)
            yield Predicted(prediction.index, prediction.labels * np.uint8(not spoil))

    assert evaluate("davis2017", root, source=poor_at_the_ends).summary["J&F-Mean"] == 1
    assert evaluate("semantic", root, source=poor_at_the_ends).summary["mIoU"] < 1


def test_davis2016_by_hand(root: Path) -> None:
    report = evaluate("davis2016", root, source=copied)
    # Object 1 (36 pixels) is off by the frame's number, object 2 (48) stays, 3 (30) is new.
    frames = [(48 + 36 - 6) / (48 + 36 + 6), (48 + 24) / (96 + 30), (48 + 18) / (102 + 30)]
    assert report.rows[0].scores["J-Mean"] == pytest.approx(np.mean(frames))
    assert report.rows[0].scores["J-Recall"] == pytest.approx(np.mean(np.array(frames) > 0.5))
    assert report.rows[1].scores["J&F-Mean"] == 1
    assert report.summary["J-Mean"] == pytest.approx((np.mean(frames) + 1) / 2)


def test_semantic_by_hand(root: Path) -> None:
    """Predictions over void (0) or over class 3, which is new, count for nothing."""
    report = evaluate("semantic", root, source=copied)
    scores = {(row.sequence, row.object): row.scores["IoU"] for row in report.rows}
    # Of 4 x 36 true pixels 30, 24, 18 and 12 are hit; what lies beside them lies on void.
    assert scores["move", "1"] == pytest.approx((30 + 24 + 18 + 12) / 144)
    assert scores["move", "2"] == scores["rest", "2"] == 1
    assert report.summary["mIoU"] == pytest.approx(((84 / 144 + 1) / 2 + 1) / 2)


def test_badja_by_hand(root: Path, perfect: Told) -> None:
    """Frame 2: box 10, off by 2 of 6. Frame 4: the late joint is in the box and not asked."""
    # 114 and 102 pixels are no background: 0.2 x their roots is 2.1 and 2.0.
    expected = {"PCK@0.1": 0, "PCK@0.2": 0, "PCK@0.2 area": 0.5}
    assert evaluate("badja", root, source=copied).summary == expected

    def close(sequence: Sequence) -> Iterator[Predicted]:
        for each in perfect(sequence):
            # In frame 4 joints span 4 x 10 pixels: 0.6 x the diagonal is 6.46.
            off = {2: 0.61, 4: 0.64}.get(each.index, 0.0)
            moved = {name: (x + off, y, c) for name, (x, y, c) in each.points.items()}
            yield Predicted(each.index, each.labels, moved)

    expected = {"PCK@0.1": 0.5, "PCK@0.2": 1, "PCK@0.2 area": 1}
    assert evaluate("badja", root, source=close).summary == expected


def test_a_joint_without_a_position_is_refused(root: Path, perfect: Told) -> None:
    def lost(sequence: Sequence) -> Iterator[Predicted]:
        for each in perfect(sequence):
            yield Predicted(each.index, each.labels, {})

    with pytest.raises(InputError, match="move: frame 2 has no position for joint nose"):
        evaluate("badja", root, source=lost)


def test_a_position_that_is_no_number_is_a_miss(root: Path, perfect: Told) -> None:
    def nowhere(sequence: Sequence) -> Iterator[Predicted]:
        for each in perfect(sequence):
            points = dict.fromkeys(each.points, (np.nan, np.nan, 0.0))
            yield Predicted(each.index, each.labels, points)

    assert evaluate("badja", root, source=nowhere).summary["PCK@0.2"] == 0


def test_missing_and_misshapen_predictions_are_explained(root: Path, perfect: Told) -> None:
    def stops(sequence: Sequence) -> Iterator[Predicted]:
        yield from list(perfect(sequence))[:2]

    def small(sequence: Sequence) -> Iterator[Predicted]:
        for each in perfect(sequence):
            yield Predicted(each.index, each.labels[:10])

    with pytest.raises(InputError, match=r"move: 2 of 3 frames .* the first is frame 2 \(00002\)"):
        evaluate("davis2016", root, source=stops)
    with pytest.raises(InputError, match=r"00001 has 30x10 pixels, the ground truth 30x20"):
        evaluate("davis2016", root, source=small)


def test_bad_choices_are_explained(root: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"is called 'davis'; did you mean davis2017\? \(there are: davis2016,",
    ):
        evaluate("davis", root, source=copied)
    with pytest.raises(InputError, match=r"is called 'cat' \(there are: move, rest"):
        evaluate("davis2016", root, source=copied, sequences=["cat"])
    with pytest.raises(InputError, match="give a model, a source or a folder of predictions"):
        evaluate("davis2016", root)


@pytest.mark.parametrize("name", ["davis2016", "davis2017", "semantic", "badja"])
def test_kept_predictions_score_the_same_and_are_not_made_again(
    root: Path, tmp_path: Path, name: str
) -> None:
    runs = []

    def counting(sequence: Sequence) -> Iterator[Predicted]:
        runs.append(sequence.name)
        yield from copied(sequence)

    first = evaluate(name, root, source=counting, out=tmp_path / "out", sequences=["move"])
    again = evaluate(name, root, source=counting, out=tmp_path / "out")
    assert runs == ["move"] if name == "badja" else ["move", "rest"]
    move = [row for row in again.rows if row.sequence == "move"]
    assert move == list(first.rows)
    stored = evaluate(name, root, predictions=tmp_path / "out")  # or the folder in it
    assert stored.rows == evaluate(name, root, predictions=tmp_path / "out" / name).rows
    assert stored.rows == again.rows
    assert stored.settings == {"predictions": str(tmp_path / "out" / name)}


def test_a_run_that_was_cut_short_is_made_again(root: Path, tmp_path: Path, perfect: Told) -> None:
    def broken(sequence: Sequence) -> Iterator[Predicted]:
        yield from list(copied(sequence))[:3]
        raise KeyboardInterrupt

    def whole(sequence: Sequence) -> Iterator[Predicted]:
        yield from perfect(sequence)

    whole.__name__ = broken.__name__
    with pytest.raises(KeyboardInterrupt):
        evaluate("davis2016", root, source=broken, out=tmp_path)
    report = evaluate("davis2016", root, source=whole, out=tmp_path)
    assert report.summary["J-Mean"] == 1
    files = sorted(path.name for path in (tmp_path / "davis2016").iterdir())
    assert files == ["move", "rest", "settings.json"]


def test_predictions_of_other_settings_are_not_mixed(
    root: Path, tmp_path: Path, perfect: Told
) -> None:
    evaluate("davis2016", root, source=copied, out=tmp_path)
    with pytest.raises(InputError, match="holds predictions made with other settings"):
        evaluate("davis2016", root, source=perfect, out=tmp_path)


def test_progress_counts_every_frame(root: Path) -> None:
    seen: list[Progress] = []
    evaluate("davis2017", root, source=copied, progress=seen.append)
    assert [each.done for each in seen] == list(range(1, 11))
    assert {each.total for each in seen} == {10}
    assert [each.sequence for each in seen] == ["move"] * 5 + ["rest"] * 5


def test_report_is_readable_by_machines_and_people(root: Path) -> None:
    report = evaluate("davis2017", root, source=copied)
    document = json.loads(report.to_json())
    assert document["summary"] == pytest.approx(dict(report.summary))
    assert document["rows"][0]["scores"]["J-Mean"] == pytest.approx(report.rows[0].scores["J-Mean"])
    lines = report.to_markdown().splitlines()
    assert lines[0].startswith("| davis2017 | J&F-Mean | J-Mean | J-Recall | J-Decay | F-Mean |")
    assert lines[2].startswith("| move 1 | ")
    assert lines[-1].startswith("| **mean** | ")
    assert len({line.count("|") for line in lines}) == 1


def test_a_report_without_numbers_is_still_json(root: Path) -> None:
    for path in root.glob("*/*/0000[234].*"):  # two frames: none counts
        path.unlink()
    report = evaluate("davis2016", root, source=copied)
    assert np.isnan(report.summary["J-Mean"])
    document = json.loads(report.to_json(), parse_constant=pytest.fail)
    assert document["summary"]["J-Mean"] is None


def test_a_model_tracks_the_folders(root: Path, tmp_path: Path, random_model: Model) -> None:
    model = random_model
    report = evaluate("davis2017", root, model, out=tmp_path)
    assert report.summary["J-Mean"] > 0.3  # even random features find flat colours at rest
    assert report.settings["model"] == "tiny"
    assert report.settings["radius"] == 4
    assert evaluate("davis2017", root, model, out=tmp_path).rows == report.rows
    other = replace(model.preset.tracking, radius=5)
    with pytest.raises(InputError, match="made with other settings"):
        evaluate("davis2017", root, model, config=other, out=tmp_path)
    again = replace(model, dtype=torch.bfloat16)
    with pytest.raises(InputError, match="made with other settings"):
        evaluate("davis2017", root, again, out=tmp_path)


def test_a_model_tracks_joints_from_the_first_annotated_frame_on(
    root: Path, random_model: Model
) -> None:
    lines = (root / "badja.csv").read_text().splitlines()
    later = [line for line in lines if not line.startswith("move,0")]
    (root / "badja.csv").write_text("\n".join(later))
    seen: list[Progress] = []
    report = evaluate("badja", root, random_model, progress=seen.append)
    assert [each.done for each in seen] == [1, 2, 3]
    assert 0 <= report.summary["PCK@0.2"] <= 1


@pytest.mark.parametrize("workers", [0, 2])
def test_other_processes_score_the_same(
    root: Path, youtube: Path, tmp_path: Path, workers: int
) -> None:
    evaluate("davis2017", root, source=copied, out=tmp_path)
    plain = evaluate("davis2017", root, source=copied)
    seen: list[Progress] = []
    folder = tmp_path / "davis2017"
    report = evaluate("davis2017", root, predictions=folder, workers=workers, progress=seen.append)
    assert report.rows == plain.rows
    assert report.summary == plain.summary
    assert (seen[-1].done, seen[-1].total) == (10, 10)
    image = folder / "move/00003.png"
    Image.open(image).resize((3, 2)).save(image)
    with pytest.raises(InputError, match=r"00003.png: has 3x2 pixels, the frames 30x20"):
        evaluate("davis2017", root, predictions=folder, workers=workers)


def test_sequences_are_scored_beside_the_run(root: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    evaluate("davis2017", root, source=copied, out=tmp_path, sequences=["move"])
    report = evaluate(
        "davis2017", root, source=copied, out=tmp_path, workers=1, progress=seen.append
    )
    assert report.rows == evaluate("davis2017", root, source=copied).rows
    assert seen[-1].done == seen[-1].total == 10


def test_choices_that_do_not_fit_a_benchmark_are_explained(
    root: Path, tmp_path: Path, random_model: Model
) -> None:
    with pytest.raises(InputError, match="davis2016 has no table of points"):
        evaluate("davis2016", root, source=copied, points=root / "badja.csv")
    with pytest.raises(InputError, match="semantic has no splits"):
        evaluate("semantic", root, source=copied, split="train")
    with pytest.raises(InputError, match="square 8 is too small"):
        evaluate("davis2016", root, random_model, square=8)
    with pytest.raises(InputError, match="-1 workers"):
        evaluate("davis2016", root, source=copied, workers=-1)


def test_a_folder_of_somebody_elses_is_not_taken_for_finished_work(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "davis2016/move").mkdir(parents=True)
    with pytest.raises(InputError, match=r"holds folders, and no settings.json"):
        evaluate("davis2016", root, source=copied, out=tmp_path)


def hide(root: Path) -> None:
    """Makes both sequences those of test-dev."""
    (root / "ImageSets/2017").mkdir()
    (root / "ImageSets/2017/test-dev.txt").write_text("move\nrest\n")
    for path in root.glob("Annotations/*/0000[1-4].png"):
        path.unlink()


def test_test_dev_becomes_an_archive(root: Path, tmp_path: Path) -> None:
    hide(root)
    out = tmp_path / "out"
    report = evaluate("davis2017", root, source=copied, split="test-dev", out=out)
    assert report.archive == out / "davis2017.zip"
    with zipfile.ZipFile(report.archive) as archive:
        assert len(archive.namelist()) == 10
        assert archive.namelist()[:5] == [f"move/{i:05}.png" for i in range(5)]
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(out / "davis2017/rest/00003.png")
    with pytest.raises(InputError, match=r"rest/00003.png: has 5x5 pixels, the frames 30x20"):
        evaluate("davis2017", root, source=copied, split="test-dev", out=out, sequences=["move"])


def test_kept_predictions_that_are_not_whole_any_more_are_not_scored(
    root: Path, tmp_path: Path
) -> None:
    evaluate("davis2016", root, source=copied, out=tmp_path)
    (tmp_path / "davis2016/rest/00002.png").unlink()
    with pytest.raises(InputError, match=r"rest: predictions: 1 of 3 missing, first 00002.png"):
        evaluate("davis2016", root, source=copied, out=tmp_path)


def test_somebody_elses_predictions_become_an_archive(root: Path, tmp_path: Path) -> None:
    theirs, out = tmp_path / "theirs", tmp_path / "out"
    evaluate("davis2017", root, source=copied, out=tmp_path / "kept")
    (tmp_path / "kept/davis2017").rename(theirs)
    hide(root)
    with pytest.raises(InputError, match="the truth of davis2017 is hidden, there is nothing"):
        evaluate("davis2017", root, predictions=theirs, split="test-dev")
    report = evaluate("davis2017", root, predictions=theirs, split="test-dev", out=out)
    assert report.archive == out / "davis2017.zip"
    with zipfile.ZipFile(report.archive) as archive:
        assert len(archive.namelist()) == 10
    (theirs / "move/00004.png").unlink()  # the last is not scored, but taken
    with pytest.raises(InputError, match=r"move: predictions: 1 of 5 missing, first 00004.png"):
        evaluate("davis2017", root, predictions=theirs, split="test-dev", out=out)


def test_another_table_needs_another_folder(root: Path, tmp_path: Path) -> None:
    evaluate("badja", root, source=copied, out=tmp_path / "out")
    table = tmp_path / "other.csv"
    table.write_text((root / "badja.csv").read_text().replace("move,0,nose,5,5", "move,0,nose,9,9"))
    with pytest.raises(InputError, match=r"badja/move: was predicted from other frames or another"):
        evaluate("badja", root, source=copied, out=tmp_path / "out", points=table)
