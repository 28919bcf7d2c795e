"""Run a tracker over a benchmark and score it by the benchmark's own protocol.

`docs/protocols.md` tells the protocols. What produces the predictions is a `Source`: a model, a
baseline such as `copied`, or files made elsewhere.
"""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from liir.encoder import Model, fingerprint
from liir.errors import InputError
from liir.evaluation import joints, kept, layouts, parts, scoring, stored, youtube
from liir.evaluation.layouts import Sequence
from liir.evaluation.report import Report, Row
from liir.evaluation.sources import Source as Source
from liir.evaluation.sources import copied as copied
from liir.evaluation.sources import tracked as tracked
from liir.evaluation.stored import Prediction as Prediction
from liir.inputs import nearest
from liir.presets import TrackingConfig
from liir.settings import LEAST_SIZE


class Progress(NamedTuple):
    """How far a run is, in frames over all of its sequences."""

    sequence: str
    done: int
    total: int


@dataclass(frozen=True)
class Benchmark:
    """A data set's layout and its protocol of scoring.

    Attributes:
        sequences: reads the data set's folder; raises InputError where the layout is another.
        score: rows of a sequence; consumes every prediction.
        summary: the headline numbers of all rows.
        pooled: rows to add to those of the sequences, for what is pooled over them.
        top: folder above the sequences in an archive for the data set's server.
    """

    sequences: Callable[[Path], list[Sequence]]
    score: Callable[[Sequence, Iterable[Prediction]], list[Row]]
    summary: Callable[[Collection[Row]], dict[str, float]]
    pooled: Callable[[Collection[Row]], list[Row]] = lambda _: []
    top: str = ""


def benchmark(name: str, points: Path | None = None, split: str | None = None) -> Benchmark:
    """The protocol of that name.

    Args:
        name: davis2016, davis2017, youtube-vos, vip, vip-instances, jhmdb, badja, semantic or
            points.
        points: the table of `badja` or `points`; None for the one in its folder.
        split: another split than the one that is customary; None for that.

    Raises:
        InputError: there is no such benchmark, or it takes no table or no split.
    """
    chosen = {} if split is None else {"split": split}
    table = {} if points is None else {"points" if name == "badja" else "table": points}
    objects = scoring.score_objects, scoring.mean_of_rows
    known = {
        "davis2016": Benchmark(_with(layouts.davis2016, chosen), *objects),
        "davis2017": Benchmark(_with(layouts.davis2017, chosen), *objects),
        "youtube-vos": Benchmark(
            _with(youtube.youtube_vos, chosen),
            scoring.score_objects,
            scoring.youtube_summary,
            top="Annotations",
        ),
        "vip": Benchmark(
            _with(parts.vip, chosen),
            scoring.score_parts,
            scoring.part_summary,
            scoring.part_classes,
        ),
        "vip-instances": Benchmark(
            _with(parts.vip_instances, chosen),
            scoring.score_instances,
            scoring.instance_summary,
            scoring.instance_classes,
        ),
        "jhmdb": Benchmark(
            _with(joints.jhmdb, chosen),
            scoring.score_jhmdb,
            scoring.jhmdb_summary,
            scoring.jhmdb_joints,
        ),
        "badja": Benchmark(_with(joints.badja, table), scoring.score_animal, scoring.mean_of_rows),
        "semantic": Benchmark(layouts.semantic, scoring.score_classes, scoring.mean_of_clips),
        "points": Benchmark(
            _with(joints.points, table), scoring.score_points, scoring.mean_of_rows
        ),
    }
    if name not in known:
        hint = nearest(name, known)
        raise InputError(f"no benchmark is called {name!r}{hint} (there are: {', '.join(known)})")
    if points is not None and name not in ("badja", "points"):
        raise InputError(f"{name} has no table of points: leave {points} out")
    if split is not None and name in ("badja", "semantic", "points"):
        raise InputError(f"{name} has no splits: leave {split!r} out")
    return known[name]


def _with(
    reader: Callable[..., list[Sequence]], options: Mapping[str, object]
) -> Callable[[Path], list[Sequence]]:
    return functools.partial(reader, **options)


