"""What is written is read again, also after an interruption; what was broken is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as oracle
from pycocotools.coco import COCO

from liir import annotations as A
from liir import export
from liir.errors import InputError

FUZZ = settings(max_examples=100, derandomize=True, deadline=None)
LABELS = np.array([[0, 1, 1, 0], [0, 1, 7, 7], [0, 0, 7, 0]], np.uint8)
SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))
LABEL_MAPS = SIZES.flatmap(lambda size: hnp.arrays(np.uint8, size))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


# --- Images


def test_palette_is_that_of_voc() -> None:
    palette = export.voc_palette()
    assert palette[:9].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [128, 128, 0],
        [0, 0, 128],
        [128, 0, 128],
        [0, 128, 128],
        [128, 128, 128],
        [64, 0, 0],
    ]
    assert palette[255].tolist() == [224, 224, 192]
    assert len(np.unique(palette, axis=0)) == 256


@given(LABEL_MAPS)
def test_labels_survive(folder: Path, labels: NDArray[np.uint8]) -> None:
    path = folder / "labels.png"
    export.write_label_png(path, labels)
    data = path.read_bytes()
    assert data[24:26] == b"\x08\x03"  # IHDR: 8 bits, palette
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image), labels)
        assert np.array_equal(np.asarray(image.convert("RGB")), export.voc_palette()[labels])
    if {*np.unique(labels).tolist()} - {0, 255}:
        assert np.array_equal(A.read_labels(path).labels, labels)
    export.write_label_png(path, labels)
    assert path.read_bytes() == data


def test_every_id_survives(folder: Path) -> None:
    for number in range(1, 255):
        export.write_label_png(folder / "id.png", np.full((2, 3), number, np.uint8))
        assert A.read_labels(folder / "id.png").ids == (number,)


def test_probability(folder: Path) -> None:
    values = np.array([[0, 0.5, 1], [-0.1, 1.1, np.nan]], np.float32)
    export.write_probability_png(folder / "new" / "p.png", values)
    with Image.open(folder / "new" / "p.png") as image:
        assert image.mode == "L"
        assert np.asarray(image).tolist() == [[0, 128, 255], [0, 255, 0]]


def test_an_interrupted_image_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export.write_label_png(tmp_path / "m.png", LABELS)

    def fails(_image: Image.Image, file: object, *_: object, **__: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fails)
    with pytest.raises(InputError, match=r"m\.png: cannot be written \(No space"):
        export.write_label_png(tmp_path / "m.png", LABELS * 0)
    assert [each.name for each in tmp_path.iterdir()] == ["m.png"]
    assert np.array_equal(A.read_labels(tmp_path / "m.png").labels, LABELS)


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bad = tmp_path / "file" / "x"
    for write in (
        lambda: export.write_label_png(bad, LABELS),
        lambda: export.CocoWriter(bad),
        lambda: export.PointWriter(bad),
    ):
        with pytest.raises(InputError, match="cannot be written"):
            write()


# --- COCO


def write_coco(path: Path, frames: dict[int, NDArray[np.uint8]], **more: object) -> None:
    with export.CocoWriter(path, **more) as writer:  # type: ignore[arg-type]
        for index, labels in frames.items():
            writer.write(index, labels, {1: 0.5, 9: 0.0})


@given(st.dictionaries(st.integers(0, 10**6), LABEL_MAPS, min_size=1, max_size=4))
def test_coco_gives_the_same_labels(folder: Path, frames: dict[int, NDArray[np.uint8]]) -> None:
    write_coco(folder / "c.json", frames)
    assert not (folder / "c.json.part").exists()
    found = A.read_annotations(folder / "c.json")
    assert list(found) == sorted(frames)
    for index, labels in frames.items():
        known = np.where(labels == 255, 0, labels)  # a document has no void
        assert np.array_equal(found[index].labels, known)
        assert found[index].ids == tuple(sorted({*np.unique(known).tolist(), 1, 9} - {0}))


def test_coco_as_pycocotools_reads_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    frames = {k: rng.integers(0, 4, (6, 8)).astype(np.uint8).repeat(5, 0) for k in (3, 1)}
    write_coco(folder / "c.json", frames)
    coco = COCO(folder / "c.json")
    assert [each["file_name"] for each in coco.loadImgs([1, 3])] == ["00001.jpg", "00003.jpg"]
    assert sorted(coco.getCatIds()) == [1, 2, 3, 9]
    assert sorted(coco.getAnnIds()) == list(range(1, 9))
    for each in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(each)
        assert np.array_equal(mask, frames[each["image_id"]] == each["track_id"])
        assert each["category_id"] == each["track_id"]
        assert each["area"] == mask.sum()
        assert each["bbox"] == oracle.toBbox(each["segmentation"]).tolist()
        assert each.get("score") == {1: 0.5, 9: 0.0}.get(each["track_id"])


def test_coco_goes_on_after_an_interruption(tmp_path: Path) -> None:
    """From the document, or from the journal of a killed process; bytes are those of one run."""
    frames = {k: np.roll(LABELS, k, 1) for k in range(6)}
    whole = tmp_path / "whole.json"
    write_coco(whole, frames)

    path = tmp_path / "c.json"
    write_coco(path, {k: frames[k] for k in (0, 1, 2)} | {4: LABELS})
    write_coco(path, {k: frames[k] for k in (3, 4, 5)}, keep=range(3))
    assert path.read_bytes() == whole.read_bytes()

    killed = export.CocoWriter(path)
    for index in (2, 1, 0):  # backwards, as before the first annotation
        killed.write(index, frames[index], {1: 0.5, 9: 0.0})
    assert (tmp_path / "c.json.part").read_bytes().count(b"\n") == 3  # without being closed
    killed._file.write(b'{"image": {"frame_in')  # cut off
    killed._file.close()
    write_coco(path, {k: frames[k] for k in (2, 3, 4, 5)}, keep=range(2))
    assert path.read_bytes() == whole.read_bytes()
    write_coco(path, frames)  # anew
    assert path.read_bytes() == whole.read_bytes()


def test_an_error_inside_keeps_what_is_finished(tmp_path: Path) -> None:
    def run() -> None:
        with export.CocoWriter(tmp_path / "c.json") as coco:
            with export.PointWriter(tmp_path / "p.csv") as points:
                coco.write(0, LABELS)
                points.write(0, {"nose": (1, 2, 0.5)})
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert set(A.read_annotations(tmp_path / "c.json")) == {0}
    assert set(A.read_annotations(tmp_path / "p.csv")) == {0}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": [{}], "annotations": []}', "\xff"])
def test_refuses_to_go_on_from_something_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text, "latin-1")
    for writer in (export.CocoWriter, export.PointWriter, export.ConfidenceWriter):
        with pytest.raises(InputError, match="of an earlier run to go on from: remove it"):
            writer(tmp_path / "x", keep=range(9))
        assert (tmp_path / "x").read_text("latin-1") == text
        assert [each.name for each in tmp_path.iterdir()] == ["x"]


# --- Tables


NAMES = st.text(min_size=1).map(str.strip).filter(lambda name: name.isprintable() and bool(name))
PLACES = st.tuples(st.floats(0, 1920), st.floats(0, 1080), st.floats(0, 1))


@given(
    st.dictionaries(
        st.integers(0, 10**6), st.dictionaries(NAMES, PLACES, min_size=1, max_size=3), min_size=1
    )
)
def test_points_survive(
    folder: Path, frames: dict[int, dict[str, tuple[float, float, float]]]
) -> None:
    with export.PointWriter(folder / "p.csv") as writer:
        for index, points in frames.items():
            writer.write(index, points)
    found = A.read_points(folder / "p.csv", size=(1080, 1920))
    assert set(found) == set(frames)
    for index, points in frames.items():
        assert found[index].points.keys() == points.keys()
        for name, (x, y, _) in points.items():
            assert found[index].points[name] == pytest.approx((x, y), abs=2e-3)


def test_invisible_points_are_written_but_not_given(tmp_path: Path) -> None:
    with export.PointWriter(tmp_path / "p.csv") as writer:
        writer.write(0, {"a": (1, 2, 0.9), "b": (np.nan, 3, 0.1)}, {"a"}.__contains__)
    text = "frame,name,x,y,visible,confidence\n0,a,1.000,2.000,1,0.9000\n0,b,nan,3.000,0,0.1000\n"
    assert (tmp_path / "p.csv").read_bytes() == text.encode()
    assert A.read_points(tmp_path / "p.csv")[0].points == {"a": (1, 2)}


def test_tables_grow_frame_by_frame_and_go_on(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    header = "frame,object,confidence\n"
    killed = export.ConfidenceWriter(path)
    killed.write(0, {7: 0.25, 1: 1.0})
    assert path.read_text() == header + "0,1,1.0000\n0,7,0.2500\n"  # without being closed
    killed.write(1, {1: 0.5})
    killed._file.write(b"2,1,0.")
    killed.close()
    with export.ConfidenceWriter(path, keep=range(5)) as writer:
        writer.write(2, {1: 0.75})
    assert path.read_text() == header + "0,1,1.0000\n0,7,0.2500\n1,1,0.5000\n2,1,0.7500\n"
    export.ConfidenceWriter(path, keep={1}).close()
    assert path.read_text() == header + "1,1,0.5000\n"
    export.ConfidenceWriter(path).close()
    assert path.read_text() == header


# --- Broken files: what is written, changed somewhere, is read or refused


def write_points(path: Path) -> None:
    with export.PointWriter(path) as writer:
        writer.write(0, {"nose": (1, 2, 0.5), "tail, left": (3.25, 0, 1)})


def write_points_json(path: Path) -> None:
    path.write_text(json.dumps([{"frame": 0, "name": "nose", "x": 1.5, "y": 2, "visible": 1}]))


def write_polygons(path: Path) -> None:
    image = {"id": 1, "file_name": "a1.png", "width": 9, "height": 9}
    polygon = {"image_id": 1, "track_id": 3, "segmentation": [[0, 0, 5, 0, 5.5, 7]]}
    path.write_text(json.dumps({"images": [image], "annotations": [polygon]}))


def write_tiff(path: Path) -> None:
    Image.fromarray(LABELS).save(path, "TIFF", compression="tiff_lzw")


WRITERS: list[tuple[str, Callable[[Path], None]]] = [
    ("f.png", lambda path: export.write_label_png(path, LABELS)),
    ("f.tif", write_tiff),
    ("f.json", lambda path: write_coco(path, {4: LABELS})),
    ("g.json", write_points_json),
    ("h.json", write_polygons),
    ("f.csv", write_points),
]

TOKENS = st.sampled_from(
    [b"[", b"}", b'"', b",", b"\n", b"-1", b"1e999", b"NaN", b"null", b"9" * 12]
)
CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 6), st.one_of(st.binary(max_size=6), TOKENS)),
    min_size=1,
    max_size=6,
)


def changed(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """Bytes replaced, put in or cut out at places given as a share of the length."""
    for place, length, new in changes:
        at = int(place * len(data))
        data = data[:at] + new + data[at + length :]
    return data


def reads_or_refuses(path: Path) -> None:
    message, found = "", {}
    try:
        found = A.read_annotations(path, size=LABELS.shape, resize=True)
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    assert message or found
    for frame, annotation in found.items():
        assert frame >= 0
        assert annotation.labels is None or annotation.labels.shape == LABELS.shape


@pytest.mark.parametrize(("name", "write"), WRITERS, ids=[name for name, _ in WRITERS])
@FUZZ
@given(changes=CHANGES)
def test_changed_files(
    folder: Path,
    name: str,
    write: Callable[[Path], None],
    changes: list[tuple[float, int, bytes]],
) -> None:
    write(folder / name)
    (folder / name).write_bytes(changed((folder / name).read_bytes(), changes))
    reads_or_refuses(folder / name)


@pytest.mark.parametrize(("name", "write"), WRITERS, ids=[name for name, _ in WRITERS])
def test_files_cut_off(folder: Path, name: str, write: Callable[[Path], None]) -> None:
    write(folder / name)
    data = (folder / name).read_bytes()
    for length in range(0, len(data), max(1, len(data) // 50)):
        (folder / name).write_bytes(data[:length])
        reads_or_refuses(folder / name)


@pytest.mark.parametrize("name", ["f.png", "f.csv", "f.json"])
@FUZZ
@given(data=st.binary(max_size=200))
def test_any_bytes(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    reads_or_refuses(folder / name)


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-3, 300), st.floats(), st.text(max_size=5))
KEYS = "images annotations points id image_id track_id segmentation counts size x y frame name"
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=6),
    ),
    max_leaves=20,
)


@FUZZ
@given(JSON, st.lists(st.tuples(st.sampled_from([*KEYS.split()]), JSON), max_size=3))
def test_any_json(folder: Path, whole: object, changes: list[tuple[str, object]]) -> None:
    """Of any shape; and a true document with some values replaced by others."""
    (folder / "j.json").write_text(json.dumps(whole))
    reads_or_refuses(folder / "j.json")
    write_coco(folder / "j.json", {4: LABELS})
    document = json.loads((folder / "j.json").read_text())
    for key, value in changes:
        for record in [*document["annotations"], *document["images"]]:
            if key in record:
                record[key] = value
    (folder / "j.json").write_text(json.dumps(document))
    reads_or_refuses(folder / "j.json")
