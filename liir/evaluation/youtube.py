"""YouTube-VOS: objects that appear later than frame 0, some of categories nobody trained on.

The layout is the official one: `ROOT/SPLIT/{JPEGImages,Annotations}/VIDEO/00000.{jpg,png}` and
`ROOT/SPLIT/meta.json`. Of `valid` and `test` only the frame in which an object is given is
annotated, and predictions go to a server.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from liir.annotations import VOID, Annotation
from liir.errors import InputError
from liir.evaluation.layouts import Sequence, content, frames, read_map, require, same_size

ALL_FRAMES = "_all_frames"
"""Splits of that ending hold every frame of the videos, not every fifth."""


def youtube_vos(root: Path, split: str = "valid") -> list[Sequence]:
    """Videos of a split of YouTube-VOS, 2018 or 2019.

    A video whose every official frame has a label map is scored, one with no more than the given
    ones is for the server. An object counts from the frame after the one it is given in. Objects
    are "seen" or "unseen" by whether their category is one of train/meta.json; where that is not
    there, or has no categories, they are neither.

    Args:
        root: holds the splits.
        split: "valid", or another that is there. "valid_all_frames" tracks through all frames,
            and keeps and scores the official ones.

    Raises:
        InputError: the split is not there completely, or its parts contradict each other.
    """
    official = split.removesuffix(ALL_FRAMES)
    for place in (root / split / "JPEGImages", root / official / "Annotations"):
        if not place.is_dir():
            there = content(place.parent)
            raise InputError(f"{root}: expected {place.relative_to(root)}; found {there}")
    meta, train = root / official / "meta.json", root / "train" / "meta.json"
    videos, known = _videos(meta), None
    if train.is_file() and _categories(meta, videos):
        known = _categories(train, _videos(train))
    return [_video(root, split, name, objects, known) for name, objects in sorted(videos.items())]


Objects = Mapping[int, Mapping[str, Any]]


def _video(
    root: Path, split: str, name: str, objects: Objects, known: Collection[str] | None
) -> Sequence:
    official = root / split.removesuffix(ALL_FRAMES)
    folder, stems, size = frames(root / split / "JPEGImages", name)
    place = {stem: index for index, stem in enumerate(stems)}
    _, wanted, _ = frames(official / "JPEGImages", name)
    lacking = [stem for stem in wanted if stem not in place]
    if lacking:
        raise InputError(f"{folder}: {len(lacking)} official frames missing, first {lacking[0]}")
    given: dict[int, set[int]] = {}
    for number, about in objects.items():
        first = min(about["frames"])
        if first not in place:
            raise InputError(f"{folder}: frame {first}, in which object {number} appears, missing")
        given.setdefault(place[first], set()).add(number)
    there = {place[stem]: official / "Annotations" / name / f"{stem}.png" for stem in wanted}
    require([there[frame] for frame in given], f"{official / 'Annotations' / name}: label maps")
    present = {frame: path for frame, path in there.items() if path.is_file()}
    # With a label map here and there, but not everywhere, a score would leave frames out.
    hidden = present.keys() <= given.keys() and len(present) < len(there)
    if not hidden:
        require(there.values(), f"{official / 'Annotations' / name}: ground-truth files")
    annotations = {}
    for frame, numbers in sorted(given.items()):
        same_size([there[frame]], size)
        labels = read_map(there[frame])
        absent = numbers - set(np.unique(labels).tolist())
        if absent:
            raise InputError(
                f"{there[frame]}: meta.json says that object {min(absent)} appears here; "
                "it is not in the label map"
            )
        # Of later frames only the new objects are given, the others are being tracked.
        shown = [*numbers, VOID]
        annotations[frame] = Annotation(np.where(np.isin(labels, shown), labels, np.uint8(0)))
    groups = {}
    if known is not None:
        groups = {o: "seen" if objects[o]["category"] in known else "unseen" for o in objects}
    return Sequence(
        name=name,
        folder=folder,
        stems=stems,
        annotations=annotations,
        masks=present,
        hidden=hidden,
        counted=() if hidden else tuple(i for i in sorted(there) if i > min(annotations)),
        official=frozenset(i for i in there if i >= min(annotations)),
        groups=groups,
    )


def _videos(path: Path) -> dict[str, Objects]:
    """Of each video its objects: the frames it is in and, if there, its category."""
    try:
        videos = json.loads(path.read_bytes())["videos"]
        found: dict[str, Objects] = {
            name: {int(o): dict(about) for o, about in video["objects"].items()}
            for name, video in videos.items()
        }
        for objects in found.values():
            assert objects
            assert all(min(about["frames"]) for about in objects.values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise InputError(
            f"{path}: expected videos -> NAME -> objects -> ID -> frames (and category) "
            f"({type(error).__name__}: {error})"
        ) from error
    return found


def _categories(path: Path, videos: Mapping[str, Objects]) -> set[str] | None:
    """The objects' categories, None where they have none; InputError where only some have."""
    found = {
        f"{number} of {name}": about.get("category")
        for name, objects in videos.items()
        for number, about in objects.items()
    }
    lacking = [name for name, category in found.items() if not category]
    if lacking and len(lacking) < len(found):
        raise InputError(
            f"{path}: {len(lacking)} of {len(found)} objects have no category, first object "
            f"{lacking[0]}: seen and unseen need that of all"
        )
    return None if lacking else {str(category) for category in found.values()}
