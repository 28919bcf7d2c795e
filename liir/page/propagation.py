"""Labels through a project's video: which frames, from where, and into its results.

A run is `label_video` in a folder of its own, with the annotations read from the project's files as
`liir track` reads them, so that the masks are the same to the bit. Its frames take their place
among the results when it ends. A run that follows another need not compute again what lies before
the first change: states of the tracker are kept in memory for that.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch

from liir.annotations import Annotations
from liir.encoder import Model
from liir.errors import InputError
from liir.folder import describe
from liir.jobs import Job
from liir.labelling import Progress, label_video
from liir.page.models import Models
from liir.page.plans import Plan
from liir.page.project import Project
from liir.page.results import merge
from liir.page.work import CancelledError, Task
from liir.presets import TrackingConfig
from liir.tracking import Tracker
from liir.video import Video

_STATE_BYTES = 512 << 20  # of tracker states kept for a project
_STATE_EVERY = 8  # frames between two of them, at first


class States:
    """States of a tracker on its way through a video, thinned out to a budget."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[str, dict[str, Any]]] = {}
        self._every = _STATE_EVERY

    def keep(self, following: int, key: str, state: dict[str, Any]) -> None:
        """Keeps the state before frame `following`; `key` tells all that it depends on."""
        if following % self._every:
            return
        self._kept[following] = key, state
        while self._bytes() > _STATE_BYTES and len(self._kept) > 1:
            self._every *= 2
            self._kept = {f: s for f, s in self._kept.items() if f % self._every == 0}

    def latest(self, frame: int, keys: Mapping[int, str]) -> tuple[int, dict[str, Any]] | None:
        """The last state up to a frame whose key, by frame, is still right."""
        fit = [f for f, (key, _) in self._kept.items() if f <= frame and keys.get(f) == key]
        return (max(fit), self._kept[max(fit)][1]) if fit else None

    @property
    def frames(self) -> list[int]:
        """Frames that there is a state before."""
        return sorted(self._kept)

    def clear(self) -> None:
        """Forgets all."""
        self._kept.clear()

    def _bytes(self) -> int:
        tensors: dict[int, int] = {}  # neighbours share most of theirs
        for _, state in self._kept.values():
            for reference in state["memory"]["kept"]:
                for value in reference.values():
                    if isinstance(value, torch.Tensor):
                        tensors[value.data_ptr()] = value.nbytes
        return sum(tensors.values())


def make_plan(project: Project, mode: str, frame: int, last: int | None = None) -> Plan:
    """Which frames a run labels, and from which annotations.

    Args:
        project: Of which project.
        mode: "whole"; "forward" or "backward" from `frame`; "range" from `frame` to `last`.
        frame: Where from.
        last: The last frame of a range.

    Raises:
        InputError: Nothing is annotated that could say something about those frames.
    """
    length, given = project.clip.length, sorted(project.state.told)
    if not given:
        raise InputError("nothing is annotated yet: mark an object or a point on any frame")
    project.check_frame(frame)
    if mode == "backward":
        ahead = [f for f in given if f >= frame]
        if not ahead:
            raise InputError(f"no frame from {frame} on is annotated: annotate this one first")
        source = ahead[0]
        begin = max((f + 1 for f in given if f < source), default=0)
        if begin >= source:
            raise InputError(f"nothing lies between frame {source} and the annotation before it")
        return Plan(mode, begin, source + 1, begin, source + 1, (source,), source)
    begin, end = (0, length) if mode == "whole" else (frame, length)
    if mode == "range":
        last = project.check_frame(frame if last is None else last)
        if last < begin:
            raise InputError(f"the range ends (frame {last}) before it begins (frame {begin})")
        end = last + 1
    first = given[0]
    stop = max(end, first + 1)
    start = min(first, begin)
    used = tuple(f for f in given if start <= f < stop)
    return Plan(mode, begin, end, start, stop, used, first)


def propagate(
    project: Project, models: Models, states: States, plan: Plan, task: Task, resume: bool = False
) -> None:
    """Runs a plan, or goes on with one that was interrupted.

    Raises:
        InputError: The annotations or the video cannot be used.
        CancelledError: As asked for; what was labelled until then has been taken over.
    """
    task.tell(0, plan.end - plan.begin, "loading the model")
    model = model_of(project, models)
    config = replace(model.preset.tracking, **project.settings.changes())
    out = project.folder / "run"
    # What `liir track VIDEO --annotation PROJECT/annotations` would read.
    video, given = Job(project.video_path, (str(project.annotations_path),), out).read()
    given = {frame: each for frame, each in given.items() if frame in plan.annotations}
    keys = _keys(model, video, given, config, plan)
    tracker = Tracker(model, config)
    resume = resume and (not plan.skips or (out / "state.pt").is_file())
    if resume:
        keys = keys if plan.mode == "whole" else {}
    else:
        settle(project)  # what an interrupted run has left
        plan = _skipping(plan, project, states, keys, tracker)
        project.begin_run(plan)
    task.more["plan"] = asdict(plan)
    follow = _Follower(project, states, plan, task, tracker, keys)
    options: dict[str, Any] = {"start": plan.start, "stop": plan.stop, "tracker": tracker}
    try:
        try:
            label_video(
                model, video, given, out, config=config, overlay=False, resume=resume,
                progress=follow, **options,
            )  # fmt: skip
        except InputError:
            if not resume:
                raise
            # What was interrupted began with other annotations or settings: begin again.
            settle(project)
            plan = make_plan(project, plan.mode, plan.begin, plan.end - 1)
            return propagate(project, models, states, plan, task)
    except CancelledError:
        if not task.leave:
            settle(project)
        raise
    settle(project, finished=True)


