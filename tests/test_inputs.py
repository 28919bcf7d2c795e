"""Values from outside come back as they are, or one line says where and what is wrong."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liir import inputs
from liir.errors import InputError


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9))
def test_integers_in_their_range(value: int, low: int, high: int) -> None:
    for form in (value, np.int16(value)):
        if low <= value <= high:
            assert type(inputs.integer(form, "it", low, high)) is int
            assert inputs.integer(form, "it", low, high) == value
        else:
            with pytest.raises(InputError, match=f"it goes from {low} to {high}"):
                inputs.integer(form, "it", low, high)


@pytest.mark.parametrize(
    "value", [True, np.True_, 1.0, "1", None, np.float32(1), np.array([1]), "\n" * 99]
)
def test_refuses_other_integers(value: object) -> None:
    with pytest.raises(InputError, match=r"the id is .*: it must be an integer") as caught:
        inputs.integer(value, "the id", 0, 9)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("value", "frame"), [(0, 0), ("12", 12), (" 007 ", 7), (2**31 - 1,) * 2])
def test_frames(value: object, frame: int) -> None:
    assert inputs.frame_number(value) == frame


@pytest.mark.parametrize("value", [-1, "-1", "1.0", "", "9" * 10, 2**31, True, None])
def test_refuses_other_frames(value: object) -> None:
    with pytest.raises(InputError, match="the frame is"):
        inputs.frame_number(value)


def test_the_limit_of_a_picture_is_on_its_pixels() -> None:
    assert inputs.picture_size(inputs.MAX_PIXELS, 1) == (inputs.MAX_PIXELS, 1)
    with pytest.raises(InputError, match=f"2x{inputs.MAX_PIXELS} is over the limit"):
        inputs.picture_size(inputs.MAX_PIXELS, 2)
    with pytest.raises(InputError, match="the width is 0"):
        inputs.picture_size(1, 0)


def test_names_stand_from_the_outside_in() -> None:
    with pytest.raises(InputError, match=r"^a\.csv: line 3: wrong$"):
        with inputs.naming("a.csv"), inputs.naming("line 3"):
            raise InputError("wrong")
    with pytest.raises(KeyError), inputs.naming("a.csv"):  # a fault of ours stays one
        raise KeyError


def test_long_lists_are_cut() -> None:
    assert inputs.listed([3, 1]) == "1, 3"
    assert inputs.listed(range(9)) == "0, 1, 2, 3, 4, 5, 6, 7, ..."


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.png", "No such file"), (".", "directory"), ("nul\0.png", "cannot be read")],
)
def test_refuses_files_that_cannot_be_read(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        inputs.read_bytes(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_refuses_a_file_too_large_to_be_read(tmp_path: Path) -> None:
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(128_000_001)
    with pytest.raises(InputError, match="larger than 128 MB"):
        inputs.read_bytes(tmp_path / "hole")


@pytest.mark.parametrize("text", ["", "[" * 100_000, "9" * 5000, "{'a': 1}", "\udcff"])
def test_refuses_broken_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match="is not JSON"):
        inputs.read_json(tmp_path / "a.json")


def test_records_say_where_they_stand() -> None:
    found = inputs.records({"points": [{"x": 1}, {}, 3]}, "points")
    assert [next(found), next(found)] == [("points[0]", {"x": 1}), ("points[1]", {})]
    with pytest.raises(InputError, match=r"points\[2\] is not an object"):
        next(found)
    with pytest.raises(InputError, match="images must be a list"):
        next(inputs.records({}, "images"))


def test_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('\ufeff X ,name\n1,"a\nb"\n2,c\n', "utf-8")
    columns, rows = inputs.read_table(tmp_path / "a.csv")
    assert columns == {"x", "name"}
    assert list(rows) == [
        ("line 3", {"x": "1", "name": "a\nb"}),
        ("line 4", {"x": "2", "name": "c"}),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x,y\n1,2\n1\n", "line 3: has not as many"),
        (b"x,y\n1,2,3\n", "line 2: has not as many"),
        (b'x,y\n1,"' + b"n" * 200_000, "line 1: field larger"),
        (b'x,"' + b"n" * 200_000, "line 0: field larger"),
        (b"x,y\n\xff,1\n", "not text in UTF-8"),
    ],
    ids=["short", "long", "field", "header", "latin"],
)
def test_refuses_broken_tables(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(InputError, match=message):
        list(inputs.read_table(tmp_path / "a.csv")[1])
