"""What files say about a frame survives reading; whatever else they hold is refused in one line."""

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from liir import annotations as A
from liir.annotations import Annotation, as_annotation, load_annotations
from liir.errors import InputError

LABELS = np.array([[0, 1, 1, 0], [0, 1, 7, 7], [0, 0, 7, 255]], np.uint8)
SIZE = (3, 4)


def save(path: Path, values: NDArray[np.generic], mode: str | None = None) -> Path:
    picture = Image.fromarray(values)
    if mode == "P":
        picture.putpalette(A.voc_palette().tobytes())
    picture.save(path)
    return path


def grey_png(rows: list[list[int]], bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits, which Pillow cannot write, from the specification."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    data = b""
    for row in rows:
        packed = "".join(f"{value:0{bits}b}" for value in row)
        packed = packed.ljust(-len(packed) // 8 * -8, "0")
        data += b"\0" + int(packed, 2).to_bytes(len(packed) // 8, "big")
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), bits, 0, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return (
        signature
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


# --- Annotation


def test_ids_are_those_of_the_labels_and_those_named() -> None:
    assert Annotation(LABELS).ids == (1, 7)
    assert Annotation(LABELS, (9, 7)).ids == (1, 7, 9)
    assert Annotation(np.zeros(SIZE, np.uint8), (3,)).ids == (3,)  # said to be absent
    assert Annotation(points={"nose": (1, 2)}).points == {"nose": (1.0, 2.0)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Annotation(), "no object"),
        (lambda: Annotation(np.zeros(SIZE, np.uint8)), "no object"),
        (lambda: Annotation(np.full(SIZE, 255, np.uint8)), "no object"),
        (lambda: Annotation(LABELS.astype(int)), "uint8"),
        (lambda: Annotation(LABELS[None]), r"\(H, W\)"),
        (lambda: Annotation(LABELS, (0,)), "object id is 0"),
        (lambda: Annotation(LABELS, (255,)), "object id is 255"),
        (lambda: Annotation(ids=(1,)), "need labels"),
        (lambda: Annotation(points={"nose": (float("nan"), 1)}), "point 'nose'.*not finite"),
        (lambda: Annotation(points={"nose": (1,)}), "point 'nose'.*pair"),  # type: ignore[dict-item]
    ],
)
def test_refuses_impossible_annotations(make: Callable[[], Annotation], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


# --- Label images


@settings(max_examples=60)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=30), st.booleans())
def test_palette_ids_survive(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int], own: bool
) -> None:
    """Whatever the palette's size and colours, which Pillow packs in 1, 2, 4 or 8 bits."""
    ids.append(254)
    values = np.array([ids], np.uint8)
    picture = Image.fromarray(values)
    picture.putpalette(bytes(range(256)) * 3 if own else A.voc_palette().tobytes())
    path = tmp_path_factory.getbasetemp() / "palette.png"
    picture.save(path)
    assert np.array_equal(A.read_labels(path).labels, values)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_shallow_palettes(tmp_path: Path, bits: int) -> None:
    values = np.arange(2**bits, dtype=np.uint8)[None]
    picture = Image.fromarray(values)
    picture.putpalette(A.voc_palette()[: 2**bits].tobytes())
    picture.save(tmp_path / "m.png", bits=bits)
    assert np.array_equal(A.read_labels(tmp_path / "m.png").labels, values)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_shallow_grey_is_not_stretched(tmp_path: Path, bits: int) -> None:
    rows = [list(range(2**bits)), [2**bits - 1] * 2**bits]
    (tmp_path / "m.png").write_bytes(grey_png(rows, bits))
    labels = A.read_labels(tmp_path / "m.png").labels
    assert labels is not None
    assert labels.tolist() == rows


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_grey_ids_and_void(tmp_path: Path, suffix: str) -> None:
    found = A.read_labels(save(tmp_path / f"m.{suffix}", LABELS))
    assert np.array_equal(found.labels, LABELS)
    assert found.ids == (1, 7)


