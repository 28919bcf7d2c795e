"""Run a tracker over a benchmark and score it by the benchmark's own protocol.

Shapes: H W pixels, T frames. Four protocols: `davis2016`, `davis2017` (J&F), `semantic` (pooled
IoU) and `badja` (PCK). What produces the predictions is a `Source`: a model, the first annotation
repeated (`copied`), or files made elsewhere.
"""

import functools
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from liir.annotations import VOID, Labels
from liir.encoder import Model, fingerprint
from liir.errors import InputError
from liir.evaluation import layouts, metrics
from liir.evaluation.layouts import POINTS, Predicted, Sequence
from liir.export import PointWriter, write_label_png
from liir.files import written
from liir.presets import TrackingConfig
from liir.tracking import track

THRESHOLDS = (0.1, 0.2)


class Prediction(Protocol):
    """What a score reads of a frame; `liir.tracking.Result` is one."""

    @property
    def index(self) -> int:
        """Number of the frame."""

    @property
    def labels(self) -> Labels:
        """(H, W) uint8 ids."""

    @property
    def points(self) -> Mapping[str, tuple[float, float, float]]:
        """Name -> (x, y, confidence), x and y in pixels."""


Source = Callable[[Sequence], Iterable[Prediction]]
"""Gives the predictions of a sequence in order of time."""


class Progress(NamedTuple):
    """How far a run is, in frames over all of its sequences."""

    sequence: str
    done: int
    total: int


