"""Where does tracking fail worst? The worst moments over all sets, measured and pictured.

    python benchmarks/failures.py ../shared/data scores/small --out docs/failures
    python benchmarks/failures.py ../shared/data scores/small --out worst --count 30 --each 2

Reads what `benchmarks/scores.py` has kept of a model. A moment is the frame in which an object, a
class or an animal's joints score lowest in its clip; of one clip, the worst `--each` are taken.
Writes a picture of each, and prints a table of what can be measured about it: how far the object
moved since the frame before, how it grew since the first, how wide it is, where its pixels went.
Why it failed is for people to say (docs/failures.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion
from scores import SETS, points

from liir.annotations import VOID
from liir.errors import InputError
from liir.evaluation.metrics import joint_errors, region_similarity
from liir.figures import Picture
from liir.grid import STRIDE
from liir.show.errors import counted, outcome, tinted, window
from liir.show.strips import Strip, draw_strips, draw_tile, tile_width
from liir.show.takes import Clip, Stage, Take, joints, pictures, ranks

LINES = 480
"""Cells are those of frames of so many lines, which is what is tracked."""
WIDE = 900
"""Pixels of a picture: enough to see what failed, and nothing to take for the data."""
HEAD = ("", "clip", "what", "frame", "score", "moved", "grew", "width", "went to")


class Moment(NamedTuple):
    """The worst frame of an object.

    Attributes:
        clip: Its clip.
        take: What was predicted.
        what: Its id; None for joints.
        index: The frame.
        score: J, or the share of joints within 0.2; a fraction.
    """

    clip: Clip
    take: Take
    what: int | None
    index: int
    score: float


def moments(stage: Stage, folder: Path, each: int) -> Iterator[Moment]:
    """The worst objects of every clip, worst first, at their worst frame."""
    clips = [*stage.clips.values()]
    entry = stage.entry(str(folder), clips, _no_model)
    for clip in clips:
        take = stage.take(clip, entry)
        worst = [_worst(clip, take, what) for what in (clip.ids if not clip.joints else (None,))]
        yield from sorted((m for m in worst if m), key=lambda m: m.score)[:each]


def _no_model(name: str) -> object:
    raise InputError(f"{name}: no folder of predictions; make them with benchmarks/scores.py")


def _worst(clip: Clip, take: Take, what: int | None) -> Moment | None:
    scores: dict[int, float] = {}
    for index in clip.counted:
        if what is None:
            scores[index] = _near(clip, take, index)
        elif index > clip.born(what) and (counted(clip, index) == what).any():
            truth, given = counted(clip, index), take.labels[index]
            scores[index] = region_similarity(truth == what, given == what, truth == VOID)
    known = {index: score for index, score in scores.items() if np.isfinite(score)}
    if not known:
        return None
    index = min(known, key=lambda i: (known[i], i))
    return Moment(clip, take, what, index, known[index])


def _near(clip: Clip, take: Take, index: int) -> float:
    """The share of a frame's visible joints within 0.2, as PCK by box counts them."""
    true = {n: at for n, at in clip.joints[index].items() if n in joints(clip)}
    if not true:
        return np.nan
    nowhere = (np.inf, np.inf)
    given = [take.points[index].get(name, nowhere)[:2] for name in true]
    places = [np.array([*each], np.float64).T[..., None] for each in (true.values(), given)]
    errors = joint_errors(*places, np.ones((len(true), 1), dtype=bool))
    return float(np.mean(errors <= 0.2))


