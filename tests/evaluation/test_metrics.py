"""Metrics against what official scripts printed, brute force, and cases done by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy import ndimage

from liir.evaluation import metrics

MASKS = st.tuples(st.integers(1, 24), st.integers(1, 24)).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)
# Blobs: far apart boundaries, which noise never has.
BLOBS = arrays(bool, (6, 7)).map(lambda mask: np.kron(mask, np.ones((11, 9), bool)))


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def dilated_f(truth: np.ndarray, prediction: np.ndarray, tolerance: float) -> float:
    """F by the definition: boundaries by looping, matched by dilation with the full disk."""

    def boundary(mask: np.ndarray) -> np.ndarray:
        edge = np.zeros_like(mask)
        height, width = mask.shape
        for y in range(height):
            for x in range(width):
                # Outside, the last row and column go on as they are.
                ways = [(y, min(x + 1, width - 1)), (min(y + 1, height - 1), x)]
                ways.append((min(y + 1, height - 1), min(x + 1, width - 1)))
                edge[y, x] = any(mask[way] != mask[y, x] for way in ways)
        return edge

    radius = math.ceil(tolerance * math.hypot(*truth.shape))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = x * x + y * y <= radius * radius
    wanted, found = boundary(truth), boundary(prediction)
    if not wanted.any() or not found.any():
        return float(wanted.any() == found.any())
    precision = found[ndimage.binary_dilation(wanted, disk)].sum() / found.sum()
    recall = wanted[ndimage.binary_dilation(found, disk)].sum() / wanted.sum()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@given(MASKS, st.sampled_from([0.008, 0.05, 0.2]))
def test_contour_accuracy_is_the_dilation_of_the_definition(
    masks: tuple[np.ndarray, np.ndarray], tolerance: float
) -> None:
    score = metrics.contour_accuracy(*masks, tolerance=tolerance)
    assert score == pytest.approx(dilated_f(*masks, tolerance), abs=1e-12)


@given(BLOBS, BLOBS, st.sampled_from([0.008, 0.03, 0.05]))
def test_contour_accuracy_of_blobs(a: np.ndarray, b: np.ndarray, tolerance: float) -> None:
    score = metrics.contour_accuracy(a, b, tolerance=tolerance)
    assert score == pytest.approx(dilated_f(a, b, tolerance), abs=1e-12)


@given(MASKS)
def test_scores_are_symmetric_bounded_and_perfect_for_the_truth(
    masks: tuple[np.ndarray, np.ndarray],
) -> None:
    truth, prediction = masks
    for score in (metrics.region_similarity, metrics.contour_accuracy):
        assert score(truth, prediction) == pytest.approx(score(prediction, truth))
        assert 0 <= score(truth, prediction) <= 1
        assert score(truth, truth) == 1
    flipped = [mask[::-1, ::-1] for mask in masks]
    assert metrics.region_similarity(*flipped) == metrics.region_similarity(*masks)
    turned = [mask.T for mask in masks]
    assert metrics.contour_accuracy(*turned) == pytest.approx(metrics.contour_accuracy(*masks))


@given(MASKS)
def test_what_lies_under_void_does_not_matter(masks: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = masks
    void = np.random.default_rng(0).random(truth.shape) < 0.3
    for score in (metrics.region_similarity, metrics.contour_accuracy):
        expected = score(truth & ~void, prediction & ~void)
        assert score(truth, prediction, void) == expected
        assert score(truth, prediction ^ void, void) == expected
        assert score(truth, prediction, np.zeros_like(void)) == score(truth, prediction)


def test_region_similarity_by_hand() -> None:
    truth = np.array([[1, 1, 0], [0, 0, 0]], bool)
    assert metrics.region_similarity(truth, np.array([[0, 1, 1], [0, 0, 0]], bool)) == 1 / 3
    assert metrics.region_similarity(truth, np.zeros_like(truth)) == 0
    assert metrics.region_similarity(np.zeros_like(truth), np.zeros_like(truth)) == 1


def test_boundary_lies_up_and_left_of_the_change() -> None:
    mask = np.zeros((5, 5), bool)
    mask[2, 2] = True
    expected = np.zeros((5, 5), bool)
    expected[1:3, 1:3] = True
    np.testing.assert_array_equal(metrics.boundary_map(mask), expected)
    assert not metrics.boundary_map(np.ones((4, 6), bool)).any()  # the image's edge is none
    lower = np.zeros((3, 3), bool)
    lower[2, 2] = True
    corner = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 0]], bool)
    np.testing.assert_array_equal(metrics.boundary_map(lower), corner)


def test_contour_accuracy_of_empty_masks() -> None:
    empty, some = np.zeros((9, 9), bool), np.pad(np.ones((3, 3), bool), 3)
    assert metrics.contour_accuracy(empty, empty) == 1
    assert metrics.contour_accuracy(some, empty) == 0
    assert metrics.contour_accuracy(empty, some) == 0


def test_contour_accuracy_ends_at_the_radius() -> None:
    """480 x 854 has radius 8: a step of 8 pixels still matches, one of 9 does not."""
    edge = np.zeros((480, 854), bool)
    edge[:, :400] = True
    for step, score in ((8, 1.0), (9, 0.0)):
        moved = np.zeros_like(edge)
        moved[:, : 400 + step] = True
        assert metrics.contour_accuracy(edge, moved) == score


def test_statistics_by_hand() -> None:
    # Ten frames: cuts at round(1, 3.25, 5.5, 7.75, 10) - 1 = 0, 2, 5, 7, 9; halves go up.
    values = np.array([1.0, 0.9, 0.8, 0.5, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    mean, recall, decay = metrics.statistics(values)
    assert mean == pytest.approx(0.53)
    assert recall == pytest.approx(0.4)  # 0.5 itself is not above 0.5
    assert decay == pytest.approx(0.9 - 0.2)
    assert metrics.statistics([0.7]) == (pytest.approx(0.7), 1, 0)
    assert np.isnan(metrics.statistics([])).all()


def test_statistics_round_halves_up() -> None:
    # Seven frames: cuts at 1, 2.5, 4, 5.5, 7: 2.5 becomes 3, not the even 2.
    values = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert metrics.statistics(values).decay == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("name", "truth", "predicted", "sequences"),
    [
        ("osvos", "DAVIS/Annotations/480p", "oracle/osvos", ["libby", "bmx-trees"]),
        ("perturbed", "multi/Annotations", "oracle/perturbed", ["schoolgirls"]),
    ],
)
def test_objects_equal_the_official_functions(
    data_root: Path, name: str, truth: str, predicted: str, sequences: list[str]
) -> None:
    expected = json.loads((data_root / "oracle" / f"{name}.json").read_text())["objects"]
    for sequence in sequences:
        files = sorted((data_root / truth / sequence).glob("*.png"))[1:-1]
        true = [read(file) for file in files]
        guess = [read(data_root / predicted / sequence / file.name) for file in files]
        for key in [key for key in expected if key.rpartition("_")[0] == sequence]:
            number = 255 if true[0].max() == 255 else int(key.rpartition("_")[2])
            masks = [(a == number, b == number) for a, b in zip(true, guess, strict=True)]
            region = metrics.statistics([metrics.region_similarity(*pair) for pair in masks])
            contour = metrics.statistics([metrics.contour_accuracy(*pair) for pair in masks])
            found = [*region, *contour]
            np.testing.assert_allclose(found, list(expected[key].values()), rtol=0, atol=1e-9)


def jhmdb_pck(
    clips: list[tuple[np.ndarray, np.ndarray]], thresholds: tuple[float, ...]
) -> dict[float, float]:
    """Frame 0 is left out; a joint whose predicted x is negative is invisible in that frame."""
    errors = [metrics.joint_errors(a, b, b[0] >= 0)[:, 1:] for a, b in clips]
    return metrics.pck(np.concatenate(errors, axis=1), thresholds)


def test_pck_equals_the_script_of_crw(data_root: Path) -> None:
    clips = [np.load(path) for path in sorted((data_root / "oracle/jhmdb").glob("*.npz"))]
    found = jhmdb_pck([(clip["gt"], clip["pred"]) for clip in clips], (0.1, 0.2, 0.3, 0.4, 0.5))
    expected = json.loads((data_root / "oracle/jhmdb.json").read_text())
    assert len(expected) == len(found) == 5
    for threshold, value in expected.items():
        assert 100 * found[float(threshold)] == pytest.approx(value, abs=1e-6)


def test_class_scores_equal_the_vip_script(data_root: Path) -> None:
    files = sorted((data_root / "oracle/vip/annotations").glob("*/*.png"))
    guesses = [data_root / "oracle/vip/predictions" / f.parent.name / f.name for f in files]
    counts = sum(
        metrics.confusion(read(truth), read(guess), 20)
        for truth, guess in zip(files, guesses, strict=True)
    )
    scores = metrics.class_scores(counts)
    expected = json.loads((data_root / "oracle/vip.json").read_text())
    assert scores.accuracy == pytest.approx(expected["overall accuracy"], abs=1e-9)
    assert scores.mean_accuracy == pytest.approx(expected["mean accuracy"], abs=1e-9)
    assert scores.mean_iou == pytest.approx(expected["mean IU"], abs=1e-9)
    assert scores.weighted_iou == pytest.approx(expected["fwavacc"], abs=1e-9)


def test_class_scores_by_hand() -> None:
    truth = np.array([0, 0, 0, 1, 1, 9])  # 9 is void
    prediction = np.array([0, 0, 1, 1, 7, 0])  # 7 is none of the three classes
    counts = metrics.confusion(truth, prediction, 3)
    np.testing.assert_array_equal(counts, [[2, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]])
    scores = metrics.class_scores(counts)
    np.testing.assert_allclose(scores.iou, [2 / 3, 1 / 3, np.nan])
    assert scores.mean_iou == pytest.approx(0.5)
    assert scores.accuracy == pytest.approx(3 / 5)
    assert scores.mean_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert scores.weighted_iou == pytest.approx(0.6 * 2 / 3 + 0.4 * 1 / 3)
    assert np.isnan(metrics.class_scores(np.zeros((3, 4), np.int64)).mean_iou)


@given(arrays(np.uint8, 60, elements=st.integers(0, 5)), st.permutations(range(5)))
def test_mean_iou_does_not_care_what_classes_are_called(
    pixels: np.ndarray, order: list[int]
) -> None:
    truth, prediction = pixels[:30], pixels[30:]
    renamed = np.array([*order, 5])
    before = metrics.class_scores(metrics.confusion(truth, prediction, 5))
    after = metrics.class_scores(metrics.confusion(renamed[truth], renamed[prediction], 5))
    np.testing.assert_allclose(after.iou[order], before.iou)
    np.testing.assert_allclose(after.mean_iou, before.mean_iou)


def test_joint_errors_by_hand() -> None:
    truth = np.array([[0.0, 30.0, 90.0], [0.0, 40.0, 5.0]])[..., None]  # (2, 3 joints, 1)
    prediction = truth + np.array([3.0, 4.0])[:, None, None]
    visible = np.array([True, True, False])[:, None]
    errors = metrics.joint_errors(truth, prediction, visible)
    np.testing.assert_allclose(errors, [[5 / 30], [5 / 30], [np.nan]])  # 0.6 x 50 = 30
    assert metrics.pck(errors, [0.1, 0.2]) == {0.1: 0.0, 0.2: 1.0}


def test_pck_is_a_mean_over_joints_not_over_positions() -> None:
    nan = np.nan
    errors = np.array([[0.0, 0.0, 0.0, 1.0], [1.0, nan, nan, nan], [nan] * 4])
    assert metrics.pck(errors, [0.5])[0.5] == pytest.approx((3 / 4 + 0) / 2)


def test_jhmdb_leaves_out_frame_0_and_joints_placed_left_of_the_image() -> None:
    truth = np.random.default_rng(0).uniform(10, 90, (2, 15, 4))
    prediction = truth.copy()
    prediction[:, :, 0] += 500
    prediction[:, 3, 2] = -1
    assert jhmdb_pck([(truth, prediction)], (0.1,)) == {0.1: 1.0}
    prediction[:, 4, 2] = 500
    assert jhmdb_pck([(truth, prediction)], (0.1,))[0.1] == pytest.approx(1 - 1 / 45)


def test_average_precision_by_hand() -> None:
    correct = np.array([True, False, True, False])
    # Precision at the hits: 1 and 2/3; of four to find, each hit is a quarter of recall.
    assert metrics.average_precision(correct, 4) == pytest.approx((1 + 2 / 3) / 4)
    # An earlier precision is never below a later one: 0, then two hits at best 2/3.
    assert metrics.average_precision(correct[::-1], 2) == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert metrics.average_precision(np.zeros(0, bool), 3) == 0


def slow_precision(
    frames: list[tuple[np.ndarray, np.ndarray, dict[int, int], dict[int, int], dict[int, float]]],
    kind: int,
    level: float,
) -> float:
    """AP^r of a class by the book: masks compared one by one, area by steps of recall."""
    found, total = [], 0
    for truth, guess, true_classes, classes, scores in frames:
        masks = [truth == t for t, c in true_classes.items() if c == kind and (truth == t).any()]
        total += len(masks)
        for number, own in classes.items():
            mask = guess == number
            if own == kind and mask.any():
                overlaps = [(mask & m).sum() / (mask | m).sum() for m in masks]
                found.append((scores[number], max(overlaps, default=0) > level))
    found.sort(key=lambda each: -each[0])
    points, hits = [], 0
    for count, (_, right) in enumerate(found, 1):
        hits += right
        points.append((hits / total, hits / count))
    area, before = 0.0, 0.0
    for recall in sorted({r for r, _ in points}):
        area += (recall - before) * max(p for r, p in points if r >= recall)
        before = recall
    return area


def test_instance_precision_equals_the_book() -> None:
    rng = np.random.default_rng(3)
    frames = []
    for _ in range(6):
        truth = np.kron(rng.integers(0, 5, (4, 4), dtype=np.uint8), np.ones((3, 3), np.uint8))
        given = np.where(rng.random(truth.shape) < 0.8, truth, rng.integers(0, 6, truth.shape))
        given = (given * 7 % 11).astype(np.uint8)  # other numbers than the truth's
        classes = {i: int(rng.integers(1, 4)) for i in range(1, 5)}
        guessed = {i * 7 % 11: classes.get(i, 2) for i in range(1, 6)}
        scores = {number: float(rng.random()) for number in guessed}
        frames.append((truth, given, classes, guessed, scores))
    levels = (0.1, 0.5, 0.7)
    found = metrics.instance_precision([metrics.detections(*f, 5) for f in frames], levels)
    assert np.isnan(found[[0, 4]]).all()  # never true
    for kind in (1, 2, 3):
        for column, level in enumerate(levels):
            expected = slow_precision(frames, kind, level)
            assert found[kind, column] == pytest.approx(expected), (kind, level)
