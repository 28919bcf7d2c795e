"""The job of `liir track` for one video: its labels as files in a folder.

An interrupted job leaves what was finished in valid files, and gone on with gives the same labels
as if it had never stopped: the tracker's state is stored beside them now and then.
"""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from liir.annotations import Annotation
from liir.encoder import Model
from liir.export import (
    CocoWriter,
    ConfidenceWriter,
    PointWriter,
    write_label_png,
    write_probability_png,
)
from liir.figures import (
    LONGEST,
    SHEET_WIDTH,
    Points,
    contact_sheet,
    draw_overlay,
    fit,
    legible_scale,
)
from liir.folder import Folder, describe, write_file
from liir.presets import TrackingConfig
from liir.result import Result
from liir.threads import background_thread
from liir.tracking import Tracker, track
from liir.video import Frame, Video, VideoWriter, open_video

SAVE_SECONDS = 60.0  # between two savings of the tracker's state
SHEET_FRAMES = 12
_AHEAD = 1  # frames tracked before their files are written; each holds 7 MiB at 480p, if those wait


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        index: The frame labelled last.
        done: Frames that need no more work, those of earlier runs and broken ones included.
        total: All frames asked for; None where only decoding would tell.
        labelled: Frames labelled by this run; 0 while those before the first annotation are
            gone through backwards.
        seconds: Time that this run has taken.
    """

    index: int
    done: int
    total: int | None
    labelled: int
    seconds: float


@dataclass(frozen=True)
class Summary:
    """What a job has done.

    Attributes:
        frames: Frames whose labels lie in the folder.
        labelled: Those that this run added; 0 where the job was finished before.
        seconds: Time that this run took.
        skipped: Frames that failed to decode.
        paths: Files and folders written.
    """

    frames: int
    labelled: int
    seconds: float
    skipped: tuple[int, ...]
    paths: tuple[Path, ...]

    @property
    def rate(self) -> float:
        """Frames labelled per second, all included."""
        return self.labelled / self.seconds if self.seconds else 0.0


def label_video(
    model: Model,
    video: Video | str | Path,
    annotations: Mapping[int, Annotation],
    out: str | Path,
    *,
    config: TrackingConfig | None = None,
    start: int = 0,
    stop: int | None = None,
    soft: bool = False,
    overlay: bool = True,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
    tracker: Tracker | None = None,
) -> Summary:
    """Labels a video into a folder.

    Written are `masks/` (palette PNGs, named by frame number or, for a folder of images, as they
    are), `labels.json` (COCO) and `confidence.csv` where an object is annotated, `points.csv`
    where a keypoint is, `overlay.mp4` and `sheet.png`. Files that are not liir's stay as they are.

    Args:
        model: What `liir.load` returned.
        video: The video.
        annotations: Frame number to what is known of that frame.
        out: The folder; made if it is not there.
        config: Tracking settings; default the model's own.
        start: First frame to label.
        stop: Frame to stop before; None for the end.
        soft: Write each object's probability too, as `soft/OBJECT/00000.png`.
        overlay: Write `overlay.mp4`.
        resume: Go on with the job that was interrupted there, if there is one.
        force: Start over. What lies there goes once the first frame has been labelled.
        progress: Called after each frame.
        tracker: What goes forwards, of the same model and settings; a new one if None. One that
            has labelled the frames before `start` goes on from there, as in `track`.

    Raises:
        InputError: As `track`; or the folder holds results, those of another job, or cannot be
            written. This and any other exception, `KeyboardInterrupt` too, carries a note that
            says what was finished.
    """
    video = video if isinstance(video, Video) else open_video(video)
    config = config or model.preset.tracking
    folder = Folder(Path(out), video.files, video.path)
    job = describe(model, video, annotations, config, start, stop, soft)
    earlier = folder.admit(job, resume, force)
    if earlier.get("finished"):
        return Summary(earlier["frames"], 0, 0.0, tuple(earlier["skipped"]), folder.present())
    clock = time.monotonic()
    going_on = tracker.state() if tracker is not None and tracker.count else None
    tracker = tracker or Tracker(model, config)
    begin = folder.restore(tracker) if earlier else None
    first = start if begin is None else begin
    left = annotations
    if begin is not None or going_on is not None:
        left = {f: given for f, given in annotations.items() if f >= first}
    total = _total(video, start, stop)

    def tell(index: int, done: int = 0, labelled: int = 0) -> None:
        if progress is not None:
            progress(Progress(index, done, total, labelled, time.monotonic() - clock))

    results: Iterator[Result] = track(
        model,
        video,
        left,
        config=config,
        start=first,
        stop=stop,
        tracker=tracker,
        backwards=tell,
    )
    with folder.writable():
        if begin is None:
            # Nothing is replaced before there is something to replace it with.
            results = chain([next(results)], results)
            folder.clear()
            if going_on is not None:  # nothing could be gone on with, were it lost
                folder.save(start, going_on)
        folder.store(job)
    outputs = _Outputs(folder, video, annotations, config, range(start, first))
    labelled = 0
    with outputs.open(soft, overlay):
        if begin is not None:
            outputs.redraw(video.frames(start, begin))
        with closing(outputs.written(results, tracker)) as written:
            for labelled, result in enumerate(written, start=1):
                tell(result.index, result.index + 1 - start, labelled)
    skipped = [i for i in video.skipped if i >= start and (stop is None or i < stop)]
    folder.store(job, frames=outputs.count, skipped=skipped)
    folder.state.unlink(missing_ok=True)
    seconds = time.monotonic() - clock
    return Summary(outputs.count, labelled, seconds, tuple(skipped), folder.present())


class _Outputs:
    """The files of a job, written in one thread of their own while the next frames are tracked.

    Args:
        folder: Where to.
        video: What is labelled.
        annotations: What was given; tells whether there are objects, and points.
        config: For the threshold of points.
        finished: Frames of an earlier run that stay.
    """

    def __init__(
        self,
        folder: Folder,
        video: Video,
        annotations: Mapping[int, Annotation],
        config: TrackingConfig,
        finished: range,
    ) -> None:
        self.folder, self.video, self.finished = folder, video, finished
        self.threshold = config.point_threshold
        self.with_objects = any(given.ids for given in annotations.values())
        self.with_points = any(given.points for given in annotations.values())
        self.scale = legible_scale(*video.size)
        self.count = 0
        self.tiles = _Tiles()
        self.overlay: VideoWriter | None = None
        self.soft = False
        self.whole = not finished  # pictures of all that is finished are drawn
        self.broken = False
        self.state: tuple[int, dict[str, Any] | None] | None = None
        self.saved = time.monotonic()

    @contextmanager
    def open(self, soft: bool, overlay: bool) -> Iterator[None]:
        """Opens the files and, whatever happens, leaves them whole."""
        folder, keep = self.folder, self.finished or None
        self.soft = soft
        try:
            with ExitStack() as stack:
                if self.with_objects:
                    self.coco = stack.enter_context(CocoWriter(folder.labels, keep=keep))
                    sure = ConfidenceWriter(folder.confidence, keep=keep)
                    self.sure = stack.enter_context(sure)
                if self.with_points:
                    self.points = stack.enter_context(PointWriter(folder.points, keep=keep))
                if overlay:
                    self.overlay = VideoWriter(folder.overlay, rate=self.video.rate)
                stack.callback(self._finish)
                yield
        except BaseException as error:
            frames = self.count if self.whole else len(self.finished)
            error.add_note(f"{frames} frames are finished in {folder.path}; go on with --resume")
            raise

    def redraw(self, frames: Iterable[Frame]) -> None:
        """Pictures of the frames that an earlier run has labelled, from its files."""
        stored = self.folder.stored_points() if self.with_points else iter(())
        waiting = next(stored, None)
        for frame in frames:
            labels = None
            if self.with_objects:
                labels = self.folder.stored_labels(frame.index, self.video.size)
            while waiting is not None and waiting[0] < frame.index:
                waiting = next(stored, None)
            points = waiting[1] if waiting is not None and waiting[0] == frame.index else {}
            self._draw(frame.index, frame.time, frame.rgb, labels, points)
        self.whole = True

    def written(self, results: Iterable[Result], tracker: Tracker) -> Generator[Result, None, None]:
        """Passes results on while their files are written, a few frames behind."""
        with background_thread("liir-write") as thread:
            waiting: deque[Future[None]] = deque()
            for result in results:
                # Without a step, these are frames before the first annotation.
                state = tracker.state() if tracker.count else None
                waiting.append(thread.submit(self._add, result, state))
                if len(waiting) > _AHEAD:
                    waiting.popleft().result()
                yield result
            for future in waiting:
                future.result()

    def _add(self, result: Result, state: dict[str, Any] | None) -> None:
        """Writes the files of a frame; none any more once one has failed, so that no gap arises."""
        if self.broken:
            return
        self.broken = True
        index, folder = result.index, self.folder
        labels = None
        if self.with_objects:
            labels = result.labels
            write_label_png(folder.mask(index), labels)
            self.coco.write(index, labels, result.objects, name=folder.picture(index))
            self.sure.write(index, result.objects)
        if self.soft:
            for number in result.ids:
                path = folder.soft / str(number) / f"{folder.name(index)}.png"
                write_probability_png(path, result.probability(number))
        # As the table says them: pictures drawn from it later are the same.
        points = {
            n: (round(x, 3), round(y, 3), round(c, 4)) for n, (x, y, c) in result.points.items()
        }
        if self.with_points:
            self.points.write(index, points, lambda name: points[name][2] >= self.threshold)
        self._draw(index, result.time, result.rgb, labels, points)
        self.state = index + 1, state
        if time.monotonic() - self.saved > SAVE_SECONDS:
            folder.save(*self.state)
            self.saved = time.monotonic()
        self.broken = False

    def _draw(
        self,
        index: int,
        seconds: float,
        rgb: NDArray[np.uint8],
        labels: NDArray[np.uint8] | None,
        points: Points,
    ) -> None:
        wanted = self.tiles.wants(self.count)
        if wanted or self.overlay is not None:
            picture = draw_overlay(rgb, labels, points, threshold=self.threshold, scale=self.scale)
            if self.overlay is not None:
                self.overlay.write(fit(picture, LONGEST, LONGEST), seconds)
            if wanted:
                self.tiles.add(self.count, picture, f"frame {index}")
        self.count += 1

    def _finish(self) -> None:
        """Closes what can only be closed once."""
        with ExitStack() as stack:
            if self.overlay is not None:
                stack.callback(self.overlay.abort)  # removes its partial file, if there is one
            if self.state is not None:
                self.folder.save(*self.state)
            if self.whole and self.count:
                sheet = io.BytesIO()
                Image.fromarray(contact_sheet(self.tiles.spread())).save(sheet, "PNG")
                write_file(self.folder.sheet, sheet.getbuffer())
                if self.overlay is not None:
                    self.overlay.close()


class _Tiles:
    """Some frames spread over a clip whose length shows only at its end."""

    def __init__(self) -> None:
        self.step = 1
        self.kept: list[tuple[NDArray[np.uint8], str]] = []

    def wants(self, count: int) -> bool:
        """Whether the frame after `count` others is one to keep."""
        return count % self.step == 0

    def add(self, count: int, picture: NDArray[np.uint8], caption: str) -> None:
        """Keeps a picture; every other one goes where there are too many."""
        if len(self.kept) == 4 * SHEET_FRAMES:
            self.kept = self.kept[::2]
            self.step *= 2
        if self.wants(count):
            self.kept.append((fit(picture, SHEET_WIDTH // 4, SHEET_WIDTH // 4), caption))

    def spread(self) -> list[tuple[NDArray[np.uint8], str]]:
        """At most 12 of them, evenly."""
        last = len(self.kept) - 1
        return [
            self.kept[i] for i in sorted({round(i) for i in np.linspace(0, last, SHEET_FRAMES)})
        ]


def _total(video: Video, start: int, stop: int | None) -> int | None:
    length = video.length
    ends = [end for end in (length, stop) if end is not None]
    return min(ends) - start if ends else None