def test_grey_of_0_and_255_is_one_object(tmp_path: Path) -> None:
    white = np.where(LABELS == 7, 255, 0).astype(np.uint8)
    for form in (
        save(tmp_path / "m.png", white),
        save(tmp_path / "b.png", white > 0),
        white,
        white > 0,
    ):
        assert np.array_equal(as_annotation(form).labels, (LABELS == 7).astype(np.uint8))
    with pytest.raises(InputError, match="no object"):  # with a palette it is void
        A.read_labels(save(tmp_path / "p.png", white, "P"))


def test_refuses_a_bomb_before_unpacking_it(tmp_path: Path) -> None:
    small = io.BytesIO()
    Image.new("1", (9000, 9000)).save(small, "PNG")
    huge = small.getvalue().replace(
        struct.pack(">II", 9000, 9000), struct.pack(">II", 60000, 60000)
    )
    for data in (small.getvalue(), huge):
        (tmp_path / "m.png").write_bytes(data)
        with pytest.raises(InputError):
            A.read_labels(tmp_path / "m.png")


# --- Sizes, frames, files together


def test_size_of_the_video(tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", LABELS)
    assert A.read_labels(path, size=SIZE).ids == (1, 7)
    with pytest.raises(InputError, match=r"4x3 pixels and the video 8x6.*--resize-annotation"):
        as_annotation(LABELS, size=(6, 8))
    for value in (path, LABELS, Annotation(LABELS)):
        doubled = as_annotation(value, size=(6, 8), resize=True).labels
        assert np.array_equal(doubled, LABELS.repeat(2, 0).repeat(2, 1))
    odd = as_annotation(doubled, size=(10, 16), resize=True).labels
    expected = Image.fromarray(doubled).resize((16, 10), Image.Resampling.NEAREST)
    assert np.array_equal(odd, np.asarray(expected))


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("12=mask.png", (12, "mask.png")),
        ("points.csv", (None, "points.csv")),
        ("0=a=b.png", (0, "a=b.png")),
        ("runs/lr=3/m.png", (None, "runs/lr=3/m.png")),
        (Path("3=m.png"), (None, "3=m.png")),
    ],
)
def test_options(option: str | Path, expected: tuple[int | None, str]) -> None:
    assert A.parse_annotation_option(option) == (expected[0], Path(expected[1]))


@pytest.mark.parametrize("option", ["-1=m.png", "1.5=m.png", "=m.png", "3=", "99999999999=m.png"])
def test_refuses_options(option: str) -> None:
    with pytest.raises(InputError, match="annotation '"):
        A.parse_annotation_option(option)


def test_frame_of_an_image_without_one(tmp_path: Path) -> None:
    for name, frame in [("00012.png", 12), ("dog_3.png", 0)]:
        assert set(load_annotations([save(tmp_path / name, LABELS)], SIZE)) == {frame}


def test_files_together(tmp_path: Path) -> None:
    one = save(tmp_path / "one.png", np.array([[1, 0, 0, 255, 0]], np.uint8))
    two = save(tmp_path / "two.png", np.array([[255, 2, 0, 3, 255]], np.uint8))
    (tmp_path / "p.csv").write_text("frame,name,x,y\n5,nose,1,0.5\n2,tail,0,0\n")
    merged = load_annotations([f"5={one}", f"5={two}", str(tmp_path / "p.csv")], (1, 5))
    assert list(merged) == [2, 5]
    assert merged[5].ids == (1, 2, 3)
    assert merged[5].labels is not None
    assert merged[5].labels.tolist() == [[1, 2, 0, 3, 255]]  # void gives way to what is known
    assert merged[5].points == {"nose": (1, 0.5)}
    assert set(load_annotations([f"2={tmp_path / 'p.csv'}"], (1, 5))) == {2}
    with pytest.raises(InputError, match="nothing of frame 3, only of 2, 5"):
        load_annotations([f"3={tmp_path / 'p.csv'}"], (1, 5))


