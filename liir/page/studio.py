"""The projects of a server, and what it does with them in the background."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from liir.errors import InputError
from liir.files import writing
from liir.page.marks import History, State
from liir.page.media import Stills, examine, move_in, safe_name, write_proxy
from liir.page.models import Models
from liir.page.plans import Plan
from liir.page.project import FILE, Project
from liir.page.propagation import States, make_plan, propagate, settle
from liir.page.scribble import Features
from liir.page.work import CancelledError, Queue, Task

_log = logging.getLogger(__name__)
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class MissingError(Exception):
    """What was asked for is not there."""


class BusyError(Exception):
    """Something is under way that must end first."""


class Studio:
    """All projects below a folder; those asked for are kept open.

    Args:
        root: The folder; made if it is not there.
        models: The models.

    Raises:
        InputError: The folder cannot be made or written to.
    """

    def __init__(self, root: Path, models: Models) -> None:
        with writing(root):
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=root):
                pass
        self.root, self.models = root.resolve(), models
        self.stills, self.features = Stills(), Features()
        self.work, self.media = Queue("liir-work"), Queue("liir-media")
        self._open: dict[str, Project] = {}
        self._states: dict[str, States] = {}
        self._lock = threading.RLock()

    def close(self) -> None:
        """Ends what runs; it can be gone on with."""
        self.media.stop()
        self.work.stop()

    # --- Projects

    def overview(self) -> list[dict[str, Any]]:
        """Identity, name and size of each project, the latest first."""
        found = []
        for path in self.root.iterdir():
            if _ID.fullmatch(path.name) and (path / FILE).is_file() and not path.is_symlink():
                entry: dict[str, Any] = {"id": path.name, "name": path.name, "error": ""}
                entry["changed"] = (path / FILE).stat().st_mtime
                try:
                    project = self.project(path.name)
                    clip = project.clip
                    entry |= {"name": project.name, "frames": clip.length}
                    entry |= {"width": clip.width, "height": clip.height}
                    entry["annotated"] = len(project.state.frames)
                    entry["labelled"] = len(project.labelled())
                except (InputError, OSError, MissingError) as error:  # the others still open
                    entry["error"] = str(error)
                found.append(entry)
        return sorted(found, key=lambda entry: -entry["changed"])

    def project(self, number: str) -> Project:
        """The project of that identity.

        Raises:
            MissingError: There is none.
            InputError: It is damaged.
        """
        if not _ID.fullmatch(number):
            raise MissingError("there is no such project")
        with self._lock:
            folder = self.root / number
            if not (folder / FILE).is_file() or folder.is_symlink():
                self._open.pop(number, None)
                raise MissingError("there is no such project")
            if number not in self._open:
                self._open[number] = Project.read(folder)
            return self._open[number]

    def create(self, bring: Callable[[Path], Path], name: str, source: str = "") -> str:
        """Makes a project.

        Args:
            bring: Puts the video into a folder, and says where it is.
            name: Of the project.
            source: Where the video came from, if from this computer.

        Returns:
            Its identity.

        Raises:
            InputError: It is no video that can be used, or the disk is full; nothing is left.
        """
        with tempfile.TemporaryDirectory(dir=self.root, prefix=".new-") as place:
            folder = Path(place) / "project"
            inside = folder / "video"
            with writing(folder):
                inside.mkdir(parents=True)
            video = bring(inside)
            clip = examine(video)
            project = Project(folder, name, clip, source)
            project.history = History(State().with_thing()[0])  # one to paint at once
            with self._lock, writing(self.root):
                number, project.name = self._free(name)
                project.save()
                folder.rename(self.root / number)
        opened = self.project(number)
        if not clip.direct:
            self.make_proxy(opened)
        return number

    def from_disk(self, path: Path) -> str:
        """The project of a video on this computer, made if there is none yet.

        Raises:
            InputError: As `create`.
        """
        source = str(path.resolve())
        for entry in self.overview():
            if not entry["error"] and self.project(entry["id"]).source == source:
                return str(entry["id"])

        def bring(folder: Path) -> Path:
            target = folder / (safe_name(path.name) or "video")
            move_in(path, target)
            return target

        return self.create(bring, path.stem if path.is_file() else path.resolve().name, source)

    def delete(self, number: str) -> None:
        """Removes a project from the disk.

        Raises:
            MissingError: There is none.
            BusyError: Something of it is under way.
        """
        with self._lock:
            self._check_idle(number)
            if not _ID.fullmatch(number) or not (self.root / number / FILE).is_file():
                raise MissingError("there is no such project")
            self._open.pop(number, None)
            self._states.pop(number, None)
            # Renamed first: half a project must never pass for one.
            gone = Path(tempfile.mkdtemp(dir=self.root, prefix=".gone-"))
            (self.root / number).rename(gone / number)
        shutil.rmtree(gone, ignore_errors=True)

    def _free(self, name: str) -> tuple[str, str]:
        """An identity that no project has, and the name with the number that made it so."""
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "project"
        if not (self.root / plain).exists():
            return plain, name
        count = next(n for n in range(2, 10_000) if not (self.root / f"{plain}-{n}").exists())
        return f"{plain}-{count}", f"{name} {count}"

    # --- Tasks

    def tasks(self, number: str | None = None) -> list[Task]:
        """What is, or was, under way."""
        both = [*self.work.tasks(number), *self.media.tasks(number)]
        return sorted(both, key=lambda task: task.number)

    def cancel(self, number: int) -> Task:
        """Asks a task to end.

        Raises:
            MissingError: There is none of that number.
        """
        for task in self.tasks():
            if task.number == number:
                task.cancel()
                return task
        raise MissingError("there is no such task")

    def states(self, number: str) -> States:
        """The tracker's states of a project's last run."""
        return self._states.setdefault(number, States())

    def start(self, number: str, kind: str, run: Callable[[Task], None]) -> Task:
        """Appends a task of a project to the queue.

        Raises:
            BusyError: One of it is under way.
        """
        with self._lock:
            self._check_idle(number)
            return self.work.add(Task(kind, number, run))

    def propagate(self, number: str, mode: str, frame: int, last: int | None) -> Task:
        """Labels frames of a project.

        Raises:
            InputError: As `make_plan`.
            BusyError: One task of it is under way.
        """
        project = self.project(number)
        plan = make_plan(project, mode, frame, last)
        return self._propagate(project, number, plan, resume=False)

    def resume(self, number: str) -> Task:
        """Goes on with a run that was interrupted.

        Raises:
            MissingError: None was.
            BusyError: One task of it is under way.
        """
        project = self.project(number)
        if project.plan is None:
            raise MissingError("no run was interrupted")
        return self._propagate(project, number, project.plan, resume=True)

    def _propagate(self, project: Project, number: str, plan: Plan, resume: bool) -> Task:
        states = self.states(number)
        return self.start(
            number,
            "propagate",
            lambda task: propagate(project, self.models, states, plan, task, resume),
        )

    def settle(self, number: str) -> None:
        """Keeps what an interrupted run has labelled, and forgets the rest of it.

        Raises:
            BusyError: It is under way.
        """
        with self._lock:
            self._check_idle(number)
            settle(self.project(number))

    def make_proxy(self, project: Project) -> None:
        """Makes a video that browsers can play, in the background."""
        number = project.folder.name
        waiting = [task for task in self.media.tasks(number) if task.active]
        if waiting or project.proxy.is_file():
            return

        def run(task: Task) -> None:
            def tell(index: int) -> None:
                task.tell(index + 1, project.clip.length)

            write_proxy(project.video(), project.clip, project.proxy, tell)
            project.revision += 1

        with suppress(CancelledError):
            self.media.add(Task("proxy", number, run))

    def busy(self, number: str) -> bool:
        """Whether something of a project is under way."""
        return any(task.active for task in self.work.tasks(number))

    def _check_idle(self, number: str) -> None:
        if self.busy(number):
            raise BusyError("something is under way here: wait, or cancel it")
