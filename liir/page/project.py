"""A project: a video, what was drawn on it, and the labels that travelled from there.

    PROJECT/project.json   names, colours, settings
    PROJECT/video/         the video, or a folder of images
    PROJECT/annotations/   what was drawn (see `liir.page.store`)
    PROJECT/results/       labels, as `liir track` writes them
    PROJECT/run/           those of the run under way; run.json says which it is

Legend: H W pixels of a frame.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from liir.errors import InputError
from liir.folder import write_file
from liir.inputs import read_json
from liir.labels import VOID, Labels, Size
from liir.page.marks import History, Marks, Place, State
from liir.page.media import Clip
from liir.page.plans import Plan, Settings
from liir.page.results import Results, Tracked, doubtful
from liir.page.store import describe_state, read_state, write_state
from liir.video import Video, open_video

FILE = "project.json"


class StaleError(Exception):
    """Somebody else has changed what this was to change."""


@dataclass
class Project:
    """One project, open; its methods may be called from any thread.

    Args:
        folder: Where it lies.
        name: What a person calls it.
        clip: Its video, as `examine` found it.
        source: Where the video came from, if from this computer.
    """

    folder: Path
    name: str
    clip: Clip
    source: str = ""
    settings: Settings = field(default_factory=Settings)
    stale: int | None = None
    created: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.revision = time.time_ns() // 1000
        video = self.video()
        self.files, self.stems = video.files, video.stems
        self.results = Results(self.folder / "results", self.files)
        self.run = Results(self.folder / "run", self.files)
        self.plan: Plan | None = None
        self.history = History(State())
        self.follow(self.state, self.stale)

    # --- Disk

    @classmethod
    def read(cls, folder: Path) -> Project:
        """Opens what lies in a folder.

        Raises:
            InputError: It is no project, or damaged.
        """
        known = read_json(folder / FILE)
        try:
            assert isinstance(known, dict)
            names = {each.name for each in fields(Settings)}
            settings = Settings(**{k: v for k, v in known["settings"].items() if k in names})
            project = cls(
                folder=folder,
                name=str(known["name"]),
                clip=Clip(**known["clip"]),
                source=str(known.get("source", "")),
                settings=settings,
                stale=known.get("stale"),
                created=float(known.get("created", 0)),
            )
            state = read_state(project.annotations_path, known, project.size, project.stems)
        except InputError:
            raise
        except (AssertionError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{folder / FILE}: is damaged ({error})") from None
        project.history = History(state)
        project.follow(state, project.stale)
        project.results.refresh()
        if (folder / "run.json").is_file():
            try:
                told = read_json(folder / "run.json")
                assert isinstance(told, dict)
                project.plan = Plan(**{**told, "annotations": tuple(told["annotations"])})
                project.run.refresh()
            except (InputError, AssertionError, LookupError, TypeError):
                project.drop_run()
        else:  # killed while it was forgotten
            shutil.rmtree(folder / "run", ignore_errors=True)
            project.run.refresh()
        return project

    def save(self) -> None:
        """Writes project.json.

        Raises:
            InputError: It cannot be written.
        """
        known = {
            "name": self.name,
            "clip": asdict(self.clip),
            "source": self.source,
            "settings": asdict(self.settings),
            "stale": self.stale,
            "created": self.created,
            **describe_state(self.state),
        }
        write_file(self.folder / FILE, json.dumps(known, indent=1).encode())

    @property
    def video_path(self) -> Path:
        """The video: the one thing in its folder.

        Raises:
            InputError: It is gone, or leads out of the project.
        """
        inside = self.folder / "video"
        found = list(inside.iterdir()) if inside.is_dir() else []
        found = [path for path in found if path.name[0] != "."]
        if len(found) != 1 or found[0].is_symlink() or inside.is_symlink():
            raise InputError(f"{inside}: must hold the project's video and nothing else")
        return found[0]

    @property
    def annotations_path(self) -> Path:
        """The folder that `liir track --annotation` takes."""
        return self.folder / "annotations"

    @property
    def proxy(self) -> Path:
        """The video for browsers, where they cannot play the source."""
        return self.folder / "proxy.mp4"

    @property
    def adapted(self) -> Path:
        """Weights adapted to this project."""
        return self.folder / "adapted.safetensors"

    @property
    def size(self) -> Size:
        """(H, W)."""
        return self.clip.height, self.clip.width

    def video(self) -> Video:
        """The video, opened anew: each reader goes its own way."""
        return open_video(self.video_path)

    def frame_name(self, index: int) -> str:
        """What the files of a frame are called."""
        return self.results.folder.name(index)

    def check_frame(self, index: int) -> int:
        """The frame number, if there is such a frame; else InputError."""
        if not 0 <= index < self.clip.length:
            raise InputError(f"there is no frame {index}: there are 0 to {self.clip.length - 1}")
        return index

    # --- What was drawn

    @property
    def state(self) -> State:
        """What was drawn, as of now."""
        return self.history.state

    def change(self, state: State, keep: bool = True) -> None:
        """Makes another state the current one, on disk too.

        Labels from the first frame on that tells the tracker something else are stale from now.

        Args:
            state: The new one.
            keep: Whether it is a step that undo goes back over.
        """
        with self.lock:
            old = self.state
            write_state(self.annotations_path, old, state, self.size, self.frame_name)
            (self.history.push if keep else self.history.amend)(state)
            self._outdate()

    def step(self, count: int) -> None:
        """Undoes (-1) or does again (1).

        Raises:
            InputError: There is nothing to.
        """
        with self.lock:
            old = self.state
            new = self.history.moved(count).after(old)
            self.history.amend(new)
            write_state(self.annotations_path, old, new, self.size, self.frame_name)
            self._outdate()

    def follow(self, state: State, stale: int | None) -> None:
        """Notes what the results follow from.

        Args:
            state: What was drawn then.
            stale: The frame from which on they follow from something earlier still; None: all do.
        """
        self.basis = self.begun = state, stale
        self.stale = self._since(self.basis)

    def _since(self, basis: tuple[State, int | None]) -> int | None:
        """The frame from which on labels that followed from something else do so no more."""
        before, stale = basis
        frame = self.state.first_change(before)
        if frame is None or not (self.results.frames or self.run.frames):
            return stale
        # What lies before the first annotation comes from it, backwards.
        frame = 0 if frame <= min(self.state.told, default=frame) else frame
        return frame if stale is None else min(stale, frame)

    def _outdate(self) -> None:
        self.stale = self._since(self.basis)
        self.revision += 1
        self.save()

    def paint(self, frame: int, labels: Labels, version: str | None) -> Marks:
        """Sets the label image (H, W) of a frame.

        Args:
            frame: Which.
            labels: All of it, tracked objects too.
            version: That of the marks which the painter saw; None: any.

        Raises:
            InputError: It holds an object that there is not.
            StaleError: The frame has other marks by now.
        """
        with self.lock:
            before = self.state.marks(self.check_frame(frame))
            self._check_version(before, version)
            present = set(np.unique(labels).tolist()) - {0, VOID}
            if unknown := present - self.state.ids:
                raise InputError(f"there is no object {min(unknown)}")
            shown = set(np.unique(self.shown(frame)).tolist()) - {0, VOID}
            absent = (before.absent | shown) - present
            marks = Marks.of(labels, frozenset(absent & self.state.ids), before.points)
            self.change(self.state.marked(frame, marks))
            return marks

    def place(self, frame: int, places: Mapping[str, Place | None], version: str | None) -> Marks:
        """Sets some keypoints of a frame; None takes one away.

        Raises:
            InputError: There is no such point, or it lies outside.
            StaleError: The frame has other marks by now.
        """
        with self.lock:
            before = self.state.marks(self.check_frame(frame))
            self._check_version(before, version)
            points = dict(before.points)
            for name, place in places.items():
                if all(point.name != name for point in self.state.points):
                    raise InputError(f"there is no point {name!r}")
                points.pop(name, None)
                if place is not None:
                    x, y = round(place.x, 2), round(place.y, 2)
                    if not (0 <= x <= self.clip.width and 0 <= y <= self.clip.height):
                        raise InputError(f"point {name!r} lies outside of the frame")
                    points[name] = Place(x, y, place.visible)
            marks = replace(before, points=points)
            self.change(self.state.marked(frame, marks))
            return marks

    def _check_version(self, marks: Marks, version: str | None) -> None:
        if version is not None and version != marks.version:
            raise StaleError("this frame was changed elsewhere")

    # --- What is seen

    def layer(self, frame: int) -> Results:
        """Where a frame's tracked labels lie: in the run under way, or in the results."""
        plan = self.plan
        if plan is not None and plan.begin <= frame < plan.end and frame in self.run.frames:
            return self.run
        return self.results

    def tracked(self, frame: int) -> Labels | None:
        """The tracked label image (H, W) of a frame, deleted objects left out."""
        labels = self.layer(frame).labels(frame, self.size)
        return None if labels is None else self._renamed(labels)

    def shown(self, frame: int) -> Labels:
        """The label image (H, W) of a frame: what was drawn, over what was tracked."""
        marks = self.state.marks(self.check_frame(frame))
        tracked = self.tracked(frame)
        labels = marks.labels(self.size)
        if tracked is None:
            return labels
        if marks.packed is None and not marks.absent:
            return tracked
        others = ~np.isin(tracked, (0, *marks.ids, *marks.absent))
        return np.where((labels == 0) & others, tracked, labels).astype(np.uint8)

    def _renamed(self, labels: Labels) -> Labels:
        table = np.arange(256, dtype=np.uint8)
        for old in np.unique(labels).tolist():
            if old not in (0, VOID) and old not in self.state.ids:
                table[old] = self.state.alias.get(old, 0)
        return table[labels]

    def places(self, frame: int) -> dict[str, Tracked]:
        """Keypoints of a frame: those that were drawn, and the tracked ones."""
        found = self.state.renamed(self.layer(frame).points.get(frame, {}))
        for name, place in self.state.marks(frame).points.items():
            found[name] = place.x, place.y, place.visible, 1.0
        return found

    def confidence(self) -> dict[int, dict[int, float]]:
        """Frame to object to confidence, of the objects there are."""
        found: dict[int, dict[int, float]] = {}
        plan, ids = self.plan, self.state.ids
        told = dict(self.results.confidence)
        if plan is not None:
            run = self.run.confidence
            told |= {f: run[f] for f in list(run) if plan.begin <= f < plan.end}
        for frame, row in sorted(told.items()):
            here: dict[int, float] = {}
            for number, sure in list(row.items()):
                now = number if number in ids else self.state.alias.get(number, 0)
                if now:
                    here[now] = max(sure, here.get(now, 0.0))
            found[frame] = here
        return found

    def labelled(self) -> set[int]:
        """Frames that have tracked labels."""
        plan = self.plan
        run = set() if plan is None else {f for f in self.run.frames if plan.begin <= f < plan.end}
        return self.results.frames | run

    def outdated(self) -> set[int]:
        """Frames whose labels are from before a change of what was drawn."""
        if self.stale is None:
            return set()
        changed = self._since((self.begun[0], None))  # since the run under way has begun
        end = self.clip.length if changed is None else changed
        run = set() if self.plan is None else set(range(self.plan.begin, self.plan.end))
        run &= {frame for frame in self.run.frames if frame < end}
        return {frame for frame in self.labelled() if frame >= self.stale} - run

    def versions(self) -> dict[int, int]:
        """Frame to the version of its tracked labels."""
        told, run, labelled = dict(self.results.versions), self.run.versions, self.labelled()
        if self.plan is not None:
            told |= {f: run[f] for f in list(run) if self.plan.begin <= f < self.plan.end}
        return {frame: told[frame] for frame in sorted(told) if frame in labelled}

    def doubtful(self) -> list[int]:
        """The frames most worth a correction; none while a run is still changing them."""
        return [] if self.plan is not None else doubtful(self.confidence(), self.state.frames)

    # --- The run under way

    def begin_run(self, plan: Plan) -> None:
        """Writes down which run it is."""
        with self.lock:
            self.plan, self.begun = plan, (self.state, self.stale)
            write_file(self.folder / "run.json", json.dumps(asdict(plan)).encode())
            self.run.refresh()
            self.revision += 1

    def drop_run(self) -> None:
        """Forgets the run and what it wrote."""
        with self.lock:
            (self.folder / "run.json").unlink(missing_ok=True)
            shutil.rmtree(self.folder / "run", ignore_errors=True)
            self.plan = None
            self.run.refresh()
            self.revision += 1
