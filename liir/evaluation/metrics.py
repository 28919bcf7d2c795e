"""Scores as the public evaluation scripts define them, in NumPy and SciPy alone.

Shapes: H W pixels, T frames, K joints, N classes. Every score is a fraction in [0, 1]; NaN stands
for "nothing to score" and is left out of means. `tests/evaluation` holds each of them against
numbers that the official scripts printed.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Statistics(NamedTuple):
    """Mean, recall and decay of one object over the frames of its sequence."""

    mean: float
    recall: float
    decay: float


def mean(values: ArrayLike) -> float:
    """Mean without the NaNs; NaN where nothing is left."""
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[~np.isnan(numbers)]
    return float(numbers.mean()) if numbers.size else np.nan


def region_similarity(truth: Mask, prediction: Mask, void: Mask | None = None) -> float:
    """Intersection over union J of two masks; 1 where both are empty.

    Args:
        truth: (H, W) bool.
        prediction: (H, W) bool.
        void: (H, W) bool, pixels that count for nothing; None for none.

    Returns:
        J in [0, 1]. Source: Perazzi et al., CVPR 2016, section 4.1.
    """
    assert truth.shape == prediction.shape
    known = np.True_ if void is None else ~void
    union = np.count_nonzero((truth | prediction) & known)
    return np.count_nonzero(truth & prediction & known) / union if union else 1.0


def boundary_map(mask: Mask) -> Mask:
    """One-pixel boundary of a mask, on the pixels up and left of each change.

    A pixel is boundary where it differs from its right, lower or lower-right neighbour. The last
    row looks to the right only, the last column down only, the last corner never: a mask that
    touches the image's edge has no boundary along it.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) bool. Source: seg2bmap of the Berkeley segmentation benchmark, as DAVIS uses it.
    """
    right = np.zeros_like(mask)
    right[:, :-1] = mask[:, :-1] ^ mask[:, 1:]
    below = np.zeros_like(mask)
    below[:-1] = mask[:-1] ^ mask[1:]
    boundary = right | below
    boundary[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return boundary


def contour_accuracy(
    truth: Mask,
    prediction: Mask,
    void: Mask | None = None,
    *,
    tolerance: float = 0.008,
    size: tuple[int, int] | None = None,
) -> float:
    """F-measure of the boundaries of two masks, matched within a small distance.

    Official code dilates one boundary by a disk x^2 + y^2 <= r^2 and intersects it with the other;
    a pixel lies in that dilation exactly where its nearest boundary pixel is within r, which is
    what is asked here. An empty boundary against a present one scores 0, two empty ones 1.

    Args:
        truth: (H, W) bool.
        prediction: (H, W) bool.
        void: (H, W) bool, pixels taken as background in both masks; None for none.
        tolerance: share of the image diagonal; r is rounded up to whole pixels.
        size: of the image that the masks are cut out of, with a margin of one pixel around what
            they show (but for the image's own edge); None where they are whole.

    Returns:
        F in [0, 1]. Source: Perazzi et al., CVPR 2016, section 4.2.
    """
    assert truth.shape == prediction.shape
    if void is not None:
        truth, prediction = truth & ~void, prediction & ~void
    radius = float(np.ceil(tolerance * np.linalg.norm(size or truth.shape)))
    wanted = np.argwhere(boundary_map(truth))  # (n, 2)
    found = np.argwhere(boundary_map(prediction))  # (m, 2)
    if not len(wanted) or not len(found):
        return float(len(wanted) == len(found))
    precision = _share_within(found, wanted, radius)
    recall = _share_within(wanted, found, radius)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _share_within(points: NDArray[np.intp], others: NDArray[np.intp], radius: float) -> float:
    """Share of `points` (n, 2) whose nearest of `others` (m, 2) is at most `radius` away."""
    # The bound is exclusive and only saves search; beyond it the distance comes back infinite.
    tree = KDTree(others, compact_nodes=False, balanced_tree=False)  # quicker built
    distance, _ = tree.query(points, distance_upper_bound=radius + 0.5)
    return float(np.mean(distance <= radius))


def statistics(values: ArrayLike) -> Statistics:
    """Mean, recall (share above 0.5) and decay of per-frame scores.

    Decay is the mean of the first quarter less the mean of the last. Quarters are cut at
    round(linspace(1, T, 5)) - 1 and include both ends, so neighbours share a frame.

    Args:
        values: (T,) scores in [0, 1] in order of time; NaN frames count in recall alone, as misses.

    Returns:
        The three numbers, NaN for no frames. Source: Perazzi et al., CVPR 2016; the rounding is
        that of davis2017-evaluation.
    """
    scores = np.asarray(values, dtype=np.float64)
    if not scores.size:
        return Statistics(np.nan, np.nan, np.nan)
    # 1e-10 sends halves up, where round() alone would send them to the even neighbour.
    cuts = np.round(np.linspace(1, len(scores), 5) + 1e-10).astype(int) - 1
    first, last = scores[cuts[0] : cuts[1] + 1], scores[cuts[3] : cuts[4] + 1]
    recall = float(np.mean(scores > 0.5))
    return Statistics(mean(scores), recall, mean(first) - mean(last))


def confusion(truth: ArrayLike, prediction: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Count pixels by true and predicted class; sums of it pool frames and clips.

    Args:
        truth: class ids, any shape; ids of `classes` and above are void and left out.
        prediction: class ids, same shape; ids of `classes` and above are a class nobody has.
        classes: N.

    Returns:
        (N, N + 1) int64, [true, predicted]; the last column counts pixels given none of the N.
    """
    true, given = np.asarray(truth), np.asarray(prediction)
    assert true.shape == given.shape
    known = true < classes
    columns = np.minimum(given[known].astype(np.int64), classes)
    cells = true[known].astype(np.int64) * (classes + 1) + columns
    counts = np.bincount(cells, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1).astype(np.int64, copy=False)


class ClassScores(NamedTuple):
    """Scores of a label map of N classes; the means leave out classes never seen."""

    iou: Floats
    """(N,) intersection over union, NaN for a class neither true nor predicted anywhere."""
    mean_iou: float
    accuracy: float
    mean_accuracy: float
    weighted_iou: float
    """IoU weighted by how often each class is true."""


def class_scores(counts: NDArray[np.int64]) -> ClassScores:
    """Scores of a pooled confusion matrix, as the VIP script of UVC and TimeCycle prints them.

    Args:
        counts: (N, N + 1) from `confusion`.

    Returns:
        Fractions. A class predicted but never true has IoU 0 and no accuracy.
    """
    classes = len(counts)
    hits = np.diagonal(counts).astype(np.float64)
    true = counts.sum(1).astype(np.float64)
    union = true + counts[:, :classes].sum(0) - hits
    with np.errstate(invalid="ignore", divide="ignore"):
        iou, accuracy = hits / union, hits / true
        share = true / true.sum()
        overall = float(hits.sum() / true.sum())
    weighted = float(np.nansum(share * iou)) if true.any() else np.nan
    return ClassScores(iou, mean(iou), overall, mean(accuracy), weighted)


class Detections(NamedTuple):
    """Predicted instances of some frames, D of them, and how many there truly are."""

    classes: NDArray[np.int64]
    """(D,) class of each."""
    scores: Floats
    """(D,) what they are ranked by."""
    overlaps: Floats
    """(D,) largest IoU with a true instance of that class in the same frame."""
    truths: NDArray[np.int64]
    """(N,) number of true instances by class."""


def detections(
    truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    true_classes: Mapping[int, int],
    classes: Mapping[int, int],
    scores: Mapping[int, float],
    count: int,
) -> Detections:
    """The instances of one frame.

    Args:
        truth: (H, W) ids of true instances, 0 for none.
        prediction: (H, W) ids, likewise; they need not be those of the truth.
        true_classes: class of each true id; those of class 0 or none are left out.
        classes: class of each predicted id, likewise.
        scores: what predicted ids are ranked by.
        count: N, classes 0 to N - 1.
    """
    assert truth.shape == prediction.shape
    pairs = truth.ravel().astype(np.intp) * 256 + prediction.ravel()
    shared = np.bincount(pairs, minlength=1 << 16).reshape(256, 256)
    true_areas, areas = shared.sum(1), shared.sum(0)
    true_ids = [i for i in range(1, 256) if true_areas[i] and true_classes.get(i, 0)]
    found = [i for i in range(1, 256) if areas[i] and classes.get(i, 0)]
    best = []
    for i in found:
        others = [t for t in true_ids if true_classes[t] == classes[i]]
        overlaps = [shared[t, i] / (true_areas[t] + areas[i] - shared[t, i]) for t in others]
        best.append(max(overlaps, default=0.0))
    truths = np.bincount([true_classes[t] for t in true_ids], minlength=count)
    return Detections(
        np.array([classes[i] for i in found], np.int64),
        np.array([scores.get(i, 0.0) for i in found], np.float64),
        np.array(best, np.float64),
        truths.astype(np.int64, copy=False),
    )


def instance_precision(found: Iterable[Detections], thresholds: Iterable[float]) -> Floats:
    """AP^r: average precision of instances by class, as VIP's script computes it.

    A prediction is correct where it overlaps a true instance of its class by more than the
    threshold. As in the script, several predictions may be correct by one true instance.

    Args:
        found: of all frames; at least one.
        thresholds: of the IoU.

    Returns:
        (N, thresholds), NaN for classes that are never true. Source: evaluate/test_inst_part_ap.py
        of ATEN (Zhou et al., ACM MM 2018); the area under the curve is that of PASCAL VOC.
    """
    frames = list(found)
    classes = np.concatenate([each.classes for each in frames])
    scores = np.concatenate([each.scores for each in frames])
    overlaps = np.concatenate([each.overlaps for each in frames])
    truths = np.sum([each.truths for each in frames], axis=0)
    levels = list(thresholds)
    result = np.full((len(truths), len(levels)), np.nan)
    for kind in np.flatnonzero(truths):
        own = np.flatnonzero(classes == kind)
        ranked = overlaps[own[np.argsort(scores[own], kind="stable")[::-1]]]
        for column, level in enumerate(levels):
            result[kind, column] = average_precision(ranked > level, int(truths[kind]))
    return result


def average_precision(correct: Mask, truths: int) -> float:
    """Area under precision over recall, each precision the best at that recall or above.

    Args:
        correct: (D,) whether each prediction is, the surest first.
        truths: how many there are to find; not 0.
    """
    hits = np.cumsum(correct)
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(envelope * correct) / truths)


