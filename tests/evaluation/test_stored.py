"""Folders of predictions: read and checked."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.annotations import Annotation
from liir.errors import InputError
from liir.evaluation.joints import jhmdb as read_jhmdb
from liir.evaluation.kept import keeping
from liir.evaluation.layouts import Sequence, foreground, zero_is_void
from liir.evaluation.parts import vip_instances
from liir.evaluation.sources import copied
from liir.evaluation.stored import Predicted, check_stored, stored, within

Write = Callable[[Path, Sequence, np.ndarray], Path]

LABELS = np.array([[0, 0, 0], [0, 2, 255]], np.uint8)


def sequence(name: str = "cat", **more: object) -> Sequence:
    stems = ("00000", "00001", "00002", "00003")
    given = {"annotations": {0: Annotation(LABELS)}, "counted": (1, 2)} | more
    return Sequence(name=name, folder=Path(name), stems=stems, **given)  # type: ignore[arg-type]


def test_predictions_may_be_0_and_255(predictions: Write, tmp_path: Path) -> None:
    predictions(tmp_path, sequence(), (LABELS == 2) * 255)
    found = list(stored(tmp_path, sequence()))
    assert [each.index for each in found] == [0, 1, 2, 3]
    np.testing.assert_array_equal(found[2].labels, (LABELS == 2) * 2)


@pytest.mark.parametrize("more", [{}, {"decode": zero_is_void}])
def test_an_id_too_many_is_refused(
    predictions: Write, tmp_path: Path, more: dict[str, object]
) -> None:
    predictions(tmp_path, sequence(), LABELS % 250)  # 255 becomes 5
    with pytest.raises(InputError, match=r"00000.png: id 5 is none of those given \(2\)"):
        list(stored(tmp_path, sequence(**more)))
    assert list(stored(tmp_path, sequence(allowed=frozenset({2, 5}))))
    classes = frozenset({0, 1, 2, 3})
    with pytest.raises(InputError, match=r"id 5 is none of the classes \(0 to 3\)"):
        list(stored(tmp_path, sequence(allowed=classes)))


def test_foreground_is_one_number_or_those_of_the_truth(predictions: Write, tmp_path: Path) -> None:
    truth = tmp_path / "truth.png"
    Image.fromarray((LABELS != 0) * np.uint8(255)).save(truth)
    each = sequence(decode=foreground, annotations={0: Annotation(np.eye(2, 3, dtype=np.uint8))})
    each = replace(each, masks={0: truth})
    folder = predictions(tmp_path, each, (LABELS != 0) * 128)
    np.testing.assert_array_equal(next(stored(tmp_path, each)).labels, LABELS != 0)
    Image.fromarray(LABELS).save(folder / "00002.png")  # 2 and 255
    with pytest.raises(InputError, match=r"00002.png: shows 2, 255, and one foreground is wanted"):
        list(stored(tmp_path, each))
    Image.fromarray(LABELS).save(truth)
    assert len(list(stored(tmp_path, each))) == 4


def test_binary_masks_do_not_stand_for_several_objects(predictions: Write, tmp_path: Path) -> None:
    two = sequence(annotations={0: Annotation(np.array([[1, 0, 0], [0, 2, 0]], np.uint8))})
    folder = predictions(tmp_path, two, (LABELS != 0) * 255)
    with pytest.raises(InputError, match=r"cat: shows 0 and 255 alone, .* 2 objects: .* \(1, 2\)"):
        list(stored(tmp_path, two))
    Image.fromarray(LABELS).save(folder / "00002.png")  # object 2 and void
    assert len(list(stored(tmp_path, two))) == 4


def test_void_in_a_prediction_is_background(predictions: Write, tmp_path: Path) -> None:
    predictions(tmp_path, sequence(), LABELS)  # 2 and 255
    found = next(stored(tmp_path, sequence()))
    np.testing.assert_array_equal(found.labels, LABELS % 255)
    found = next(stored(tmp_path, sequence(decode=zero_is_void)))
    np.testing.assert_array_equal(found.labels, LABELS)


def test_what_is_missing_is_named_beforehand(predictions: Write, tmp_path: Path) -> None:
    ant, cat = sequence("ant"), sequence("cat")
    out, known = tmp_path / "out", ["ant", "cat"]
    with pytest.raises(InputError, match="no such folder of predictions"):
        check_stored(out, [ant], known)
    folder = predictions(out, ant, LABELS)
    (folder / "00000.png").unlink()  # the first and the last frame do not count
    (folder / "00003.png").unlink()
    check_stored(out, [ant], known)
    with pytest.raises(
        InputError, match=r"1 of 2 sequences, first cat: expected cat/00003\.png .*; found ant"
    ):
        check_stored(out, [ant, cat], known)
    with pytest.raises(InputError, match=r"ant: .* no sequence of that name \(1 such\); .* cat:"):
        check_stored(out, [cat], ["cat"])
    (folder / "00002.png").unlink()
    with pytest.raises(InputError, match=r"predictions: 1 of 2 missing, first 00002.png"):
        check_stored(out, [ant], known)
    (folder / "00001.png").rename(folder / "00001.tif")
    with pytest.raises(InputError, match=r"none of the 2 .* first 00001.png; found 00001.tif"):
        check_stored(out, [ant], known)
    check_stored(out, [sequence("ant", counted=())], known)  # nothing counts, nothing is missing


def test_frames_counted_from_one_are_not_scored_against_their_neighbours(
    predictions: Write, tmp_path: Path
) -> None:
    folder = predictions(tmp_path, sequence(), LABELS)
    (folder / "00000.png").rename(folder / "00004.png")
    with pytest.raises(InputError, match=r"1 files are of no frame, first 00004.png: .* to 00003"):
        check_stored(tmp_path, [sequence()], ["cat"])


def test_maps_of_another_size_are_refused_beforehand(predictions: Write, tmp_path: Path) -> None:
    folder = predictions(tmp_path, sequence(), LABELS)
    for stem in ("00002", "00003"):  # the last does not count
        Image.fromarray(LABELS[:1]).save(folder / f"{stem}.png")
    with pytest.raises(InputError, match=r"00002.png: has 3x1 .* frames 3x2 \(1 of 2 are of"):
        check_stored(tmp_path, [sequence()], ["cat"])
    (folder / "00001.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"00001.png: cannot be read as an image"):
        check_stored(tmp_path, [sequence()], ["cat"])


def test_what_a_server_takes_must_be_there(predictions: Write, tmp_path: Path) -> None:
    hidden = sequence(hidden=True, counted=(), official=frozenset({1, 3}))
    folder = predictions(tmp_path, hidden, LABELS)
    for stem in ("00000", "00002"):
        (folder / f"{stem}.png").unlink()
    check_stored(tmp_path, [hidden], ["cat"])
    (folder / "00003.png").unlink()
    with pytest.raises(InputError, match=r"predictions: 1 of 2 missing, first 00003.png"):
        check_stored(tmp_path, [hidden], ["cat"])


def test_what_a_run_keeps_has_the_benchmarks_name_between(tmp_path: Path) -> None:
    assert within(tmp_path, "points", ["cat"]) == tmp_path
    (tmp_path / "points").mkdir()
    assert within(tmp_path, "points", ["cat"]) == tmp_path / "points"
    assert within(tmp_path, "points", ["points"]) == tmp_path


def test_frames_between_the_official_ones_are_left_aside(
    predictions: Write, tmp_path: Path
) -> None:
    predictions(tmp_path, sequence(), LABELS)
    every_other = Sequence(
        name="cat",
        folder=Path("cat"),
        stems=("00000", "00002", "00003"),
        annotations={0: Annotation(LABELS)},
        counted=(1,),
    )
    check_stored(tmp_path, [every_other], ["cat"])
    assert [each.index for each in stored(tmp_path, every_other)] == [0, 1, 2]


def test_names_with_a_slash_are_folders_in_folders(predictions: Write, tmp_path: Path) -> None:
    wave = sequence("wave/one")
    predictions(tmp_path, wave, LABELS)
    check_stored(tmp_path, [wave], ["wave/one", "wave/two"])
    predictions(tmp_path, sequence("wave/three"), LABELS)
    with pytest.raises(InputError, match=r"wave/three: the benchmark has no sequence"):
        check_stored(tmp_path, [wave], ["wave/one", "wave/two"])


def test_instances_come_with_classes_and_scores(vip: Path, tmp_path: Path) -> None:
    one = vip_instances(vip)[0]

    def sure() -> Iterator[Predicted]:
        for each in copied(one):
            yield Predicted(each.index, each.labels, objects={1: 0.5, 2: 0.25})

    assert len(list(keeping(one, sure(), tmp_path / "out"))) == 3
    table = tmp_path / "out/videos1/000000000001.txt"
    assert table.read_text() == "2 0.500000\n13 0.250000\n"
    found = list(stored(tmp_path / "out", one))[1]
    assert found.classes == {1: 2, 2: 13}
    assert found.objects == {1: 0.5, 2: 0.25}
    # As VIP's own code has them, in a folder of their own.
    folder = tmp_path / "out/videos1"
    folder.rename(tmp_path / "moved")
    folder.mkdir()
    (tmp_path / "moved").rename(folder / "instance_part")
    check_stored(tmp_path / "out", [one], ["videos1"])
    assert list(stored(tmp_path / "out", one))[1].classes == {1: 2, 2: 13}
    (folder / "instance_part/000000000001.txt").write_text("hair 0.5\n")
    with pytest.raises(InputError, match=r"expected a line 'CLASS SCORE' for each part"):
        list(stored(tmp_path / "out", one))


def test_half_a_set_of_tables_is_neither(vip: Path, tmp_path: Path) -> None:
    both, out = vip_instances(vip), tmp_path / "out"
    names = [each.name for each in both]
    for each in both:
        assert list(keeping(each, copied(each), out))
    check_stored(out, both, names)
    (out / "videos2/000000000026.txt").unlink()
    with pytest.raises(
        InputError, match=r"videos2: tables of classes .*: 1 of 3 missing, first 0+26.txt"
    ):
        check_stored(out, both, names)
    for path in (out / "videos2").glob("*.txt"):
        path.unlink()
    with pytest.raises(
        InputError, match=r"videos2: tables of classes .*: 3 of 3 missing, first 0+1.txt"
    ):
        check_stored(out, both, names)
    for path in (out / "videos1").glob("*.txt"):
        path.unlink()
    check_stored(out, both, names)  # all have the classes of what was given
    Image.fromarray(np.full((20, 20), 3, np.uint8)).save(out / "videos1/000000000026.png")
    with pytest.raises(InputError, match=r"000000000026.png: id 3 is none of those given \(1, 2\)"):
        list(stored(out, both[0]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 0.5\n", r"01.txt: has no line 2, an id that 000000000001.png shows"),
        ("2 0.5\n99 0.5\n", r"expected a line 'CLASS SCORE' .*class 99; there are 0 to 19"),
        ("2 0.5\n-1 0.5\n", r"class -1; there are 0 to 19"),
        ("2 0.5\n13 nan\n", r"line 2 has no score"),
        ("2 0.5\n13\n", r"expected a line 'CLASS SCORE'"),
    ],
)
def test_a_wrong_table_of_instances_is_refused(
    vip: Path, tmp_path: Path, text: str, message: str
) -> None:
    one = vip_instances(vip)[0]
    assert list(keeping(one, copied(one), tmp_path / "out"))
    (tmp_path / "out/videos1/000000000001.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        list(stored(tmp_path / "out", one))


def counted_from_one(line: str) -> str:
    frame, rest = line.split(",", 1)
    return f"{int(frame) + 1},{rest}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (counted_from_one, r"points.csv: 1 frames .* first 4: .* 0 \(00001\) to 3 \(00004\)"),
        (lambda line: line.replace("neck", "Neck"), r"1 names are .* first Neck; expected neck,"),
        (
            lambda line: line if "belly" not in line else line.replace(",1,1.0", ",0,1.0"),
            r"3 of 42 positions are missing \(or visible is 0\), first belly in frame 1",
        ),
        (
            lambda line: "" if line.startswith(("1,", "2,")) else line,
            r"28 of 42 positions are missing .* first neck in frame 1",
        ),
    ],
)
def test_a_table_of_points_is_of_the_clip(
    jhmdb: Path, tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    (clip,) = read_jhmdb(jhmdb)
    assert list(keeping(clip, copied(clip), tmp_path / "out"))
    table = tmp_path / "out/wave/one/points.csv"
    header, *lines = table.read_text().splitlines()
    # A joint outside of the first frame, which is never asked for, may be there or not.
    more = [f"{frame},left-ankle,1,2,1,1.0" for frame in range(4)]
    table.write_text("\n".join([header, *lines, *more]))
    check_stored(tmp_path / "out", [clip], ["wave/one"])
    table.write_text("\n".join([header, *map(change, lines)]))
    with pytest.raises(InputError, match=message):
        check_stored(tmp_path / "out", [clip], ["wave/one"])
