"""What runs in the background: one task after the other, with progress and cancelling."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from liir.errors import InputError

_log = logging.getLogger(__name__)
_NUMBERS = itertools.count(1)
_KEPT = 50  # finished tasks that are remembered
_WINDOW = 8.0  # seconds over which speed is measured

Status = Literal["waiting", "running", "done", "failed", "cancelled"]


class CancelledError(Exception):
    """Ends a task from within, as asked for."""


@dataclass
class Task:
    """One piece of work.

    Attributes:
        kind: What it does: "propagate", "adapt", "proxy".
        project: Of which project.
        run: The work itself; calls `tell` often.
        number: Tells tasks apart.
        status: How far it is.
        done: Units of work finished, such as frames.
        total: All of them; None if unknown.
        note: What it is at, in words.
        error: Why it failed.
        more: Whatever else there is to tell, such as a curve.
        leave: Whether a cancelled one is to leave things so that it can be gone on with.
    """

    kind: str
    project: str
    run: Callable[[Task], None] = field(repr=False)
    number: int = field(default_factory=lambda: next(_NUMBERS))
    status: Status = "waiting"
    done: int = 0
    total: int | None = None
    note: str = ""
    error: str = ""
    more: dict[str, Any] = field(default_factory=dict)
    leave: bool = False
    _cancelled: threading.Event = field(default_factory=threading.Event, repr=False)
    _times: deque[tuple[float, int]] = field(default_factory=deque, repr=False)

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.status in ("waiting", "running")

    def tell(self, done: int, total: int | None = None, note: str | None = None) -> None:
        """Says how far it is.

        Raises:
            CancelledError: It is to end.
        """
        if self._cancelled.is_set():
            raise CancelledError
        self.done, self.total = done, total
        self.note = self.note if note is None else note
        now = time.monotonic()
        self._times.append((now, done))
        while len(self._times) > 2 and now - self._times[0][0] > _WINDOW:
            self._times.popleft()

    def cancel(self) -> None:
        """Asks it to end; one that has not begun never will."""
        self._cancelled.set()
        if self.status == "waiting":
            self.status = "cancelled"

    @property
    def cancelled(self) -> bool:
        """Whether it has been asked to end."""
        return self._cancelled.is_set()

    @property
    def rate(self) -> float | None:
        """Units per second, of late."""
        if len(self._times) < 2:
            return None
        (begin, first), (end, last) = self._times[0], self._times[-1]
        return (last - first) / (end - begin) if end > begin and last > first else None

    def describe(self) -> dict[str, Any]:
        """What the page shows of it."""
        rate, left = self.rate, None
        if rate and self.total is not None and self.status == "running":
            left = max(0.0, self.total - self.done) / rate
        return {
            "id": self.number,
            "kind": self.kind,
            "project": self.project,
            "status": self.status,
            "done": self.done,
            "total": self.total,
            "rate": rate,
            "remaining": left,
            "note": self.note,
            "error": self.error,
            **self.more,
        }


class Queue:
    """Tasks in the order in which they came, in one thread.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._tasks: list[Task] = []
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def add(self, task: Task) -> Task:
        """Appends a task."""
        with self._changed:
            self._tasks.append(task)
            ended = [each for each in self._tasks if not each.active]
            for each in ended[:-_KEPT]:
                self._tasks.remove(each)
            self._changed.notify_all()
        return task

    def tasks(self, project: str | None = None) -> list[Task]:
        """All that are remembered, of a project if one is given; the oldest first."""
        with self._changed:
            return [t for t in self._tasks if project is None or t.project == project]

    def stop(self, wait: float = 10.0) -> None:
        """Ends the thread and what it is at."""
        with self._changed:
            self._stopped = True
            for task in self._tasks:
                task.leave = True
                task.cancel()
            self._changed.notify_all()
        self._thread.join(wait)

    @property
    def stopped(self) -> bool:
        """Whether the program is ending."""
        return self._stopped

    def _next(self) -> Task | None:
        with self._changed:
            while not self._stopped:
                for task in self._tasks:
                    if task.status == "waiting":
                        task.status = "running"
                        return task
                self._changed.wait()
        return None

    def _work(self) -> None:
        while (task := self._next()) is not None:
            try:
                task.run(task)
                task.status = "done"
            except CancelledError:
                task.status = "cancelled"
            except Exception as error:  # whatever happens to one, the next must run
                foreseen = isinstance(error, InputError | OSError)
                task.error = str(error) if foreseen else f"{type(error).__name__}: {error}"
                task.status = "failed"
                _log.warning("%s of %s: %s", task.kind, task.project, task.error)
                _log.debug("", exc_info=True)
