"""Scores of made-up data sets that can be worked out by hand."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from liir.annotations import VOID, Annotation
from liir.errors import InputError
from liir.evaluation import joints, metrics, parts, scoring
from liir.evaluation.layouts import Sequence
from liir.evaluation.report import Row
from liir.evaluation.sources import copied
from liir.evaluation.stored import Predicted
from liir.evaluation.youtube import youtube_vos

Told = Callable[[Sequence], Iterator[Predicted]]


def rows_of(
    score: Callable[..., list[Row]], sequences: list[Sequence], source: Told = copied
) -> list[Row]:
    return [row for each in sequences for row in score(each, source(each))]


def test_windows_and_void_change_nothing(tmp_path: Path) -> None:
    """Objects at the image's edges, absent ones and void: as whole masks are scored."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 4, (8, 6, 7), dtype=np.uint8)
    maps = [np.kron(block, np.ones((9, 11), np.uint8)) for block in blocks]
    maps[2][maps[2] == 3] = 0  # gone
    guesses = [np.where(m == 2, 0, np.roll(m, 3, 1)) if i == 5 else np.roll(m, 2, 0)
               for i, m in enumerate(maps)]  # fmt: skip
    maps[4][10:20, 20:40] = VOID

    class Memory(Sequence):
        def truth(self, index: int) -> np.ndarray:
            return maps[index]

    sequence = Memory(
        name="blocks",
        folder=tmp_path,
        stems=tuple("abcdefgh"),
        annotations={0: Annotation(np.where(maps[0] == VOID, 0, maps[0]))},
        counted=tuple(range(1, 7)),
    )
    given = [Predicted(i, guess.astype(np.uint8)) for i, guess in enumerate(guesses)]
    for row in scoring.score_objects(sequence, given):
        number = int(row.object)
        values: dict[str, list[float]] = {"J": [], "F": []}
        for index in sequence.counted:
            masks = maps[index] == number, guesses[index] == number, maps[index] == VOID
            values["J"].append(metrics.region_similarity(*masks))
            values["F"].append(metrics.contour_accuracy(*masks))
        for letter, each in values.items():
            assert row.scores[f"{letter}-Mean"] == pytest.approx(np.mean(each), abs=1e-12)
            assert row.scores[f"{letter}-Decay"] == metrics.statistics(each).decay


def test_youtube_by_hand(youtube: Path) -> None:
    """Squares of 6 x 6 that leave their copy by a pixel a frame; object 3 stays where it is."""
    sequences = youtube_vos(youtube, "full")
    rows = rows_of(scoring.score_objects, sequences)
    scores = {row.object: row.scores["J-Mean"] for row in rows}
    overlaps = [(6 - k) / (6 + k) for k in range(1, 5)]
    assert scores["1"] == pytest.approx(np.mean(overlaps))
    assert scores["2"] == pytest.approx(np.mean(overlaps[:3]))  # from the frame after its first
    assert scores["3"] == 1
    summary = scoring.youtube_summary(rows)
    seen = (np.mean(overlaps) + np.mean(overlaps[:3])) / 2
    assert summary["J-seen"] == pytest.approx(seen)
    assert summary["J-unseen"] == summary["F-unseen"] == 1
    assert summary["J-Mean"] == pytest.approx((2 * seen + 1) / 3)
    assert summary["G"] == pytest.approx((seen + summary["F-seen"] + 2) / 4)
    # Copies one and two pixels off are within the tolerance of ceil(0.008 x 40) = 1, or not.
    assert 0.2 < summary["F-seen"] < 1
    (youtube / "train/meta.json").unlink()
    summary = scoring.youtube_summary(rows_of(scoring.score_objects, youtube_vos(youtube, "full")))
    assert "G" not in summary
    assert summary["J-Mean"] == pytest.approx((2 * seen + 1) / 3)


def test_what_is_said_before_an_object_is_given_does_not_count(youtube: Path) -> None:
    def early(sequence: Sequence) -> Iterator[Predicted]:
        for each in copied(sequence):
            labels = each.labels.copy()
            if each.index < 2 and sequence.name == "a":
                labels[12:20, 20:30] = 3
            yield Predicted(each.index, labels)

    sequences = youtube_vos(youtube, "full")
    assert rows_of(scoring.score_objects, sequences, early) == rows_of(
        scoring.score_objects, sequences
    )


def test_parts_by_hand(vip: Path, perfect: Told) -> None:
    sequences = parts.vip(vip)
    rows = rows_of(scoring.score_parts, sequences)
    # A face of 4 x 4 leaves its copy by 2 and 4 pixels: 24 of 48 are hit, 48 + 48 - 24 in all.
    face, background = 24 / 72, 1080 / (1104 + 1104 - 1080)
    assert [row.sequence for row in rows] == ["videos1", "videos2"]
    assert rows[0].scores["mIoU"] == pytest.approx((background + 1 + face) / 3)
    classes, summary = scoring.part_classes(rows), scoring.part_summary(rows)
    iou = {row.object: row.scores["IoU"] for row in classes}
    # The dress, 4 pixels in the end, is never predicted; it becomes background.
    assert iou["background"] == pytest.approx(2228 / (2252 + 2256 - 2228))
    assert (iou["hair"], iou["face"], iou["dress"]) == pytest.approx((1, face, 0))
    assert np.isnan(iou["hat"])
    assert len(iou) == 20
    assert summary["mIoU"] == pytest.approx((iou["background"] + 1 + face + 0) / 4)
    assert summary["accuracy"] == pytest.approx((2228 + 24 + 96) / 2400)
    rows = rows_of(scoring.score_parts, sequences, perfect)
    assert set(scoring.part_summary(rows).values()) == {1}


