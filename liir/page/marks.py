"""What a person has drawn on the frames of a project: values that never change, and their undo.

Legend: H W pixels of a frame.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar

import numpy as np

from liir.errors import InputError
from liir.figures import colours
from liir.inputs import MAX_ID
from liir.labels import VOID, Labels, Size

T = TypeVar("T")

MOST_STEPS = 200
"""Actions that can be undone."""
MOST_POINTS = 200
# None is like those of the first objects, which points mostly lie on.
_POINT_COLOURS = (
    "#d0006f", "#b6f500", "#5b2be0", "#ff9d8a", "#00f0c8", "#7a4a12", "#e5b8ff", "#2f4b26",
)  # fmt: skip
NOTHING = "none"
"""The version of a frame that nobody has annotated."""


@dataclass(frozen=True)
class Thing:
    """An object of the project.

    Attributes:
        id: Its value in label images.
        name: What a person calls it.
        colour: `#rrggbb`.
        hidden: Whether the page leaves it out of the picture.
    """

    id: int
    name: str
    colour: str
    hidden: bool = False


@dataclass(frozen=True)
class Point:
    """A keypoint of the project; attributes as those of `Thing`."""

    name: str
    colour: str
    hidden: bool = False


@dataclass(frozen=True)
class Place:
    """Where a keypoint is in a frame, in pixels, and whether it is seen."""

    x: float
    y: float
    visible: bool = True


@dataclass(frozen=True)
class Marks:
    """The annotation of one frame.

    Attributes:
        packed: The label image (H, W) uint8, compressed; None for points alone.
        ids: The objects in it.
        absent: Objects said not to be in the frame.
        points: Keypoints by name.
    """

    packed: bytes | None = None
    ids: frozenset[int] = frozenset()
    absent: frozenset[int] = frozenset()
    points: Mapping[str, Place] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        labels: Labels | None,
        absent: frozenset[int] = frozenset(),
        points: Mapping[str, Place] | None = None,
    ) -> Self:
        """Marks of a label image (H, W) uint8; one without an object counts as none."""
        present = set() if labels is None else set(np.unique(labels).tolist())
        ids = frozenset(present - {0, VOID})
        packed = zlib.compress(labels.tobytes(), 1) if labels is not None and ids else None
        return cls(packed, ids, absent - ids, dict(points or {}))

    def labels(self, size: Size) -> Labels:
        """The label image, (H, W) uint8; all zero where there is none."""
        if self.packed is None:
            return np.zeros(size, np.uint8)
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(size).copy()

    @property
    def empty(self) -> bool:
        """Whether it says nothing."""
        return self.packed is None and not self.absent and not self.points

    @property
    def version(self) -> str:
        """The same for the same marks, also after a restart."""
        if self.empty:
            return NOTHING
        points = [[n, p.x, p.y, p.visible] for n, p in sorted(self.points.items())]
        told = json.dumps([sorted(self.absent), points]).encode()
        return hashlib.sha256((self.packed or b"") + told).hexdigest()[:12]


Told = tuple[bytes | None, frozenset[int], dict[str, tuple[float, float]]]
"""What a frame tells the tracker: packed labels, objects that are gone, points that are seen."""


@dataclass(frozen=True)
class State:
    """All that undo goes back over.

    Attributes:
        things: Objects, in the order of their list.
        points: Keypoints, in the order of their list.
        frames: Frame number to its marks; none of them empty.
        alias: Ids that tracked labels may still hold, to what they have become: 0 if deleted.
        called: Names that tracked points may still have, to what they are called now.
    """

    things: tuple[Thing, ...] = ()
    points: tuple[Point, ...] = ()
    frames: Mapping[int, Marks] = field(default_factory=dict)
    alias: Mapping[int, int] = field(default_factory=dict)
    called: Mapping[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> set[int]:
        """Ids of the objects."""
        return {thing.id for thing in self.things}

    @property
    def painted(self) -> set[int]:
        """Ids that some frame shows."""
        return {number for marks in self.frames.values() for number in marks.ids}

    @property
    def names(self) -> list[str]:
        """Names of the keypoints."""
        return [point.name for point in self.points]

    @property
    def told(self) -> dict[int, Told]:
        """What the frames tell the tracker; those that tell it nothing are left out."""
        painted, found = self.painted, {}
        for frame, marks in self.frames.items():
            seen = {name: (p.x, p.y) for name, p in marks.points.items() if p.visible}
            told = marks.packed, marks.absent & painted, seen
            if any(told):
                found[frame] = told
        return found

    def first_change(self, before: Self) -> int | None:
        """The first frame that tells the tracker something else than before; None if none does."""
        old, new = before.told, self.told
        for frame, (packed, absent, seen) in old.items():
            old[frame] = packed, absent, self.renamed(seen)
        changed = [frame for frame in {*old, *new} if old.get(frame) != new.get(frame)]
        return min(changed, default=None)

    def renamed(self, places: Mapping[str, T]) -> dict[str, T]:
        """Tracked points of a frame by what they are called now; deleted ones left out.

        Where a name has gone to another point since, a frame that has that point's own name, too,
        was labelled after that.
        """
        names, found = self.names, {}
        for name, place in places.items():
            now = self.called.get(name, name)
            now = name if now in places else now
            if now in names:
                found[now] = place
        return found

    def after(self, before: Self) -> Self:
        """As it is to be once undo has led here from another state.

        Names of that are known, and what it hid is hidden.
        """
        names = self.names
        back = {n: o for o, n in before.called.items() if o in names and n not in names}
        hidden: dict[int | str, bool] = {thing.id: thing.hidden for thing in before.things}
        hidden |= {point.name: point.hidden for point in before.points}
        return replace(
            self,
            things=tuple(replace(t, hidden=hidden.get(t.id, t.hidden)) for t in self.things),
            points=tuple(replace(p, hidden=hidden.get(p.name, p.hidden)) for p in self.points),
            called={**back, **self.called},
        )

    def marks(self, frame: int) -> Marks:
        """Those of a frame, empty ones if there are none."""
        return self.frames.get(frame, Marks())

    def marked(self, frame: int, marks: Marks) -> Self:
        """With other marks of a frame."""
        frames = {**self.frames, frame: marks}
        if marks.empty:
            del frames[frame]
        return replace(self, frames=dict(sorted(frames.items())))

    def with_thing(self, name: str = "", number: int | None = None) -> tuple[Self, Thing]:
        """With one object more.

        Raises:
            InputError: There are as many as there can be, or the id is taken.
        """
        taken = self.ids | set(self.alias)
        if number is None:
            number = next((n for n in range(1, MAX_ID + 1) if n not in taken), None)
            number = number or next((n for n in range(1, MAX_ID + 1) if n not in self.ids), None)
        if number is None or number in self.ids:
            raise InputError(f"there cannot be more than {MAX_ID} objects: delete one")
        red, green, blue = (int(value) for value in colours()[number])
        thing = Thing(number, name or f"object {number}", f"#{red:02x}{green:02x}{blue:02x}")
        things = tuple(sorted((*self.things, thing), key=lambda thing: thing.id))
        alias = {old: new for old, new in self.alias.items() if old != number}
        return replace(self, things=things, alias=alias), thing

    def without_thing(self, number: int, into: int = 0) -> Self:
        """Without an object; what was painted as it becomes `into`, 0 for background.

        Raises:
            InputError: There is no such object.
        """
        if number not in self.ids or (into and into not in self.ids) or number == into:
            raise InputError(f"there is no object {number if number not in self.ids else into}")
        frames = {frame: _recoloured(marks, number, into) for frame, marks in self.frames.items()}
        alias = {old: into if new == number else new for old, new in self.alias.items()}
        return replace(
            self,
            things=tuple(thing for thing in self.things if thing.id != number),
            frames={frame: marks for frame, marks in frames.items() if not marks.empty},
            alias={**alias, number: into},
        )

    def with_point(self, name: str) -> Self:
        """With one keypoint more.

        Raises:
            InputError: The name is taken, or there are too many.
        """
        if name in self.names:
            raise InputError(f"there is a point {name!r} already: give another name")
        if len(self.points) >= MOST_POINTS:
            raise InputError(f"there cannot be more than {MOST_POINTS} points: delete one")
        point = Point(name, _POINT_COLOURS[len(self.points) % len(_POINT_COLOURS)])
        return replace(self, points=(*self.points, point))

    def renamed_point(self, name: str, new: str | None) -> Self:
        """With a keypoint called otherwise, in all frames; None deletes it.

        Raises:
            InputError: There is no such point, or the new name is taken.
        """
        if name not in self.names:
            raise InputError(f"there is no point {name!r}")
        if new is not None and new != name and new in self.names:
            raise InputError(f"there is a point {new!r} already: give another name")
        kept = [p if p.name != name else replace(p, name=new or "") for p in self.points]
        frames = {}
        for frame, marks in self.frames.items():
            places = {new if n == name else n: place for n, place in marks.points.items()}
            frames[frame] = replace(marks, points={n: p for n, p in places.items() if n})
        called = {o: new if n == name else n for o, n in {**self.called, name: name}.items()}
        return replace(
            self,
            points=tuple(point for point in kept if point.name),
            frames={frame: marks for frame, marks in frames.items() if not marks.empty},
            called={o: n for o, n in called.items() if n and n != o},
        )


def _recoloured(marks: Marks, number: int, into: int) -> Marks:
    """With an object's pixels given to another, or to the background."""
    absent = marks.absent - {number}
    if number not in marks.ids or marks.packed is None:
        return replace(marks, absent=absent)
    labels = np.frombuffer(zlib.decompress(marks.packed), np.uint8).copy()
    labels[labels == number] = into
    return Marks.of(labels, absent, marks.points)


class History:
    """States that have been, one of them the current one.

    Args:
        state: The first.
    """

    def __init__(self, state: State) -> None:
        self._states, self._at = [state], 0

    @property
    def state(self) -> State:
        """The current one."""
        return self._states[self._at]

    @property
    def undoable(self) -> int:
        """Steps that can be gone back."""
        return self._at

    @property
    def redoable(self) -> int:
        """Steps that can be gone forth again."""
        return len(self._states) - 1 - self._at

    def push(self, state: State) -> None:
        """Makes a state the current one; those that were undone are gone."""
        self._states[self._at + 1 :] = [state]
        del self._states[: -MOST_STEPS - 1]
        self._at = len(self._states) - 1

    def amend(self, state: State) -> None:
        """Puts a state in the place of the current one, as no step of its own."""
        self._states[self._at] = state

    def moved(self, steps: int) -> State:
        """The state some steps on; it becomes the current one.

        Raises:
            InputError: There is none.
        """
        if not 0 <= self._at + steps < len(self._states):
            raise InputError(f"there is nothing to {'undo' if steps < 0 else 'redo'}")
        self._at += steps
        return self.state
