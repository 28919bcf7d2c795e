"""Protocols: the rows of one sequence from its predictions, and the summary of all rows.

What all share: predictions come in order of time, every frame that counts must be among them, and
label maps have the size of the truth; else InputError. A `score_...` takes one sequence, so that
several processes can share the work; a `..._summary` takes the rows of all, and so does what adds
a row for each class or joint.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import numpy as np

from liir.annotations import VOID, Labels
from liir.errors import InputError
from liir.evaluation import metrics
from liir.evaluation.joints import JHMDB_JOINTS
from liir.evaluation.layouts import Sequence
from liir.evaluation.parts import CLASSES, read_classes
from liir.evaluation.report import Row
from liir.evaluation.stored import Predicted, Prediction, stored

THRESHOLDS = (0.1, 0.2)
PIXELS = (4, 8, 16)
OVERLAPS = tuple(round(0.1 * i, 1) for i in range(1, 10))
"""IoU thresholds of AP^r."""


def score_stored(
    score: Callable[[Sequence, Iterable[Prediction]], list[Row]], sequence: Sequence, folder: Path
) -> list[Row]:
    """Scores predictions that lie in files: the work of another process, which needs no torch."""
    return score(sequence, stored(folder, sequence))


# --- Objects


def score_objects(sequence: Sequence, predictions: Iterable[Prediction]) -> list[Row]:
    """DAVIS and YouTube-VOS: J and F, a row for each object.

    An object counts from the frame after the one it is given in; where it is not in the frame, an
    empty mask is right (1) and any other wrong (0). Void pixels count for nothing.
    """
    regions: dict[int, list[float]] = {number: [] for number in sequence.ids}
    contours: dict[int, list[float]] = {number: [] for number in sequence.ids}
    born = {number: sequence.born(number) for number in sequence.ids}
    for index, truth, given in _pairs(sequence, predictions):
        void = truth == VOID
        spoilt = bool(void.any())
        for number in sequence.ids:
            if index <= born[number]:
                continue
            true, found = truth == number, given == number
            window = _window(true | found)
            masks = true[window], found[window], void[window] if spoilt else None
            regions[number].append(metrics.region_similarity(*masks))
            contours[number].append(metrics.contour_accuracy(*masks, size=truth.shape))
    rows = []
    for number in sequence.ids:
        region = metrics.statistics(regions[number])
        contour = metrics.statistics(contours[number])
        scores = {"J&F-Mean": (region.mean + contour.mean) / 2}
        for letter, values in (("J", region), ("F", contour)):
            scores |= {f"{letter}-{what.title()}": v for what, v in values._asdict().items()}
        rows.append(Row(sequence.name, str(number), scores, sequence.groups.get(number, "")))
    return rows


def _window(either: metrics.Mask) -> tuple[slice, slice]:
    """What two masks show, with a pixel around it: all that their boundaries depend on."""
    rows, columns = np.flatnonzero(either.any(1)), np.flatnonzero(either.any(0))
    if not rows.size:
        return slice(0, 1), slice(0, 1)
    return (
        slice(max(0, int(rows[0]) - 1), int(rows[-1]) + 2),
        slice(max(0, int(columns[0]) - 1), int(columns[-1]) + 2),
    )


def mean_of_rows(rows: Collection[Row]) -> dict[str, float]:
    """Mean of each score over all rows."""
    names = dict.fromkeys(name for row in rows for name in row.scores)
    return {name: metrics.mean([row.scores[name] for row in rows]) for name in names}


def youtube_summary(rows: Collection[Row]) -> dict[str, float]:
    """Mean over all objects and over those of seen and of unseen categories; G is their mean.

    Without seen and unseen (no train/meta.json) there is no G.
    """
    means = mean_of_rows(rows)
    summary = {name: value for name, value in means.items() if name.endswith("-Mean")}
    groups = {group: mean_of_rows([row for row in rows if row.group == group]) for group in _SEEN}
    parts = {
        f"{letter}-{group}": found.get(f"{letter}-Mean", math.nan)
        for letter in "JF"
        for group, found in groups.items()
    }
    if any(row.group for row in rows):
        summary = {"G": float(np.mean([*parts.values()]))} | parts | summary
    return summary


_SEEN = ("seen", "unseen")


# --- Classes and parts


def score_classes(sequence: Sequence, predictions: Iterable[Prediction]) -> list[Row]:
    """Chen and Corso 2010: IoU pooled over the clip, a row for each class of the first frame.

    Pixels whose true class is void or new since the first frame do not count.
    """
    classes = len(sequence.ids)
    place = np.full(256, classes, np.uint8)  # id -> row of the confusion matrix
    place[list(sequence.ids)] = np.arange(classes)
    counts = np.zeros((classes, classes + 1), np.int64)
    for _, truth, given in _pairs(sequence, predictions):
        counts += metrics.confusion(place[truth], place[given], classes)
    iou = metrics.class_scores(counts).iou
    return [
        Row(sequence.name, str(number), {"IoU": float(value)})
        for number, value in zip(sequence.ids, iou, strict=True)
    ]


def mean_of_clips(rows: Collection[Row]) -> dict[str, float]:
    """Mean over clips of the mean IoU of their classes."""
    clips: dict[str, list[float]] = {}
    for row in rows:
        clips.setdefault(row.sequence, []).append(row.scores["IoU"])
    return {"mIoU": metrics.mean([metrics.mean(values) for values in clips.values()])}


def score_parts(sequence: Sequence, predictions: Iterable[Prediction]) -> list[Row]:
    """VIP: mean IoU of a clip, over the classes seen in it."""
    counts = np.zeros((len(CLASSES), len(CLASSES) + 1), np.int64)
    for _, truth, given in _pairs(sequence, predictions):
        counts += metrics.confusion(truth, given, len(CLASSES))
    return [Row(sequence.name, "", {"mIoU": metrics.class_scores(counts).mean_iou}, pooled=counts)]


def part_classes(rows: Collection[Row]) -> list[Row]:
    """IoU of each class, pooled over all clips and frames."""
    scores = metrics.class_scores(sum(row.pooled for row in rows))
    return [
        Row("all", name, {"IoU": float(value)})
        for name, value in zip(CLASSES, scores.iou, strict=True)
    ]


def part_summary(rows: Collection[Row]) -> dict[str, float]:
    """Mean IoU of the classes, pooled over all clips and frames, and what goes with it."""
    scores = metrics.class_scores(sum(row.pooled for row in rows))
    return {
        "mIoU": scores.mean_iou,
        "accuracy": scores.accuracy,
        "mean accuracy": scores.mean_accuracy,
        "weighted IoU": scores.weighted_iou,
    }


def score_instances(sequence: Sequence, predictions: Iterable[Prediction]) -> list[Row]:
    """VIP: AP^r of a clip's part instances, over the classes seen in it."""
    own = {number: CLASSES.index(name) for number, name in sequence.groups.items()}
    found = []
    for prediction in _delivered(sequence, predictions):
        truth, given = _pair(sequence, prediction)
        classes = read_classes(sequence.masks[prediction.index].with_suffix(".txt"))
        told = prediction.classes if isinstance(prediction, Predicted) else {}
        scores = prediction.objects or dict.fromkeys(range(256), 1.0)
        frame = metrics.detections(truth, given, classes, told or own, scores, len(CLASSES))
        found.append(frame)
    precision = metrics.instance_precision(found, OVERLAPS)
    return [Row(sequence.name, "", {"AP^r": metrics.mean(precision)}, pooled=found)]


