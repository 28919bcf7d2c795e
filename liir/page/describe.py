"""A project as the page is told of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from liir.page import adaptation
from liir.page.media import Clip
from liir.page.models import Models
from liir.page.project import Project
from liir.page.studio import Studio
from liir.page.wire import pack


def describe_project(studio: Studio, number: str) -> dict[str, Any]:
    """All of a project but its pictures."""
    project = studio.project(number)
    with project.lock:
        state, history = project.state, project.history
        confidence = project.confidence()
        tasks = [task.describe() for task in studio.tasks(number)]
        model = project.settings.model or studio.models.default
        own = studio.models.own(model, project.adapted if model == "adapted" else None)
        interrupted = None
        if project.plan is not None and not studio.busy(number):
            done = list(project.run.frames)
            interrupted = {"frame": max(done, default=project.plan.begin), "end": project.plan.end}
        return {
            "id": number,
            "revision": project.revision,
            "name": project.name,
            "clip": describe_clip(project.clip),
            "playable": project.clip.direct or project.proxy.is_file(),
            "media": "proxy" if project.proxy.is_file() else "source",
            "objects": [asdict(thing) for thing in state.things],
            "points": [asdict(point) for point in state.points],
            "annotated": {str(frame): marks.version for frame, marks in state.frames.items()},
            "settings": asdict(project.settings),
            "own": own,
            "undo": history.undoable,
            "redo": history.redoable,
            "tracked": {str(frame): number for frame, number in project.versions().items()},
            "labelled": ranges(project.labelled()),
            "confidence": {
                str(frame): {str(i): round(sure, 3) for i, sure in row.items()}
                for frame, row in confidence.items()
            },
            "doubtful": project.doubtful(),
            "stale": project.stale,
            "outdated": ranges(project.outdated()),
            "interrupted": interrupted,
            "adapted": project.adapted.is_file(),
            "choice": adaptation.candidate(project).is_file() and not studio.busy(number),
            "comparable": adaptation.after(project).is_dir(),
            "tasks": tasks[-12:],
        }


def describe_clip(clip: Clip) -> dict[str, Any]:
    """Size, length and rate."""
    return asdict(clip)


def describe_frame(project: Project, frame: int) -> dict[str, Any]:
    """What is to be seen on a frame of a project."""
    with project.lock:
        project.check_frame(frame)
        marks = project.state.marks(frame)
        labels = project.shown(frame)
        tracked = frame in project.labelled()
        return {
            "frame": frame,
            "version": marks.version,
            "source": "drawn" if not marks.empty else "tracked" if tracked else "none",
            "labels": pack(labels) if labels.any() else None,
            "points": {
                name: {"x": x, "y": y, "visible": seen, "confidence": sure}
                for name, (x, y, seen, sure) in project.places(frame).items()
            },
            "drawn": sorted(marks.points),
        }


def ranges(frames: set[int]) -> list[list[int]]:
    """Frame numbers as [first, last] of each gapless range."""
    ordered = np.array(sorted(frames), dtype=np.int64)
    if not ordered.size:
        return []
    breaks = np.flatnonzero(np.diff(ordered) > 1)
    firsts = ordered[np.concatenate([[0], breaks + 1])].tolist()
    lasts = ordered[np.concatenate([breaks, [ordered.size - 1]])].tolist()
    return [[first, last] for first, last in zip(firsts, lasts, strict=True)]


def describe_server(studio: Studio, version: str, upload: int) -> dict[str, Any]:
    """What the server is and offers."""
    models: Models = studio.models
    return {
        "version": version,
        "models": models.names,
        "model": models.default,
        "upload": upload,
    }