@dataclass(frozen=True)
class Row:
    """Scores of one object, one class or (points) one sequence; fractions."""

    sequence: str
    object: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Report:
    """What a run scored: fractions in [0, 1] (decay: [-1, 1]), NaN where nothing counted."""

    benchmark: str
    settings: Mapping[str, object]
    rows: tuple[Row, ...]
    summary: Mapping[str, float]

    def to_json(self) -> str:
        """All of it as a JSON document; NaN becomes null."""

        def plain(scores: Mapping[str, float]) -> dict[str, float | None]:
            return {name: None if np.isnan(value) else value for name, value in scores.items()}

        rows = [asdict(row) | {"scores": plain(row.scores)} for row in self.rows]
        document = {
            "benchmark": self.benchmark,
            "settings": dict(self.settings),
            "summary": plain(self.summary),
            "rows": rows,
        }
        return json.dumps(document, indent=1, default=str)

    def to_markdown(self) -> str:
        """A table in percent: a line for each row and, last, the summary."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row.scores))
        columns += [name for name in self.summary if name not in columns]
        entries = [(f"{row.sequence} {row.object}".strip(), row.scores) for row in self.rows]
        lines = ["| " + " | ".join([self.benchmark, *columns]) + " |"]
        lines.append("|---|" + "---:|" * len(columns))
        for name, scores in [*entries, ("**mean**", self.summary)]:
            values = [f"{100 * scores[key]:.1f}" if key in scores else "" for key in columns]
            lines.append("| " + " | ".join([name, *values]) + " |")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Benchmark:
    """A data set's layout and its protocol of scoring.

    Attributes:
        sequences: reads the data set's folder; raises InputError where the layout is another.
        score: rows of a sequence; consumes every prediction.
        summary: the headline numbers of all rows.
    """

    sequences: Callable[[Path], list[Sequence]]
    score: Callable[[Sequence, Iterable[Prediction]], list[Row]]
    summary: Callable[[Collection[Row]], dict[str, float]]


def benchmark(name: str, points: Path | None = None) -> Benchmark:
    """The protocol of that name.

    Args:
        name: davis2016, davis2017, semantic or badja.
        points: the joints of `badja`; None for badja.csv in its folder.

    Raises:
        InputError: there is no such benchmark.
    """

    def badja(root: Path) -> list[Sequence]:
        return layouts.badja(root, points or root / "badja.csv")

    known = {
        "davis2016": Benchmark(layouts.davis2016, score_objects, mean_of_rows),
        "davis2017": Benchmark(layouts.davis2017, score_objects, mean_of_rows),
        "semantic": Benchmark(layouts.semantic, score_classes, mean_of_clips),
        "badja": Benchmark(badja, score_joints, mean_of_rows),
    }
    if name not in known:
        raise InputError(f"no benchmark is called {name!r}; there are {', '.join(known)}")
    return known[name]


def score_objects(sequence: Sequence, predictions: Iterable[Prediction]) -> list[Row]:
    """DAVIS: J and F, a row for each object of the first frame."""
    regions: dict[int, list[float]] = {number: [] for number in sequence.ids}
    contours: dict[int, list[float]] = {number: [] for number in sequence.ids}
    for truth, given in _pairs(sequence, predictions):
        void = truth == VOID
        for number in sequence.ids:
            masks = truth == number, given == number, void if void.any() else None
            regions[number].append(metrics.region_similarity(*masks))
            contours[number].append(metrics.contour_accuracy(*masks))
    rows = []
    for number in sequence.ids:
        region = metrics.statistics(regions[number])
        contour = metrics.statistics(contours[number])
        scores = {"J&F-Mean": (region.mean + contour.mean) / 2}
        for letter, values in (("J", region), ("F", contour)):
            scores |= {f"{letter}-{what.title()}": v for what, v in values._asdict().items()}
        rows.append(Row(sequence.name, str(number), scores))
    return rows


def score_classes(sequence: Sequence, predictions: Iterable[Prediction]) -> list[Row]:
    """Chen and Corso 2010: IoU pooled over the clip, a row for each class of the first frame.

    Pixels whose true class is void or new since the first frame do not count.
    """
    classes = len(sequence.ids)
    place = np.full(256, classes, np.uint8)  # id -> row of the confusion matrix
    place[list(sequence.ids)] = np.arange(classes)
    counts = np.zeros((classes, classes + 1), np.int64)
    for truth, given in _pairs(sequence, predictions):
        counts += metrics.confusion(place[truth], place[given], classes)
    iou = metrics.class_scores(counts).iou
    return [
        Row(sequence.name, str(number), {"IoU": float(value)})
        for number, value in zip(sequence.ids, iou, strict=True)
    ]


def score_joints(sequence: Sequence, predictions: Iterable[Prediction]) -> list[Row]:
    """BADJA: PCK of the joints given in the first annotated frame, one row for the sequence.

    A position counts wherever the truth sees the joint, whether or not it is reported visible.
    """
    wanted = sequence.annotations[sequence.start].points
    errors: list[float] = []
    for given in _delivered(sequence, predictions):
        truth = sequence.joints[given.index]
        lacking = [name for name in truth if name in wanted and name not in given.points]
        if lacking:
            raise InputError(
                f"{sequence.name}: frame {given.index} has no position for joint {lacking[0]}"
            )
        # The box is that of every visible joint, tracked or not.
        places = [given.points[name][:2] if name in wanted else (0.0, 0.0) for name in truth]
        error = metrics.joint_errors(
            np.array([*truth.values()]).T[..., None],  # (2, K, 1)
            np.array(places).T[..., None],
            np.ones((len(truth), 1), bool),
        )
        counts = [name in wanted for name in truth]
        errors += np.nan_to_num(error[counts, 0], nan=np.inf).tolist()  # no place is a miss
    shares = metrics.pck(np.array([errors]), THRESHOLDS)
    return [Row(sequence.name, "", {f"PCK@{t}": share for t, share in shares.items()})]


def mean_of_rows(rows: Collection[Row]) -> dict[str, float]:
    """Mean of each score over all rows."""
    names = dict.fromkeys(name for row in rows for name in row.scores)
    return {name: metrics.mean([row.scores[name] for row in rows]) for name in names}


def mean_of_clips(rows: Collection[Row]) -> dict[str, float]:
    """Mean over clips of the mean IoU of their classes."""
    clips: dict[str, list[float]] = {}
    for row in rows:
        clips.setdefault(row.sequence, []).append(row.scores["IoU"])
    return {"mIoU": metrics.mean([metrics.mean(values) for values in clips.values()])}


def copied(sequence: Sequence) -> Iterator[Predicted]:
    """The baseline that repeats the first annotation on every frame."""
    first = sequence.annotations[sequence.start]
    labels = np.zeros((1, 1), np.uint8) if first.labels is None else first.labels
    labels = np.where(labels == VOID, np.uint8(0), labels)
    points = {name: (x, y, 1.0) for name, (x, y) in first.points.items()}
    for index in range(sequence.start, len(sequence.stems)):
        yield Predicted(index, labels, points)


def tracked(model: Model, config: TrackingConfig | None = None) -> Source:
    """A model as a source, with other tracking settings than its own if given."""

    def source(sequence: Sequence) -> Iterable[Prediction]:
        start = sequence.start  # what lies before is not scored
        return track(model, sequence.folder, sequence.annotations, config=config, start=start)

    return source


def evaluate(
    name: str,
    root: Path | str,
    model: Model | None = None,
    *,
    config: TrackingConfig | None = None,
    source: Source | None = None,
    predictions: Path | None = None,
    points: Path | None = None,
    sequences: Collection[str] = (),
    out: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Run a benchmark and score it.

    Args:
        name: davis2016, davis2017, semantic or badja.
        root: the data set's folder.
        model: what tracks; or give one of the next two instead.
        config: tracking settings for the model; None for its own.
        source: anything else that predicts, such as `copied`.
        predictions: folder of finished predictions, see `layouts.stored`.
        points: CSV of joints for badja; None for root/badja.csv.
        sequences: names to run, all if empty.
        out: folder in which predictions are kept, in out/NAME/SEQUENCE; a sequence that is there
            already is scored from its files and not run again.
        progress: called after each frame.

    Raises:
        InputError: the layout, the predictions or the choice of sequences does not fit.
    """
    protocol = benchmark(name, points)
    every = protocol.sequences(Path(root))
    chosen = _chosen(every, sequences)
    used: dict[str, object] = {}
    if predictions is not None:
        layouts.check_stored(predictions, chosen, [each.name for each in every])
        source = functools.partial(layouts.stored, predictions)
        used = {"predictions": str(predictions)}
    elif source is not None:
        used = {"source": getattr(source, "__name__", type(source).__name__)}
    elif model is not None:
        source, used = tracked(model, config), _told(model, config)
    else:
        raise InputError("nothing to score: give a model, a source or a folder of predictions")
    keep = None if out is None or predictions is not None else out / name
    if keep is not None:
        _claim(keep, used)
    rows: list[Row] = []
    done, total = 0, sum(len(each.stems) - each.start for each in chosen)
    for each in chosen:
        stream = source(each) if keep is None else _kept(each, source, keep)
        rows += protocol.score(each, _watched(each, stream, progress, done, total))
        done += len(each.stems) - each.start
    return Report(name, used, tuple(rows), protocol.summary(rows))