@pytest.mark.parametrize(
    ("other", "message"),
    [([[0, 0, 1]], "1 is given by another"), ([[2, 2, 0]], "1 pixels"), ([[0, 2]], "same size")],
)
def test_files_that_contradict_each_other(
    tmp_path: Path, other: list[list[int]], message: str
) -> None:
    one = save(tmp_path / "one.png", np.array([[0, 1, 0]], np.uint8))
    two = save(tmp_path / "two.png", np.array(other, np.uint8))
    with pytest.raises(InputError, match=rf"two\.png, frame 0: .*{message}"):
        load_annotations([one, two], None)


def test_frames_of_the_video() -> None:
    A.check_frames([10, 19], 10, 20)
    A.check_frames([10**6], 0, None)
    for frame in (9, 20):
        with pytest.raises(InputError, match=f"frame {frame}: the frames to label are 10 to 19"):
            A.check_frames([frame], 10, 20)
    for wrong in (-1, 1.5):
        with pytest.raises(InputError, match="annotation of frame"):
            A.check_frames([wrong], 0, None)  # type: ignore[list-item]


@pytest.mark.parametrize(
    "value", [3, None, LABELS.tolist(), LABELS / 2, LABELS[None], -1 + LABELS * 0.0]
)
def test_refuses_other_values(value: object) -> None:
    with pytest.raises(InputError, match="annotation of frame 4"):
        as_annotation(value, frame=4)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, 256])
def test_refuses_ids_out_of_range(value: int) -> None:
    with pytest.raises(InputError, match=f"value {value}"):
        as_annotation(np.array([[0, value]]))


def test_array_is_copied() -> None:
    mine = LABELS.copy()
    annotation = as_annotation(mine)
    mine[:] = 3
    assert np.array_equal(annotation.labels, LABELS)


# --- Keypoints


def test_points_of_csv_and_json(tmp_path: Path) -> None:
    """Other columns, an alias, a BOM, and points that are not visible (their place is not read)."""
    rows = "\ufeffsequence,Frame,joint,x,y,visible,confidence\ncow,3,nose,1.5,2,1,0.9\n"
    rows += "cow,3,tail,nan,,0,\ncow,0,nose,0,3,true,\n"
    (tmp_path / "p.csv").write_text(rows, "utf-8")
    listed = [
        {"frame": 3, "name": "nose", "x": 1.5, "y": 2, "visible": True},
        {"frame": 3, "name": "tail", "x": None, "y": None, "visible": 0},
        {"frame": 0, "joint": "nose", "x": 0, "y": 3, "more": [1]},
    ]
    (tmp_path / "l.json").write_text(json.dumps(listed))
    (tmp_path / "d.json").write_text(json.dumps({"points": listed}))
    for name in ("p.csv", "l.json", "d.json"):
        found = A.read_annotations(tmp_path / name, size=(10, 20))
        assert {frame: dict(each.points) for frame, each in found.items()} == {
            0: {"nose": (0, 3)},
            3: {"nose": (1.5, 2)},
        }


def test_an_empty_place_is_not_visible(tmp_path: Path) -> None:
    rows = "frame,name,x,y\n0,nose,1,2\n0,tail,,\n"
    for sign in ",;\t":
        (tmp_path / "p.csv").write_text(rows.replace(",", sign))
        assert A.read_annotations(tmp_path / "p.csv")[0].points == {"nose": (1, 2)}
    (tmp_path / "p.json").write_text(json.dumps([{"frame": 0, "name": "nose", "X": 1, "y": 2}]))
    with pytest.raises(InputError, match="not a pair"):  # a misspelt key is no empty place
        A.read_annotations(tmp_path / "p.json")


