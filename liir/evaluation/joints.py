"""Clips with keypoints: JHMDB, BADJA, and anything with a CSV.

Points are pixels, x right, y down, pixel centres at +0.5.
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from liir.annotations import Annotation, Annotations, read_points
from liir.errors import InputError
from liir.evaluation.layouts import Point, Sequence, base, content, foreground, frames, require
from liir.video import VIDEO_SUFFIXES, open_video

JHMDB_JOINTS = (
    "neck belly face right-shoulder left-shoulder right-hip left-hip right-elbow left-elbow "
    "right-knee left-knee right-wrist left-wrist right-ankle left-ankle"
).split()

BADJA_JOINTS = (8, 9, 10, 12, 13, 14, 15, 18, 19, 20, 22, 23, 24, 25, 28, 31, 32, 33, 35, 36)
"""The joints that people clicked, of the 37 of the animal model."""


# --- JHMDB


def jhmdb(root: Path, split: str = "1") -> list[Sequence]:
    """Test clips of a split of JHMDB (Jhuang et al., ICCV 2013), 15 joints in every frame.

    Official layout: `splits/ACTION_test_split1.txt`, `joint_positions/ACTION/CLIP/
    joint_positions.mat` and `Rename_Images/ACTION/CLIP/00001.png`. Joints outside of the first
    frame are not given, and do not count anywhere.

    Raises:
        InputError: a list, a clip or its joints are missing or malformed.
    """
    lists = sorted((root / "splits").glob(f"*_test_split{split}.txt"))
    if not lists:
        raise InputError(
            f"{root}: expected splits/ACTION_test_split{split}.txt, joint_positions and "
            f"Rename_Images of JHMDB; found {content(root)}"
        )
    sequences = []
    for path in lists:
        action = path.name.removesuffix(f"_test_split{split}.txt")
        for line in path.read_text("utf-8").splitlines():
            words = line.split()
            if words and words[-1] == "2":  # 1 is for training, 0 neither
                sequences.append(_jhmdb_clip(root, f"{action}/{Path(words[0]).stem}"))
    if not sequences:
        raise InputError(f"{root / 'splits'}: no list names a clip for testing (CLIP.avi 2)")
    return sequences


def _jhmdb_clip(root: Path, name: str) -> Sequence:
    path = root / "joint_positions" / name / "joint_positions.mat"
    require([path], f"{path.parent}: joints")
    try:
        # MATLAB counts from 1: its pixel 1 is centred half a pixel from the edge.
        positions = np.asarray(loadmat(path)["pos_img"], np.float64) - 0.5
        assert positions.shape[:2] == (2, len(JHMDB_JOINTS))
    except Exception as error:  # of the readers of several formats
        raise InputError(f"{path}: expected pos_img, 2 x 15 joints x frames ({error})") from error
    folder, stems, (height, width) = frames(root / "Rename_Images", name)
    length = positions.shape[2]
    if len(stems) < length:
        raise InputError(
            f"{folder}: {length - len(stems)} of {length} frames missing; {path.name} has more"
        )
    x, y = positions[:, :, 0]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    given = [joint for joint, here in zip(JHMDB_JOINTS, inside, strict=True) if here]
    if not given:
        raise InputError(f"{path}: no joint lies in the first frame, nothing can be tracked")
    joints = {
        index: {
            joint: (float(positions[0, j, index]), float(positions[1, j, index]))
            for j, joint in enumerate(JHMDB_JOINTS)
        }
        for index in range(length)
    }
    first = {joint: joints[0][joint] for joint in given}
    return Sequence(
        name=name,
        folder=folder,
        stems=stems[:length],
        annotations={0: Annotation(points=first)},
        joints=joints,
        counted=tuple(range(1, length)),
    )


# --- BADJA


def badja(root: Path, points: Path | None = None) -> list[Sequence]:
    """Animals' joints in some frames: those visible in the first of them are to be tracked.

    Args:
        root: the official folder, with `joint_annotations/ANIMAL.json` and what these name; or a
            DAVIS folder, with images and masks.
        points: for a DAVIS folder, a CSV of sequence, frame, joint, x, y, visible, in pixels of its
            images; None for root/badja.csv.

    Raises:
        InputError: a table is malformed, or names a sequence, a frame or a mask that is not there.
    """
    official = root / "joint_annotations"
    if points is None and official.is_dir():
        tables = sorted(official.glob("*.json"))
        if not tables:
            raise InputError(f"{official}: expected ANIMAL.json; found {content(official)}")
        return [_animal(root, path) for path in tables]
    images = base(root, "JPEGImages")
    table = points or root / "badja.csv"
    sequences = []
    for name in _tabulated(table):
        folder, stems, size = frames(images, name)
        annotations = read_points(table, size=size, sequence=name)
        _check_end(annotations, folder, stems, table, name)
        masks = {i: base(root, "Annotations") / name / f"{stems[i]}.png" for i in annotations}
        sequences.append(_pointed(name, folder, stems, annotations, masks))
    return sequences


def _animal(root: Path, path: Path) -> Sequence:
    """A sequence of the official JSON: one record a frame, joints as (y, x)."""
    try:
        records = json.loads(path.read_bytes())
        folder = (root / records[0]["image_path"]).parent
        images = {Path(record["image_path"]).stem: record for record in records}
        shown = {
            stem: {
                str(j): (float(record["joints"][j][1]), float(record["joints"][j][0]))
                for j in BADJA_JOINTS
                if record["visibility"][j]
            }
            for stem, record in images.items()
        }
        segments = {stem: root / record["segmentation_path"] for stem, record in images.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: expected records of image_path, segmentation_path, joints and visibility "
            f"({type(error).__name__}: {error})"
        ) from error
    if not folder.is_dir():
        raise InputError(f"{path}: names frames in {folder}, which is not there")
    video = open_video(folder)
    stems = tuple(video.stems or ())
    place = {stem: index for index, stem in enumerate(stems)}
    lacking = sorted(stem for stem in shown if stem not in place)
    if lacking:
        raise InputError(
            f"{folder}: {len(lacking)} of {len(shown)} frames missing, first {lacking[0]}"
        )
    annotations = {place[stem]: Annotation(points=p) for stem, p in sorted(shown.items()) if p}
    if not annotations:
        raise InputError(f"{path}: holds no visible joint")
    masks = {place[stem]: segment for stem, segment in segments.items()}
    return _pointed(path.stem, folder, stems, annotations, masks)


# --- Any clips with a table


def points(root: Path, table: Path | None = None) -> list[Sequence]:
    """Clips with points in some frames: those in the first of them are to be tracked.

    Args:
        root: clips: `JPEGImages/NAME`, `NAME` (folders of images) or `NAME.mp4` and the like.
        table: CSV of sequence, frame, name, x, y and, if there, visible; None for root/points.csv.

    Raises:
        InputError: the table is malformed, or names a clip or a frame that is not there.
    """
    table = table or root / "points.csv"
    sequences = []
    for name in _tabulated(table):
        clip = _clip(root, name)
        video = open_video(clip)
        stems = video.stems or [f"{i:05d}" for i in range(video.length or 0)]
        annotations = read_points(table, size=video.size, sequence=name)
        _check_end(annotations, clip, stems, table, name)
        sequences.append(_pointed(name, clip, tuple(stems), annotations, {}))
    return sequences


def _clip(root: Path, name: str) -> Path:
    places = [root / "JPEGImages" / "480p" / name, root / "JPEGImages" / name, root / name]
    places += [root / f"{name}{suffix}" for suffix in sorted(VIDEO_SUFFIXES)]
    for place in places:
        if place.exists():
            return place
    raise InputError(
        f"{root}: no clip for sequence {name}: expected a folder or a video of that name; "
        f"found {content(root)}"
    )


def _pointed(
    name: str,
    folder: Path,
    stems: tuple[str, ...],
    annotations: Annotations,
    masks: Mapping[int, Path],
) -> Sequence:
    first, *later = sorted(annotations)
    if masks:
        require([masks[index] for index in later], f"{name}: segments, whose area sets the scale,")
    joints: dict[int, Mapping[str, Point]] = {i: a.points for i, a in annotations.items()}
    return Sequence(
        name=name,
        folder=folder,
        stems=stems,
        annotations={first: annotations[first]},
        joints=joints,
        masks=masks,
        counted=tuple(later),
        decode=foreground,
    )


def _check_end(
    annotations: Annotations, clip: Path, stems: tuple[str, ...] | list[str], table: Path, name: str
) -> None:
    last = max(annotations)
    if last >= len(stems):
        raise InputError(
            f"{table}: {name} has joints in frame {last}, but {clip} holds {len(stems)} frames"
        )


def _tabulated(path: Path) -> list[str]:
    """Names in the column `sequence` of a table."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            names = [row.get("sequence") or "" for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table of joints ({error})") from error
    if not all(names) or not names:
        raise InputError(f"{path}: expected columns sequence, frame, joint, x, y, visible")
    return list(dict.fromkeys(names))
