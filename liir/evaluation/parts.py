"""VIP (Zhou et al., ACM MM 2018): body parts of people, as classes and as instances.

The layout is that of VIP_Fine: `ROOT/Images/VIDEO/*.jpg`, `ROOT/Annotations/Category_ids/VIDEO` and
`ROOT/Annotations/Instance_ids/VIDEO` with a label map for each image, `ROOT/lists/val_videos.txt`.
(The frames between the annotated ones are a part of their own, VIP_Sequence; the published scripts
open a label map for every image of VIP_Fine.)
`Category_ids` and `Instance_ids` may also lie in ROOT itself, as the data set's own code has them.
"""

from pathlib import Path

from liir.errors import InputError
from liir.evaluation.layouts import (
    Sequence,
    content,
    first_annotation,
    frames,
    listed,
    no_strangers,
    read_map,
    require,
    same_size,
)

CLASSES = (
    "background hat hair sun-glasses upper-clothes dress coat socks pants gloves scarf skirt "
    "torso-skin face right-arm left-arm right-leg left-leg right-shoe left-shoe"
).split()


def vip(root: Path, split: str = "val") -> list[Sequence]:
    """Videos with a class (0 to 19) for each pixel; every frame counts, the first too.

    Raises:
        InputError: the list or a listed video is not there completely.
    """
    return [_video(root, name, "Category_ids", instances=False) for name in _names(root, split)]


def vip_instances(root: Path, split: str = "val") -> list[Sequence]:
    """Videos with a number for each part of each person; `groups` has their classes.

    Raises:
        InputError: as `vip`; or a table of classes is missing or malformed.
    """
    return [_video(root, name, "Instance_ids", instances=True) for name in _names(root, split)]


def read_classes(path: Path) -> dict[int, int]:
    """Classes of the instances of a frame: lines `ID CLASS ...` beside its label map.

    Raises:
        InputError: the table is missing, a line is not of that form, or a class is not one of 20.
    """
    try:
        rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
        found = {int(row[0]): class_number(row[1]) for row in rows}
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{path}: expected a line 'ID CLASS' for each part ({error})") from error
    return found


def class_number(word: str) -> int:
    """The class that a word of a table stands for; ValueError where there is none such."""
    if int(word) not in range(len(CLASSES)):
        raise ValueError(f"class {word}; there are 0 to {len(CLASSES) - 1}")
    return int(word)


def _names(root: Path, split: str) -> list[str]:
    path = root / "lists" / f"{split}_videos.txt"
    if not path.is_file():
        raise InputError(
            f"{root}: expected lists/{split}_videos.txt, Images and Annotations of VIP_Fine; "
            f"found {content(root)}"
        )
    return listed(path)


def _video(root: Path, name: str, kind: str, *, instances: bool) -> Sequence:
    folder, stems, size = frames(root / "Images", name)
    places = [root / "Annotations" / kind / name, root / kind / name]
    maps = next((place for place in places if place.is_dir()), None)
    if maps is None:
        raise InputError(f"{root}: no folder Annotations/{kind}/{name} of label maps")
    no_strangers(maps, stems, f"{folder}: no images for label maps")
    masks = {index: maps / f"{stem}.png" for index, stem in enumerate(stems)}
    require(masks.values(), f"{maps}: label maps of the images")
    same_size([masks[0]], size)
    annotation = first_annotation(read_map(masks[0]), masks[0])
    groups, allowed = {}, frozenset(range(len(CLASSES)))
    if instances:
        table = masks[0].with_suffix(".txt")
        classes = read_classes(table)
        unknown = [i for i in annotation.ids if i not in classes]
        if unknown:
            raise InputError(f"{table}: no class for part {unknown[0]} of the label map")
        groups = {i: CLASSES[classes[i]] for i in annotation.ids}
        allowed = frozenset(range(256))
    elif strange := set(annotation.ids) - allowed:
        raise InputError(f"{masks[0]}: shows class {min(strange)}; there are 0 to 19")
    return Sequence(
        name=name,
        folder=folder,
        stems=stems,
        annotations={0: annotation},
        masks=masks,
        counted=tuple(masks),
        groups=groups,
        instances=instances,
        allowed=allowed,
    )