def test_instances_by_hand(vip: Path) -> None:
    sequences = parts.vip_instances(vip)
    rows = rows_of(scoring.score_instances, sequences)
    classes, summary = scoring.instance_classes(rows), scoring.instance_summary(rows)
    # The face's copy overlaps by 1, 1/3 and 0, equally sure: the last one stands first. At 0.1 to
    # 0.3, precision is 0, 1/2, 2/3: (2/3 + 2/3) / 3. From 0.4 on, 0, 0, 1/3: 1/9.
    low, high = 4 / 9, 1 / 9
    found = {row.object: row.scores["AP^r"] for row in classes}
    assert found["face"] == pytest.approx((3 * low + 6 * high) / 9)
    assert (found["hair"], found["dress"]) == (1, 0)
    assert summary["AP@0.3"] == pytest.approx((low + 1 + 0) / 3)
    assert summary["AP@0.4"] == pytest.approx((high + 1 + 0) / 3)
    assert summary["AP^r"] == pytest.approx((3 * (low + 1) + 6 * (high + 1)) / 3 / 9)
    assert rows[0].scores["AP^r"] == pytest.approx(((3 * low + 6 * high) / 9 + 1) / 2)


def test_instances_are_ranked_by_their_scores(vip: Path) -> None:
    def surest_first(sequence: Sequence) -> Iterator[Predicted]:
        for each in copied(sequence):
            yield Predicted(each.index, each.labels, objects={1: 0.5, 2: 0.9 - each.index / 9})

    rows = rows_of(scoring.score_instances, parts.vip_instances(vip)[:1], surest_first)
    classes = scoring.instance_classes(rows)
    found = {row.object: row.scores["AP^r"] for row in classes}
    # Now the face is right first: at 0.1 to 0.3 two of three are found, from 0.4 on one.
    assert found["face"] == pytest.approx((3 * 2 / 3 + 6 * 1 / 3) / 9)


def test_jhmdb_by_hand(jhmdb: Path, perfect: Told) -> None:
    """Every joint leaves its copy by 3 pixels a frame; the scale is 24."""
    sequences = joints.jhmdb(jhmdb)
    rows = rows_of(scoring.score_jhmdb, sequences)
    assert rows[0].scores == {"PCK@0.1": 0, "PCK@0.2": pytest.approx(1 / 3)}
    each, summary = scoring.jhmdb_joints(rows), scoring.jhmdb_summary(rows)
    assert summary == {"PCK@0.1": 0, "PCK@0.2": pytest.approx(1 / 3)}
    assert [row.object for row in each] == joints.JHMDB_JOINTS
    assert each[0].scores["PCK@0.2"] == pytest.approx(1 / 3)
    assert np.isnan(each[14].scores["PCK@0.2"])  # it was not given
    rows = rows_of(scoring.score_jhmdb, sequences, perfect)
    assert scoring.jhmdb_summary(rows) == {"PCK@0.1": 1, "PCK@0.2": 1}


def test_a_joint_predicted_left_of_the_image_is_invisible(jhmdb: Path) -> None:
    def hidden(sequence: Sequence) -> Iterator[Predicted]:
        for each in copied(sequence):
            points = dict(each.points)
            if each.index > 1:
                points["neck"] = (-1.0, 5.0, 1.0)
            yield Predicted(each.index, each.labels, points)

    each = scoring.jhmdb_joints(rows_of(scoring.score_jhmdb, joints.jhmdb(jhmdb), hidden))
    assert each[0].scores["PCK@0.2"] == 1  # of one frame
    assert each[1].scores["PCK@0.2"] < 1


def test_animals_by_hand(badja: Path, perfect: Told) -> None:
    """Joints leave their copy by 3 and 6 pixels; 0.2 x the root of 400 pixels is 4."""
    sequences = joints.badja(badja)
    (row,) = rows_of(scoring.score_animal, sequences)
    assert row.scores == {
        "PCK@0.1": 0,
        "PCK@0.2": 0,  # the box is 16 x 12: 3 of 12 are too many
        "PCK@0.2 area": pytest.approx(2 / 3),  # two of frame 2, none of frame 4's one
    }
    (row,) = rows_of(scoring.score_animal, sequences, perfect)
    assert set(row.scores.values()) == {1}


def test_points_by_hand(tmp_path: Path) -> None:
    sequence = Sequence(
        name="clip",
        folder=tmp_path,
        stems=("0", "1", "2"),
        annotations={0: Annotation(points={"a": (0, 0), "b": (30, 40)})},
        joints={
            0: {"a": (0, 0), "b": (30, 40)},
            1: {"a": (3, 4), "b": (33, 44)},  # both off by 5, of 30
            2: {"a": (9, 12)},  # alone it spans no box: it counts in pixels only
        },
        counted=(1, 2),
    )
    (row,) = scoring.score_points(sequence, copied(sequence))
    assert row.scores == {
        "PCK@0.1": 0,
        "PCK@0.2": 1,
        "within 4 px": 0,
        "within 8 px": pytest.approx(2 / 3),
        "within 16 px": 1,
    }
    lost = [Predicted(i, np.zeros((1, 1), np.uint8), {"a": (0, 0, 1)}) for i in range(3)]
    with pytest.raises(InputError, match="clip: frame 1 has no position for joint b"):
        scoring.score_points(sequence, lost)