HEADER = "frame,name,x,y,visible\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line must name"),
        ("0,nose,1,2\n", "first line must name"),
        ("frame;name;x;y\n0;a;1,5;2", "line 2: point 'a'.*decimals with a point"),
        ("frame,name,x,y\n0,a,,2", "not a pair of numbers"),
        ("frame,name,x,y\n0,a,,", "no visible point"),
        ("frame|name|x|y\n0|a|1|2", "first line must name"),
        (HEADER, "no visible point"),
        (HEADER + "0,nose,1,2,0\n", "no visible point"),
        (HEADER + "0,nose,1,2,1\n1,nose,nan,2,1\n", "line 3: point 'nose'.*not finite"),
        (HEADER + "0,nose,1,-inf,1\n", "line 2: point 'nose'.*not finite"),
        (HEADER + "0,nose,a,2,1\n", "line 2: point 'nose'.*not a pair of numbers"),
        (HEADER + "0,nose,,2,1\n", "not a pair of numbers"),
        (HEADER + "0,nose,,,1\n", "not a pair of numbers"),
        (HEADER + "0,nose,nan,nan,\n", "leave it empty or set visible to 0"),
        (HEADER + "0,nose,20.1,2,1\n", "line 2: point 'nose'.*outside of the frame, 20x10"),
        (HEADER + "0,nose,1,-0.1,1\n", "outside of the frame"),
        (HEADER + "-1,nose,1,2,1\n", "line 2: the frame is -1"),
        (HEADER + "1.0,nose,1,2,1\n", "line 2: the frame is '1.0'"),
        (HEADER + ",nose,1,2,1\n", "line 2: the frame"),
        (HEADER + "0, ,1,2,1\n", "line 2: the name ''"),
        (HEADER + '0,"a\nb",1,2,1\n', "cannot be printed"),
        (HEADER + "0,nose,1,2,maybe\n", "visible is 'maybe'"),
        (HEADER + "0,nose,1,2,1\n0,nose,1,2,1\n", "line 3: point 'nose' stands twice in frame 0"),
        (HEADER + "0,nose,1,2\n", "line 2: has not as many"),
        ("sequence," + HEADER + "a,0,n,1,2,1\nb,0,m,1,2,1\n", "several sequences"),
    ],
)
def test_refuses_broken_csv(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.csv").write_text(text, "utf-8")
    with pytest.raises(InputError, match=rf"p\.csv: .*{message}") as caught:
        A.read_annotations(tmp_path / "p.csv", size=(10, 20))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("3", "neither a list of points nor"),
        ("{}", "neither a list of points nor"),
        ("[]", "no visible point"),
        ("[3]", r"points\[0\] is not an object"),
        ('[{"frame": true, "name": "a", "x": 1, "y": 2}]', "the frame is True"),
        ('[{"frame": 0, "name": "\\ud800", "x": 1, "y": 2}]', "cannot be printed"),
        ('[{"frame": 0, "name": "a", "x": [], "y": 2}]', r"points\[0\]: point 'a'.*pair"),
        ('[{"frame": 0, "name": "a", "x": 1' + "0" * 400 + ', "y": 2}]', "pair of numbers"),
        ('[{"frame": 0, "name": "a", "x": NaN, "y": 2}]', "not finite"),
        ('{"images": []}', "annotations must be a list"),
        ('{"images": [], "annotations": []}', "holds no annotation"),
    ],
)
def test_refuses_broken_json(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(InputError, match=rf"p\.json: .*{message}"):
        A.read_annotations(tmp_path / "p.json")


def test_far_edge_belongs_to_the_last_pixel(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("frame,name,x,y\n0,a,20,10\n")
    x, y = A.read_annotations(tmp_path / "p.csv", size=(10, 20))[0].points["a"]
    assert (int(x), int(y)) == (19, 9)


# --- Real files


def test_real_masks(data_root: Path) -> None:
    many = A.read_labels(data_root / "multi/Annotations/schoolgirls/00000.png", size=(240, 432))
    assert many.ids == (1, 2, 3, 4, 5, 6, 7)
    one = A.read_annotations(data_root / "DAVIS/Annotations/480p/cows/00003.png", size=(480, 854))
    assert one[3].ids == (1,)


def test_real_keypoints(data_root: Path) -> None:
    found = A.read_points(data_root / "keypoints/badja.csv", sequence="cows")
    assert found[0].points.keys() < {str(joint) for joint in range(40)}  # some are invisible
    with pytest.raises(InputError, match="several sequences"):
        A.read_annotations(data_root / "keypoints/badja.csv")
