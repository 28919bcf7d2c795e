"""The folder in which predictions are kept: claimed for one way of making them, filled, packed.

`OUT/BENCHMARK` holds a folder for each sequence that is finished, as `stored` reads it, and
`settings.json`, which says what the predictions are made with and of what.
"""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

from liir.errors import InputError
from liir.evaluation.layouts import Sequence
from liir.evaluation.parts import CLASSES
from liir.evaluation.stored import POINTS, Prediction, stored
from liir.export import PointWriter, label_png, write_label_png
from liir.files import writing, written
from liir.inputs import naming, read_json

_SETTINGS = "settings.json"


def claim(folder: Path, settings: Mapping[str, object], sequences: Collection[Sequence]) -> None:
    """Write down what a folder's predictions are made with; refuse to mix them with others.

    Args:
        folder: to be kept in.
        settings: what predicts.
        sequences: those to be predicted now.

    Raises:
        InputError: the folder's are made with other settings, or from other frames or annotations;
            or it holds folders and does not say what they are.
    """
    path = folder / _SETTINGS
    told = json.loads(json.dumps(settings, default=str))
    given = {each.name: _digest(each) for each in sequences}
    if path.is_file():
        with naming(str(path)):
            before = read_json(path)
            if not isinstance(before, dict):
                raise InputError("is not as liir evaluate writes it; choose another folder")
        seen = before.pop("given", {})
        if before != told:
            raise InputError(
                f"{folder}: holds predictions made with other settings (see {path.name}); "
                "choose another folder or remove this one"
            )
        for name in given:
            if seen.get(name, given[name]) != given[name] and (folder / name).is_dir():
                raise InputError(
                    f"{folder / name}: was predicted from other frames or another annotation than "
                    "are there now; choose another folder or remove this one"
                )
        given = seen | given
    elif folder.is_dir() and any(
        each.is_dir() and each.name[0] != "." for each in folder.iterdir()
    ):
        raise InputError(
            f"{folder}: holds folders, and no {path.name} that says what they are; "
            "choose another folder, or score them with --predictions"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with written(path) as partial:
        partial.write_text(json.dumps(told | {"given": given}, indent=1), "utf-8")


def _digest(sequence: Sequence) -> str:
    """Of what is given, and of the names and sizes of the frames' files."""
    place, stems = sequence.folder, {*sequence.stems}
    files = [place] if place.is_file() else [p for p in sorted(place.iterdir()) if p.stem in stems]
    digest = hashlib.sha256(repr([(each.name, each.stat().st_size) for each in files]).encode())
    for frame, each in sorted(sequence.annotations.items()):
        shape = None if each.labels is None else each.labels.shape
        digest.update(repr((frame, each.ids, sorted(each.points.items()), shape)).encode())
        if each.labels is not None:
            digest.update(each.labels.tobytes())
    return digest.hexdigest()[:16]


def keeping(
    sequence: Sequence, predictions: Iterable[Prediction], folder: Path
) -> Iterator[Prediction]:
    """Pass predictions on and write them; the sequence's folder appears when all are written."""
    partial = folder / f".{sequence.name.replace('/', '-')}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with PointWriter(partial / POINTS) if sequence.joints else nullcontext() as table:
        for prediction in predictions:
            yield prediction
            if not sequence.kept(prediction.index):
                continue
            if table is not None:
                table.write(prediction.index, prediction.points)
                continue
            path = partial / f"{sequence.stems[prediction.index]}.png"
            write_label_png(path, prediction.labels)
            if sequence.instances:
                _write_ranks(path.with_suffix(".txt"), sequence, prediction.objects)
    (folder / sequence.name).parent.mkdir(parents=True, exist_ok=True)
    os.replace(partial, folder / sequence.name)


def packed(folder: Path, sequences: Collection[Sequence], archive: Path, top: str) -> None:
    """One zip of the official frames' label maps, as evaluation servers take it.

    Args:
        folder: of predictions, seen to be complete and of the right size (`check_sequences`).
        sequences: those to pack.
        archive: the file to write.
        top: folder inside the archive above those of the sequences; "" for none.

    Raises:
        InputError: a prediction cannot be read or shows an id that it may not, or the file cannot
            be written.
    """
    with writing(archive):
        archive.parent.mkdir(parents=True, exist_ok=True)
    with writing(archive), written(archive) as partial:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as file:  # PNGs are packed already
            for sequence in sequences:
                wanted = {*sequence.wanted}
                for prediction in stored(folder, sequence):
                    if prediction.index not in wanted:
                        continue
                    # Written anew: a server knows ids alone, not 255 for the only object.
                    name = f"{sequence.name}/{sequence.stems[prediction.index]}.png"
                    file.writestr(f"{top}/{name}".lstrip("/"), label_png(prediction.labels))


def _write_ranks(path: Path, sequence: Sequence, objects: Mapping[int, float]) -> None:
    last = max(sequence.ids)
    lines = []
    for number in range(1, last + 1):
        kind = CLASSES.index(sequence.groups[number]) if number in sequence.groups else 0
        lines.append(f"{kind} {objects.get(number, 0.0):.6f}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