def instance_classes(rows: Collection[Row]) -> list[Row]:
    """AP^r of each class, the mean over thresholds."""
    precision = metrics.instance_precision([f for row in rows for f in row.pooled], OVERLAPS)
    return [
        Row("all", CLASSES[kind], {"AP^r": metrics.mean(precision[kind])})
        for kind in range(1, len(CLASSES))
    ]


def instance_summary(rows: Collection[Row]) -> dict[str, float]:
    """AP at each threshold, the mean over classes; and AP^r, the mean of these."""
    precision = metrics.instance_precision([f for row in rows for f in row.pooled], OVERLAPS)
    levels = [metrics.mean(column) for column in precision.T]
    summary = {"AP^r": metrics.mean(levels)}
    return summary | {f"AP@{t}": v for t, v in zip(OVERLAPS, levels, strict=True)}


# --- Points


def score_jhmdb(sequence: Sequence, predictions: Iterable[Prediction]) -> list[Row]:
    """JHMDB: PCK of a clip, the mean over its joints.

    A joint that was not given, or whose predicted x is negative, is invisible: it neither counts
    nor spans the box.
    """
    shape = (2, len(JHMDB_JOINTS), len(sequence.counted))
    truth, given = np.zeros(shape), np.full(shape, -1.0)
    wanted = sequence.annotations[sequence.start].points
    for place, prediction in enumerate(_delivered(sequence, predictions)):
        positions = sequence.joints[prediction.index]
        for j, joint in enumerate(JHMDB_JOINTS):
            truth[:, j, place] = positions[joint]
            if joint in wanted:
                given[:, j, place] = _place(sequence, prediction, joint)
    errors = metrics.joint_errors(truth, given, given[0] >= 0)
    return [Row(sequence.name, "", _shares(errors), pooled=errors)]