def facts(moment: Moment) -> list[str]:
    """What is measured, as the cells of a row from "moved" on; of masks alone."""
    clip, _, what, index, _ = moment
    if what is None:
        return ["", "", "", ""]
    now = counted(clip, index) == what
    scale = LINES / min(now.shape) / STRIDE  # pixels to cells
    before = counted(clip, index - 1) == what if index - 1 in clip.masks else np.zeros_like(now)
    moved = ""
    if before.any():
        moved = f"{scale * float(np.hypot(*(_middle(now) - _middle(before)))):.1f}"
    first = clip.truth(clip.born(what)) == what
    grew = f"{float(np.sqrt(now.sum() / first.sum())):.2f}" if first.any() else ""
    rim = float((now & ~binary_erosion(now)).sum())
    width = f"{scale * 2 * float(now.sum()) / rim:.1f}"
    given = moment.take.labels[index]
    missed = given[now & (given != what)]
    lost = float((missed == 0).sum()) / float(now.sum())
    other = float((missed != 0).sum()) / float(now.sum())
    extra = float(((given == what) & ~now & (counted(clip, index) != VOID)).sum()) / float(
        now.sum()
    )
    parts = [(lost, "to background"), (other, "to others"), (extra, "too much")]
    return [moved, grew, width, ", ".join(f"{100 * s:.0f} % {t}" for s, t in parts if s >= 0.1)]


def _middle(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.argwhere(mask).mean(0)
    return found


def draw(moment: Moment) -> Picture:
    """The first annotation, the truth at that moment, and what was made of it."""
    clip, take, what, index, _ = moment
    read, wide = pictures(clip), tile_width([""], 3)
    begin = clip.start if what is None else clip.born(what)
    if what is None:
        kept = joints(clip)
        told = [
            {n: (*clip.joints[i][n], 1.0) for n in kept if n in clip.joints[i]}
            for i in (begin, index)
        ]
        found = {n: at for n, at in take.points[index].items() if n in told[1]}
        tiles = [
            (draw_tile(read(i).rgb, None, each, wide), text)
            for i, each, text in (
                (begin, told[0], f"frame {begin}, given"),
                (index, told[1], f"frame {index}, truth"),
                (index, found, f"frame {index}, found"),
            )
        ]
        return draw_strips([Strip("", tiles)])
    table = ranks(clip)
    tiles = []
    for i, text in ((begin, "given"), (index, "truth")):
        shown = np.where(clip.truth(i) == what, table[what], 0).astype(np.uint8)
        tiles.append((draw_tile(read(i).rgb, shown, {}, wide), f"frame {i}, {text}"))
    truth, given = counted(clip, index), take.labels[index]
    alone = [np.where(each == what, 1, 0).astype(np.uint8) for each in (truth, given)]
    alone[0][truth == VOID] = VOID
    fate = outcome(alone[0], alone[1])
    part = window(fate > 0)
    close = tinted(read(index).rgb, fate)[part]
    size = (wide, max(1, round(close.shape[0] * wide / close.shape[1])))
    tiles.append((np.array(Image.fromarray(close).resize(size)), f"frame {index}, closer"))
    return draw_strips([Strip("", tiles)])


def main() -> None:
    """Prints the table; writes the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("predictions", type=Path, help="of one model, as scores.py keeps them")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--each", type=int, default=1, help="moments of a clip at most")
    options = parser.parse_args()
    found: list[Moment] = []
    try:
        for each in SETS:
            stage = Stage(each.benchmark, options.data / each.folder, points(options.data, each))
            found += moments(stage, options.predictions / each.benchmark, options.each)
    except InputError as error:
        raise SystemExit(f"failures: error: {error}") from None
    options.out.mkdir(parents=True, exist_ok=True)
    print("| " + " | ".join(HEAD) + " |")
    print("|---|---|---|---:|---:|---:|---:|---:|---|")
    for number, moment in enumerate(sorted(found, key=lambda m: m.score)[: options.count], 1):
        picture = Image.fromarray(draw(moment))
        picture.thumbnail((WIDE, WIDE))
        picture.save(options.out / f"{number:02}.jpg", quality=85)
        what = "joints" if moment.what is None else f"id {moment.what}"
        cells = [str(number), moment.clip.name, what, str(moment.index)]
        print("| " + " | ".join([*cells, f"{100 * moment.score:.0f}", *facts(moment)]) + " |")


if __name__ == "__main__":
    main()