def _watched(
    sequence: Sequence,
    stream: Iterable[Prediction],
    progress: Callable[[Progress], None] | None,
    done: int,
    total: int,
) -> Iterator[Prediction]:
    for count, prediction in enumerate(stream, 1):
        yield prediction
        if progress is not None:
            progress(Progress(sequence.name, done + count, total))


def _kept(sequence: Sequence, source: Source, folder: Path) -> Iterator[Prediction]:
    """Predictions from the sequence's folder if it is there, else from the source into it."""
    finished = folder / sequence.name
    if finished.is_dir():
        yield from layouts.stored(folder, sequence)
        return
    partial = folder / f".{sequence.name}.partial"  # renamed when it is complete
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with PointWriter(partial / POINTS) if sequence.joints else nullcontext() as table:
        for prediction in source(sequence):
            yield prediction
            if table is not None:
                table.write(prediction.index, prediction.points)
            else:
                name = f"{sequence.stems[prediction.index]}.png"
                write_label_png(partial / name, prediction.labels)
    os.replace(partial, finished)


def _told(model: Model, config: TrackingConfig | None) -> dict[str, object]:
    """What makes a model's predictions what they are: weights, number format, settings."""
    weights = fingerprint(model.encoder)
    told = {"model": model.name, "weights": weights, "dtype": str(model.dtype)}
    return told | asdict(config or model.preset.tracking)


def _claim(folder: Path, settings: Mapping[str, object]) -> None:
    """Write down what a folder's predictions are made with; refuse to mix them with others."""
    path = folder / "settings.json"
    text = json.dumps(settings, indent=1, default=str)
    if path.is_file():
        if path.read_text("utf-8") != text:
            raise InputError(
                f"{folder}: holds predictions made with other settings (see {path.name}); "
                "choose another folder or remove this one"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    with written(path) as partial:
        partial.write_text(text, "utf-8")


def _chosen(every: list[Sequence], names: Collection[str]) -> list[Sequence]:
    known = [each.name for each in every]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"no sequence is called {unknown[0]!r}; there are {', '.join(known)}")
    return [each for each in every if not names or each.name in names]


def _delivered(sequence: Sequence, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """The predictions that count; in the end, see that none of them was missing."""
    missing = set(sequence.counted)
    for prediction in predictions:
        if prediction.index in missing:
            missing.remove(prediction.index)
            yield prediction
    if missing:
        raise InputError(
            f"{sequence.name}: {len(missing)} of {len(sequence.counted)} frames that count have no "
            f"prediction, the first is frame {min(missing)} ({sequence.stems[min(missing)]})"
        )


def _pairs(
    sequence: Sequence, predictions: Iterable[Prediction]
) -> Iterator[tuple[Labels, Labels]]:
    """(true, predicted) label maps, both (H, W), of the frames that count."""
    for prediction in _delivered(sequence, predictions):
        truth, given = sequence.truth(prediction.index), prediction.labels
        if truth.shape != given.shape:
            raise InputError(
                f"{sequence.name}: the prediction for frame {sequence.stems[prediction.index]} has "
                f"{given.shape[1]}x{given.shape[0]} pixels, the ground truth "
                f"{truth.shape[1]}x{truth.shape[0]}"
            )
        yield truth, given