def jhmdb_joints(rows: Collection[Row]) -> list[Row]:
    """PCK of each joint over all clips."""
    errors = np.concatenate([row.pooled for row in rows], axis=1)
    return [Row("all", joint, _shares(errors[[j]])) for j, joint in enumerate(JHMDB_JOINTS)]


def jhmdb_summary(rows: Collection[Row]) -> dict[str, float]:
    """Mean over joints of the PCK of each over all clips."""
    return _shares(np.concatenate([row.pooled for row in rows], axis=1))


def score_animal(sequence: Sequence, predictions: Iterable[Prediction]) -> list[Row]:
    """BADJA: PCK of the joints given in the first annotated frame, one row for the sequence.

    Twice: within shares of 0.6 x the diagonal of the box of the frame's visible joints, as for
    JHMDB; and below 0.2 x the square root of the animal's area in the frame.
    """
    boxes: list[float] = []
    areas: list[float] = []
    for index, distances, size in _distances(sequence, predictions):
        boxes += (distances / size).tolist()
        area = np.count_nonzero(sequence.truth(index))
        areas += (distances / max(1.0, float(area)) ** 0.5).tolist()
    below = float(np.mean(np.array(areas) < 0.2)) if areas else math.nan
    return [Row(sequence.name, "", _shares(np.array([boxes])) | {"PCK@0.2 area": below})]


def score_points(sequence: Sequence, predictions: Iterable[Prediction]) -> list[Row]:
    """Points of any clip: shares within parts of the points' box, and within pixels."""
    boxes: list[float] = []
    pixels: list[float] = []
    for _, distances, size in _distances(sequence, predictions):
        boxes += (distances / size).tolist()
        pixels += distances.tolist()
    within = {f"within {p} px": metrics.mean(np.array(pixels) <= p) for p in PIXELS}
    return [Row(sequence.name, "", _shares(np.array([boxes])) | within)]


def _distances(
    sequence: Sequence, predictions: Iterable[Prediction]
) -> Iterator[tuple[int, metrics.Floats, float]]:
    """Of each frame: its number, distances of the given joints, and the size of the joints' box.

    A position counts wherever the truth sees the joint, whether or not it is reported visible. The
    box is that of every visible joint, given or not; its size is 0.6 x the diagonal, NaN where
    they all lie in one place.
    """
    wanted = sequence.annotations[sequence.start].points
    for prediction in _delivered(sequence, predictions):
        truth = sequence.joints[prediction.index]
        asked = [name for name in truth if name in wanted]
        places = np.array([_place(sequence, prediction, name) for name in asked]).reshape(-1, 2)
        true = np.array([truth[name] for name in asked]).reshape(-1, 2)
        # A position that is no number is a miss.
        distances = np.nan_to_num(np.hypot(*(places - true).T), nan=np.inf)
        everywhere = np.array([*truth.values()])
        size = 0.6 * math.hypot(*(everywhere.max(0) - everywhere.min(0)))
        yield prediction.index, distances, size or math.nan


def _place(sequence: Sequence, prediction: Prediction, name: str) -> tuple[float, float]:
    if name not in prediction.points:
        raise InputError(
            f"{sequence.name}: frame {prediction.index} has no position for joint {name}"
        )
    return prediction.points[name][:2]


def _shares(errors: metrics.Floats) -> dict[str, float]:
    return {f"PCK@{t}": share for t, share in metrics.pck(errors, THRESHOLDS).items()}


# --- What all share


def _delivered(sequence: Sequence, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """The predictions that count; in the end, see that none of them was missing."""
    missing = set(sequence.counted)
    for prediction in predictions:
        if prediction.index in missing:
            missing.remove(prediction.index)
            yield prediction
    if missing:
        raise InputError(
            f"{sequence.name}: {len(missing)} of {len(sequence.counted)} frames that count have no "
            f"prediction, the first is frame {min(missing)} ({sequence.stems[min(missing)]})"
        )


def _pairs(
    sequence: Sequence, predictions: Iterable[Prediction]
) -> Iterator[tuple[int, Labels, Labels]]:
    """(frame, true, predicted) with label maps (H, W) of the frames that count."""
    for prediction in _delivered(sequence, predictions):
        yield (prediction.index, *_pair(sequence, prediction))


def _pair(sequence: Sequence, prediction: Prediction) -> tuple[Labels, Labels]:
    truth, given = sequence.truth(prediction.index), prediction.labels
    if truth.shape != given.shape:
        raise InputError(
            f"{sequence.name}: the prediction for frame {sequence.stems[prediction.index]} has "
            f"{given.shape[1]}x{given.shape[0]} pixels, the ground truth "
            f"{truth.shape[1]}x{truth.shape[0]} ({sequence.masks[prediction.index]})"
        )
    return truth, given
