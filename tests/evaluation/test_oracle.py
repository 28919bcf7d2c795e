"""Scores of real clips, equal to what the official scripts print."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from liir.evaluation.benchmarks import evaluate
from liir.evaluation.joints import JHMDB_JOINTS
from liir.evaluation.layouts import Sequence
from liir.evaluation.sources import copied
from liir.evaluation.stored import Predicted
from liir.export import PointWriter

Told = Callable[[Sequence], Iterator[Predicted]]


@pytest.mark.parametrize(
    ("benchmark", "folder", "oracle"),
    [("davis2017", "multi", "perturbed"), ("davis2016", "DAVIS", "osvos")],
)
def test_stored_predictions_equal_the_oracle(
    data_root: Path, benchmark: str, folder: str, oracle: str
) -> None:
    """Two sequences of DAVIS here; all ten in the slow test."""
    only = ["libby", "car-shadow"] if folder == "DAVIS" else ["schoolgirls"]
    predictions = data_root / "oracle" / oracle
    report = evaluate(benchmark, data_root / folder, predictions=predictions, sequences=only)
    expected = json.loads((data_root / "oracle" / f"{oracle}.json").read_text())["objects"]
    for row in report.rows:
        official = expected[f"{row.sequence}_{row.object}"]
        for key, value in official.items():
            letter, what = key.split("_")
            assert row.scores[f"{letter}-{what.title()}"] == pytest.approx(value, abs=1e-9)


@pytest.mark.slow
def test_all_of_davis_equals_the_oracle_and_the_copied_mask_its_baseline(data_root: Path) -> None:
    predictions = data_root / "oracle/osvos"
    report = evaluate("davis2016", data_root / "DAVIS", predictions=predictions)
    expected = json.loads((data_root / "oracle/osvos.json").read_text())["mean"]
    for key, value in expected.items():
        name = "J&F-Mean" if key == "J&F" else key.replace("_", "-").title()
        assert report.summary[name] == pytest.approx(value, abs=1e-9)
    baseline = evaluate("davis2016", data_root / "DAVIS", source=copied)
    assert 100 * baseline.summary["J&F-Mean"] == pytest.approx(26.2, abs=0.05)


def test_the_copied_annotation_on_real_clips(data_root: Path) -> None:
    semantic = evaluate("semantic", data_root / "chen", source=copied)
    assert len({row.sequence for row in semantic.rows}) == 4
    assert [row.object for row in semantic.rows if row.sequence == "ice"] == "11 15 19 22".split()
    assert semantic.summary["mIoU"] == pytest.approx(0.514, abs=5e-4)
    points = data_root / "keypoints/badja.csv"
    joints = evaluate("badja", data_root / "DAVIS", source=copied, points=points)
    assert [row.sequence for row in joints.rows] == ["cows", "horsejump-high"]
    assert 0 < joints.summary["PCK@0.1"] < joints.summary["PCK@0.2"] < 0.5


def test_the_truth_of_real_clips_scores_one(data_root: Path, perfect: Told) -> None:
    points = data_root / "keypoints/badja.csv"
    assert evaluate("badja", data_root / "DAVIS", source=perfect, points=points).summary == {
        "PCK@0.1": 1,
        "PCK@0.2": 1,
        "PCK@0.2 area": 1,
    }
    assert evaluate("semantic", data_root / "chen", source=perfect).summary["mIoU"] == 1


def test_vip_equals_the_oracle(data_root: Path, tmp_path: Path) -> None:
    """The generated label maps of the oracle, laid out as VIP_Fine is."""
    source = data_root / "oracle/vip"
    names = sorted(path.name for path in (source / "annotations").iterdir())
    for name in names:
        for path in sorted((source / "annotations" / name).glob("*.png")):
            image = tmp_path / "Images" / name / f"{path.stem}.jpg"
            image.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as shown:
                shown.convert("L").save(image)
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/Category_ids").symlink_to(source / "annotations")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/val_videos.txt").write_text("\n".join(names))
    report = evaluate("vip", tmp_path, predictions=source / "predictions")
    expected = json.loads((data_root / "oracle/vip.json").read_text())
    for ours, theirs in (
        ("mIoU", "mean IU"),
        ("accuracy", "overall accuracy"),
        ("mean accuracy", "mean accuracy"),
        ("weighted IoU", "fwavacc"),
    ):
        assert report.summary[ours] == pytest.approx(expected[theirs], abs=1e-9)


def test_jhmdb_equals_the_oracle(data_root: Path, tmp_path: Path) -> None:
    """The generated joints of the oracle, laid out as JHMDB is."""
    root, given = tmp_path / "JHMDB", tmp_path / "given"
    (root / "splits").mkdir(parents=True)
    clips = sorted((data_root / "oracle/jhmdb").glob("*.npz"))
    (root / "splits/walk_test_split1.txt").write_text(
        "".join(f"{path.stem}.avi 2\n" for path in clips)
    )
    for path in clips:
        clip = np.load(path)
        height, width = (int(n) for n in clip["size"])
        place = root / "joint_positions/walk" / path.stem
        place.mkdir(parents=True)
        # Every joint must be given, so that it is asked for: the first frame does not count.
        truth = clip["gt"] + 0.5
        truth[:, :, 0] = truth[:, :, 0].clip(1, min(height, width))
        savemat(place / "joint_positions.mat", {"pos_img": truth})
        frames = root / "Rename_Images/walk" / path.stem
        frames.mkdir(parents=True)
        for index in range(truth.shape[2]):
            image = Image.new("L", (width, height))
            image.save(frames / f"{index + 1:05}.png")
        (given / "walk" / path.stem).mkdir(parents=True)
        with PointWriter(given / "walk" / path.stem / "points.csv") as table:
            for index in range(truth.shape[2]):
                x, y = clip["pred"][:, :, index]
                table.write(index, {n: (x[j], y[j], 1.0) for j, n in enumerate(JHMDB_JOINTS)})
    report = evaluate("jhmdb", root, predictions=given)
    expected = json.loads((data_root / "oracle/jhmdb.json").read_text())
    for threshold in ("0.1", "0.2"):
        # Tables have three digits.
        found = 100 * report.summary[f"PCK@{threshold}"]
        assert found == pytest.approx(expected[threshold], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("benchmark", "folder", "oracle"),
    [("davis2016", "DAVIS", "osvos"), ("davis2017", "multi", "perturbed")],
)
def test_scores_equal_those_of_vos_benchmark(
    data_root: Path, tmp_path: Path, benchmark: str, folder: str, oracle: str
) -> None:
    """pip install opencv-python-headless scikit-image; pip install --no-deps vos-benchmark."""
    other = pytest.importorskip("vos_benchmark.benchmark")
    truth = data_root / folder / "Annotations"
    truth = truth / "480p" if folder == "DAVIS" else truth
    for name in sorted(path.name for path in truth.iterdir()):  # it writes among the predictions
        (tmp_path / name).symlink_to(data_root / "oracle" / oracle / name)
    _, _, _, (objects,) = other.benchmark(
        [str(truth)], [str(tmp_path)], num_processes=1, verbose=False
    )
    report = evaluate(benchmark, data_root / folder, predictions=data_root / "oracle" / oracle)
    assert len(report.rows) == sum(len(regions) for regions, _ in objects.values())
    for row in report.rows:
        regions, contours = objects[row.sequence]
        number = 255 if folder == "DAVIS" else int(row.object)
        assert 100 * row.scores["J-Mean"] == pytest.approx(regions[number], abs=1e-6)
        assert 100 * row.scores["F-Mean"] == pytest.approx(contours[number], abs=1e-6)