def joint_errors(truth: Floats, prediction: Floats, visible: Mask) -> Floats:
    """Distances of joints over 0.6 x the diagonal of the box of the frame's visible true joints.

    Args:
        truth: (2, K, T) float, x then y in pixels.
        prediction: (2, K, T) float, likewise.
        visible: (K, T) bool: joints that span the box and have a distance.

    Returns:
        (K, T) float64, NaN where not visible; infinite or NaN where the box is a single point.
    """
    low = np.where(visible, truth, np.inf).min(1, initial=np.inf)  # (2, T)
    high = np.where(visible, truth, -np.inf).max(1, initial=-np.inf)
    size = 0.6 * np.hypot(*(high - low))  # (T,), infinite where nothing is visible
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.hypot(*(prediction - truth)) / size
    return np.where(visible, error, np.nan)


def pck(errors: Floats, thresholds: Iterable[float]) -> dict[float, float]:
    """Share of correct keypoints per joint, then the mean of the joints.

    Args:
        errors: (K, T) from `joint_errors`, clips side by side along T; NaN is left out.
        thresholds: largest error that is still correct.

    Returns:
        threshold -> PCK. Joints that never count are left out of the mean.
    """
    counted = ~np.isnan(errors)
    shares = {}
    for threshold in thresholds:
        with np.errstate(invalid="ignore", divide="ignore"):
            shares[threshold] = mean((errors <= threshold).sum(1) / counted.sum(1))
    return shares
