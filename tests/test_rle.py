"""RLE against pycocotools in both directions; a broken one is refused."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as oracle

from liir import rle
from liir.errors import InputError

SIZES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)


@st.composite
def masks(draw: st.DrawFn) -> NDArray[np.bool_]:
    """Noise, blocks (long runs, as in real masks), all and nothing."""
    height, width = draw(SIZES)
    scale = draw(st.integers(1, 12))
    small = draw(hnp.arrays(np.bool_, (height, width)))
    return small.repeat(scale, axis=0).repeat(scale, axis=1)


@given(masks())
def test_encodes_as_pycocotools(mask: NDArray[np.bool_]) -> None:
    theirs = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
    ours = rle.encode(mask)
    assert ours["counts"].encode() == theirs["counts"]
    assert ours["size"] == list(theirs["size"])
    assert rle.area(ours) == oracle.area(theirs) == mask.sum()
    assert np.array_equal(oracle.decode(ours), mask)


@given(hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 9)] * 2), elements=st.integers(0, 3)))
def test_encodes_all_labels_at_once(labels: NDArray[np.uint8]) -> None:
    found = rle.encode_labels(labels)
    assert set(found) == set(np.unique(labels).tolist())
    for number, each in found.items():
        assert each == rle.encode(labels == number)


@given(masks())
def test_decodes_what_pycocotools_wrote(mask: NDArray[np.bool_]) -> None:
    theirs = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))  # counts are bytes
    assert np.array_equal(rle.decode(theirs), mask)


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=20))
def test_reads_runs_of_any_length_in_both_forms(runs: list[int]) -> None:
    runs[0] += 1  # not nothing at all
    plain: dict[str, Any] = {"size": [sum(runs), 1], "counts": runs}
    packed = oracle.frPyObjects(plain, sum(runs), 1)
    expected = np.repeat(np.arange(len(runs)) % 2 == 1, runs)[:, None]
    for form in (plain, packed):
        assert np.array_equal(rle.decode(form), expected)
        assert rle.area(form) == expected.sum()


@pytest.mark.parametrize("value", [False, True])
def test_uniform_masks(value: bool) -> None:
    mask = np.full((480, 854), value)
    assert np.array_equal(rle.decode(rle.encode(mask)), mask)
    assert rle.area(rle.encode(mask)) == mask.size * value


def test_speed_of_a_clip() -> None:
    """80 frames of 7 objects at 480p take seconds, not minutes; here a twentieth of it."""
    y, x = np.mgrid[:480, :854]
    discs = [(x - 100 * k) ** 2 + (y - 240) ** 2 < 150**2 for k in range(1, 8)]
    started = time.perf_counter()
    for mask in discs * 4:
        assert rle.area(rle.encode(mask)) == rle.decode(rle.encode(mask)).sum()
    assert time.perf_counter() - started < 5


GOOD = {"size": [2, 3], "counts": [1, 2, 3]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": [1, 2]}, "do not fill"),
        ({"counts": [1, 2, 4]}, "do not fill"),
        ({"counts": [1, -2, 7]}, "goes from 0"),
        ({"counts": [1, 2.0, 3]}, "integer"),
        ({"counts": [True, 2, 3]}, "integer"),
        ({"counts": None}, "needs counts"),
        ({"counts": ""}, "do not fill"),
        ({"counts": "é"}, "character"),
        ({"counts": "!"}, "character"),
        ({"counts": "o"}, "middle of a number"),
        ({"counts": "oooooooooooooooo0"}, "too large"),
        ({"size": [2]}, "height, width"),
        ({"size": [0, 3]}, "height"),
        ({"size": [2, "3"]}, "integer"),
        ({"size": [1_000_000, 1_000_000]}, "over the limit"),
        ({"size": None}, "height, width"),
    ],
)
def test_refuses_broken_rle(change: dict[str, object], message: str) -> None:
    rle.decode(GOOD)
    with pytest.raises(InputError, match=message):
        rle.decode(GOOD | change)


@settings(max_examples=100)
@given(
    st.lists(st.integers(0, 60), min_size=2, max_size=2),
    st.one_of(
        st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=40),
        st.binary(max_size=40),
        st.lists(st.integers(-5, 500), max_size=9),
    ),
)
def test_any_rle_decodes_or_is_refused(size: list[int], counts: object) -> None:
    try:
        mask = rle.decode({"size": size, "counts": counts})
    except InputError:
        return
    assert mask.shape == tuple(size)