def model_of(project: Project, models: Models) -> Model:
    """The model that a project has chosen."""
    name = project.settings.model or models.default
    if name == "adapted":
        if not project.adapted.is_file():
            raise InputError("the adapted model is gone: choose another")
        return models.get(name, project.adapted)
    return models.get(name)


def settle(project: Project, finished: bool = False) -> None:
    """Takes the frames of the run over into the results; the run is gone afterwards."""
    with project.lock:
        plan = project.plan
        if plan is None:
            return
        project.run.refresh()
        run, results = project.run.folder, project.results.folder
        everything = finished and plan.begin == plan.start == 0 and plan.stop == project.clip.length
        if everything:
            shutil.rmtree(results.path, ignore_errors=True)
            run.path.replace(results.path)
            project.results.refresh()
        else:
            frames = range(plan.begin, plan.end)
            merge(project.run, project.results, frames, project.size)
        project.follow(project.begun[0], _stale(project, plan, finished))
        project.drop_run()
        project.save()


def _stale(project: Project, plan: Plan, finished: bool) -> int | None:
    """The first frame that a run has left out of date; None if there is none."""
    stale = project.begun[1]
    if plan.mode == "backward" or plan.begin > (stale or 0):
        return stale  # not, or not from there on, what a run of the whole clip gives
    if plan.mode == "range" and (stale is None or stale >= plan.end):
        return stale
    done = [frame for frame in project.run.frames if plan.begin <= frame < plan.end]
    reached = plan.end if finished else max(done) + 1 if done else stale
    return None if reached == project.clip.length else reached


class _Follower:
    """What happens after each frame of a run: progress, and states for later runs."""

    def __init__(
        self,
        project: Project,
        states: States,
        plan: Plan,
        task: Task,
        tracker: Tracker,
        keys: dict[int, str],
    ) -> None:
        self.project, self.states, self.plan, self.task = project, states, plan, task
        self.tracker, self.keys = tracker, keys
        self.back = 0

    def __call__(self, state: Progress) -> None:
        plan = self.plan
        before = max(0, plan.first - plan.start)  # frames labelled backwards
        if not state.labelled:
            self.back += 1
            note = f"back to frame {state.index}"
            self.task.tell(self.back, plan.stop - plan.start, note)
            return
        following = state.index + 1
        if self.project.run.refresh():
            self.project.revision += 1
        if self.tracker.count and following in self.keys:
            self.states.keep(following, self.keys[following], self.tracker.state())
        done = max(before, following - plan.start)
        self.task.tell(done, plan.stop - plan.start, f"frame {state.index}")


def _keys(
    model: Model,
    video: Video,
    given: Annotations,
    config: TrackingConfig,
    plan: Plan,
) -> dict[int, str]:
    """What the tracker's state before a frame depends on, by frame; none for a way backwards."""
    if plan.mode == "backward":
        return {}
    told = describe(model, video, given, config, 0, None, False)
    marks = {f: told.pop(f"annotation of frame {f}") for f in given}
    model_key = repr(sorted(told.items()))
    keys, so_far = {}, model_key
    for frame in range(plan.stop + 1):
        keys[frame] = str(hash(so_far))
        if frame in marks:
            so_far += f"{frame}:{marks[frame]}"
    return {frame: key for frame, key in keys.items() if frame > plan.first}


def _skipping(
    plan: Plan, project: Project, states: States, keys: dict[int, str], tracker: Tracker
) -> Plan:
    """The plan without the frames that would come out as they are; the tracker put there.

    Frames before a state that is still right are as a whole run would leave them: states are kept
    of runs that leave no other frames before them. For the rest, `keys` is emptied, too.
    """
    labelled = project.results.frames
    gap = next((f for f in range(plan.stop) if f not in labelled), plan.stop)
    # If nothing has changed, and yet it is asked for: all of it.
    right = min(project.stale or 0, gap)
    if plan.mode == "whole":
        found = states.latest(right, keys)
    else:
        found = None if plan.mode == "backward" else states.latest(plan.begin, keys)
        if plan.mode != "forward" or right < plan.begin:
            states.clear()
            keys.clear()
    if found is None or found[0] <= plan.start:
        return plan
    start, state = found
    tracker.restore(state)
    return replace(plan, start=start, begin=max(plan.begin, start), first=start, skips=True)