def evaluate(
    name: str,
    root: Path | str,
    model: Model | None = None,
    *,
    config: TrackingConfig | None = None,
    source: Source | None = None,
    predictions: Path | None = None,
    points: Path | None = None,
    split: str | None = None,
    square: int | None = None,
    sequences: Collection[str] = (),
    out: Path | None = None,
    workers: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Run a benchmark and score it, or make what its server takes.

    Args:
        name: of the benchmark, see `benchmark`.
        root: the data set's folder.
        model: what tracks; or give one of the next two instead.
        config: tracking settings for the model; None for its own.
        source: anything else that predicts, such as `sources.copied`.
        predictions: folder of finished predictions, see `stored`; or what `out` was.
        points: as of `benchmark`.
        split: as of `benchmark`.
        square: as of `sources.tracked`.
        sequences: names to run, all if empty.
        out: folder in which predictions are kept, in out/NAME/SEQUENCE; a sequence that is there
            already is scored from its files and not run again. Where the truth is hidden, all that
            the server takes is packed into out/NAME.zip, of `predictions` too.
        workers: processes that score what lies in files; 0: this one does.
        progress: called after each frame, or each sequence where other processes score.

    Raises:
        InputError: the layout, the predictions or the choice of sequences does not fit.
    """
    if square is not None and square < LEAST_SIZE:
        raise InputError(f"square {square} is too small: give {LEAST_SIZE} pixels or more")
    if workers < 0:
        raise InputError(f"{workers} workers: give 0 or more")
    protocol = benchmark(name, points, split)
    every = protocol.sequences(Path(root))
    chosen = _chosen(every, sequences)
    known = [each.name for each in every]
    hidden = _hidden(every)
    if hidden and out is None:
        raise InputError(
            f"the truth of {name} is hidden, there is nothing to score with: give a folder for "
            "the predictions (--out), from which the server's archive is made"
        )
    folder: Path | None = None
    used: dict[str, object]
    if predictions is not None:
        folder = stored.within(predictions, name, known)
        stored.check_stored(folder, chosen, known)
        used = {"predictions": str(folder)}
    elif source is not None:
        used = {"source": getattr(source, "__name__", type(source).__name__)}
    elif model is not None:
        source, used = tracked(model, config, square), _told(model, config)
        used |= {} if square is None else {"square": square}
    else:
        raise InputError("nothing to score: give a model, a source or a folder of predictions")
    used |= {} if split is None else {"split": split}
    if folder is None and out is not None:
        folder = out / name
        kept.claim(folder, used, chosen)
        there = [each for each in chosen if (folder / each.name).is_dir()]
        stored.check_sequences(folder, there)
    bar = _Bar(progress, chosen)
    if hidden:
        assert folder is not None
        assert out is not None
        _complete(chosen, source, folder, bar)
        archive = None
        if all((folder / each.name).is_dir() for each in every):
            archive = out / f"{name}.zip"
            stored.check_sequences(folder, every)
            kept.packed(folder, every, archive, protocol.top)
        return Report(name, used, (), {}, archive)
    rows = _scored(protocol, chosen, source, folder, workers, bar)
    return Report(name, used, (*rows, *protocol.pooled(rows)), protocol.summary(rows))


def _scored(
    protocol: Benchmark,
    sequences: Collection[Sequence],
    source: Source | None,
    folder: Path | None,
    workers: int,
    bar: _Bar,
) -> list[Row]:
    """Rows of all sequences, from the files in `folder` if they are there, else from the source."""
    with ExitStack() as stack:
        pool: Executor | None = None
        if workers and folder is not None:
            # Not forked: torch's threads would not survive it. The workers do without torch.
            context = multiprocessing.get_context("spawn")
            count = min(workers, len(sequences))
            pool = ProcessPoolExecutor(count, mp_context=context)
            stack.callback(pool.shutdown, cancel_futures=True)
        waiting: list[tuple[Sequence, bool, Future[list[Row]]]] = []
        rows: list[Row] = []
        for each in sequences:
            ready = folder is not None and (folder / each.name).is_dir()
            if pool is None:
                rows += protocol.score(each, bar.watched(each, _predicted(each, source, folder)))
                continue
            assert folder is not None
            if not ready:
                for _ in bar.watched(each, _predicted(each, source, folder)):
                    pass
            job = pool.submit(scoring.score_stored, protocol.score, each, folder)
            waiting.append((each, ready, job))
        for each, ready, job in waiting:
            rows += job.result()
            if ready:
                bar.count(each, len(each.stems) - each.start)
        return rows


def _complete(chosen: Collection[Sequence], source: Source | None, folder: Path, bar: _Bar) -> None:
    """Makes the predictions that are not in `folder` yet."""
    for each in chosen:
        if (folder / each.name).is_dir():
            bar.count(each, len(each.stems) - each.start)
            continue
        for _ in bar.watched(each, _predicted(each, source, folder)):
            pass


def _predicted(
    sequence: Sequence, source: Source | None, folder: Path | None
) -> Iterable[Prediction]:
    """Predictions from the sequence's folder if it is there, else from the source into it."""
    if folder is not None and (folder / sequence.name).is_dir():
        return stored.stored(folder, sequence)
    assert source is not None
    predictions = source(sequence)
    return predictions if folder is None else kept.keeping(sequence, predictions, folder)


class _Bar:
    """Counts frames over all sequences."""

    def __init__(
        self, progress: Callable[[Progress], None] | None, sequences: Collection[Sequence]
    ) -> None:
        self.progress, self.done = progress, 0
        self.total = sum(len(each.stems) - each.start for each in sequences)

    def count(self, sequence: Sequence, frames: int) -> None:
        self.done += frames
        if self.progress is not None:
            self.progress(Progress(sequence.name, self.done, self.total))

    def watched(self, sequence: Sequence, stream: Iterable[Prediction]) -> Iterator[Prediction]:
        """Passes predictions on; those that are not there count as done in the end."""
        left = len(sequence.stems) - sequence.start
        for prediction in stream:
            yield prediction
            left -= 1
            self.count(sequence, 1)
        if left:
            self.count(sequence, left)


def _told(model: Model, config: TrackingConfig | None) -> dict[str, object]:
    """What makes a model's predictions what they are: weights, number format, settings."""
    weights = fingerprint(model.encoder)
    told = {"model": model.name, "weights": weights, "dtype": str(model.dtype)}
    return told | asdict(config or model.preset.tracking)


def _chosen(every: list[Sequence], names: Collection[str]) -> list[Sequence]:
    known = [each.name for each in every]
    unknown = [name for name in names if name not in known]
    if unknown:
        hint = nearest(unknown[0], known)
        raise InputError(
            f"no sequence is called {unknown[0]!r}{hint} (there are: {', '.join(known)})"
        )
    return [each for each in every if not names or each.name in names]


def _hidden(sequences: Collection[Sequence]) -> bool:
    """Whether the truth is hidden: of all sequences, or of none."""
    hidden = [each.name for each in sequences if each.hidden]
    if hidden and len(hidden) < len(sequences):
        raise InputError(
            f"{len(hidden)} of {len(sequences)} sequences have no ground truth beyond what is "
            f"given, first {hidden[0]}; the others have: complete them or leave them out"
        )
    return bool(hidden)
