"""Adapting features to a project's own video, and choosing between before and after.

While a person has not chosen, `PROJECT/candidate.safetensors` holds the new weights and
`PROJECT/after/` the labels that they give, as `liir track` writes them.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from liir.errors import InputError
from liir.jobs import Job
from liir.labelling import Progress, label_video
from liir.labels import Labels
from liir.learning import adapting
from liir.learning.trainer import Progress as Step
from liir.page.project import Project
from liir.page.propagation import make_plan, model_of, propagate
from liir.page.results import Results
from liir.page.studio import BusyError, MissingError, Studio
from liir.page.work import Task

_CURVE = 120  # points of the learning curve that the page is told of


def candidate(project: Project) -> Path:
    """The weights that wait for a choice."""
    return project.folder / "candidate.safetensors"


def after(project: Project) -> Path:
    """The labels that they give."""
    return project.folder / "after"


def start(studio: Studio, number: str, minutes: float) -> Task:
    """Appends the task: train for some minutes, then label with the new features, too.

    Raises:
        BusyError: Something of the project is under way, or a choice is open.
    """
    project = studio.project(number)
    if candidate(project).is_file():
        raise BusyError("choose between before and after first")
    return studio.start(number, "adapt", lambda task: _adapt(studio, number, minutes, task))


def compare(project: Project, frame: int) -> tuple[Labels, Labels]:
    """The label images (H, W) of a frame before and after.

    Raises:
        MissingError: There is nothing to compare.
    """
    if not after(project).is_dir():
        raise MissingError("there is nothing to compare")
    results = Results(after(project), project.files)
    results.refresh()
    project.check_frame(frame)
    labels = results.labels(frame, project.size)
    return project.shown(frame), np.zeros(project.size, np.uint8) if labels is None else labels


def keep(studio: Studio, number: str, which: str) -> None:
    """Keeps the features and labels from "before" or "after"; the others are gone.

    Raises:
        MissingError: There is no choice to make.
        BusyError: Something is under way.
    """
    project = studio.project(number)
    with project.lock:
        if studio.busy(number):
            raise BusyError("something is under way here: wait, or cancel it")
        if not candidate(project).is_file():
            raise MissingError("nothing has been adapted")
        if which == "after":
            candidate(project).replace(project.adapted)
            project.settings = replace(project.settings, model="adapted")
            if after(project).is_dir():
                shutil.rmtree(project.results.folder.path, ignore_errors=True)
                after(project).rename(project.results.folder.path)
                project.results.refresh()
                project.follow(project.state, None)
        _discard(project)
        project.revision += 1
        project.save()


def _discard(project: Project) -> None:
    candidate(project).unlink(missing_ok=True)
    shutil.rmtree(after(project), ignore_errors=True)


def _adapt(studio: Studio, number: str, minutes: float, task: Task) -> None:
    project = studio.project(number)
    name = project.settings.model or studio.models.default
    source: str | Path = project.adapted if name == "adapted" else studio.models.source(name)
    begun, total = time.monotonic(), max(1, round(60 * minutes))
    losses: list[float] = []

    def learning(step: Step) -> None:
        losses.append(step.loss)
        task.more["curve"] = _curve(losses)
        # Time before the first step is not of the budget.
        spent = min(total, round(time.monotonic() - begun))
        task.tell(spent, total, f"learning, step {step.step}")

    task.more["unit"] = "seconds"
    task.tell(0, total, "looking through the video")
    try:
        adapting.adapt(
            [project.video_path],
            source,
            candidate(project),
            minutes=minutes,
            workers=0,
            progress=learning,
            indexing=lambda done, videos: task.tell(0, total, "looking through the video"),
        )
        task.more["unit"] = "frames"
        if project.state.frames:
            _label(studio, number, task)
    except BaseException:
        _discard(project)
        raise
    project.revision += 1


def _label(studio: Studio, number: str, task: Task) -> None:
    """The labels before, where they are missing or out of date, and those after."""
    project, models = studio.project(number), studio.models
    with suppress(InputError):  # nothing to label: the features are all there is
        plan = make_plan(project, "whole", 0)
        if project.stale is not None or len(project.labelled()) < project.clip.length:
            propagate(project, models, studio.states(number), plan, task)
        before = model_of(project, models)
        config = replace(before.preset.tracking, **project.settings.changes())
        model = models.get("candidate", candidate(project))
        out = after(project)
        video, given = Job(project.video_path, (str(project.annotations_path),), out).read()

        def progress(state: Progress) -> None:
            task.tell(state.done, project.clip.length, "labelling with the new features")

        label_video(model, video, given, out, config=config, overlay=False, progress=progress)


def _curve(losses: list[float]) -> list[float]:
    """Means of equal parts of a run, so that noise does not hide where it goes."""
    parts = np.array_split(np.array(losses), min(len(losses), _CURVE))
    return [round(float(part.mean()), 5) for part in parts]
