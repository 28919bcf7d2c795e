"""Folders of predictions: read, checked, written, packed."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.annotations import Annotation
from liir.errors import InputError
from liir.evaluation.layouts import Sequence, foreground, zero_is_void
from liir.evaluation.parts import vip_instances
from liir.evaluation.sources import copied
from liir.evaluation.stored import Predicted, check_stored, keeping, packed, stored

LABELS = np.array([[0, 0, 0], [0, 2, 255]], np.uint8)


def sequence(name: str = "cat", **more: object) -> Sequence:
    stems = ("00000", "00001", "00002", "00003")
    given = {"annotations": {0: Annotation(LABELS)}, "counted": (1, 2)} | more
    return Sequence(name=name, folder=Path(name), stems=stems, **given)  # type: ignore[arg-type]


def predictions(root: Path, each: Sequence, labels: np.ndarray) -> Path:
    folder = root / each.name
    folder.mkdir(parents=True)
    for stem in each.stems:
        Image.fromarray(labels.astype(np.uint8)).save(folder / f"{stem}.png")
    return folder


def test_predictions_may_be_0_and_255(tmp_path: Path) -> None:
    predictions(tmp_path, sequence(), (LABELS == 2) * 255)
    found = list(stored(tmp_path, sequence()))
    assert [each.index for each in found] == [0, 1, 2, 3]
    np.testing.assert_array_equal(found[2].labels, (LABELS == 2) * 2)


@pytest.mark.parametrize("more", [{}, {"decode": zero_is_void}])
def test_an_id_too_many_is_refused(tmp_path: Path, more: dict[str, object]) -> None:
    predictions(tmp_path, sequence(), LABELS % 250)  # 255 becomes 5
    with pytest.raises(InputError, match=r"00000.png: id 5 is not in the first .* has 2"):
        list(stored(tmp_path, sequence(**more)))
    assert list(stored(tmp_path, sequence(allowed=frozenset({2, 5}))))
    assert list(stored(tmp_path, sequence(decode=foreground)))


def test_void_in_a_prediction_is_background(tmp_path: Path) -> None:
    predictions(tmp_path, sequence(), LABELS)  # 2 and 255
    found = next(stored(tmp_path, sequence()))
    np.testing.assert_array_equal(found.labels, LABELS % 255)
    found = next(stored(tmp_path, sequence(decode=zero_is_void)))
    np.testing.assert_array_equal(found.labels, LABELS)


def test_what_is_missing_is_named_beforehand(tmp_path: Path) -> None:
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
    with pytest.raises(InputError, match="ant: the benchmark has no sequence of that name"):
        check_stored(out, [cat], ["cat"])
    (folder / "00002.png").unlink()
    with pytest.raises(InputError, match=r"predictions: 1 of 2 missing, first 00002.png"):
        check_stored(out, [ant], known)
    (folder / "00001.png").rename(folder / "00001.tif")
    with pytest.raises(InputError, match=r"none of the 2 .* first 00001.png; found 00001.tif"):
        check_stored(out, [ant], known)
    check_stored(out, [sequence("ant", counted=())], known)  # nothing counts, nothing is missing


def test_frames_counted_from_one_are_not_scored_against_their_neighbours(tmp_path: Path) -> None:
    folder = predictions(tmp_path, sequence(), LABELS)
    (folder / "00000.png").rename(folder / "00004.png")
    with pytest.raises(InputError, match=r"1 files are of no frame, first 00004.png: .* to 00003"):
        check_stored(tmp_path, [sequence()], ["cat"])


def test_frames_between_the_official_ones_are_left_aside(tmp_path: Path) -> None:
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


def test_names_with_a_slash_are_folders_in_folders(tmp_path: Path) -> None:
    wave = sequence("wave/one")
    predictions(tmp_path, wave, LABELS)
    check_stored(tmp_path, [wave], ["wave/one", "wave/two"])
    predictions(tmp_path, sequence("wave/three"), LABELS)
    with pytest.raises(InputError, match=r"wave/three: the benchmark has no sequence"):
        check_stored(tmp_path, [wave], ["wave/one", "wave/two"])


def test_kept_predictions_are_complete_or_not_there(tmp_path: Path) -> None:
    def all_of_them(stop: int) -> Iterator[Predicted]:
        for index in range(stop):
            yield Predicted(index, np.where(LABELS == 2, LABELS, 0))

    first = keeping(sequence(), all_of_them(4), tmp_path)
    next(first)
    next(first)
    first.close()  # type: ignore[attr-defined]
    assert not (tmp_path / "cat").exists()
    few = sequence(official=frozenset({0, 2}))
    assert len(list(keeping(few, all_of_them(4), tmp_path))) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["cat"]
    assert sorted(path.name for path in (tmp_path / "cat").iterdir()) == ["00000.png", "00002.png"]
    assert [each.index for each in stored(tmp_path, few)] == [0, 2]


def test_an_archive_holds_official_frames_under_their_folder(tmp_path: Path) -> None:
    few = sequence(official=frozenset({1, 3}))
    folder = predictions(tmp_path, few, LABELS)
    for top, expected in (("", "cat/00001.png"), ("Annotations", "Annotations/cat/00001.png")):
        packed(tmp_path, [few], tmp_path / "a.zip", top)
        with zipfile.ZipFile(tmp_path / "a.zip") as archive:
            names = archive.namelist()
            assert names == [expected, expected.replace("1", "3")]
            assert archive.read(expected) == (folder / "00001.png").read_bytes()
    (folder / "00003.png").unlink()
    with pytest.raises(InputError, match=r"predictions: 1 of 2 missing, first 00003.png"):
        packed(tmp_path, [few], tmp_path / "b.zip", "")
    assert not (tmp_path / "b.zip").exists()


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
