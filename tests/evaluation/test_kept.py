"""Folders that predictions are kept in: claimed, filled, packed."""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.annotations import Annotation
from liir.errors import InputError
from liir.evaluation.kept import claim, keeping, packed
from liir.evaluation.layouts import Sequence
from liir.evaluation.stored import Predicted, stored

Write = Callable[[Path, Sequence, np.ndarray], Path]

LABELS = np.array([[0, 0, 0], [0, 2, 255]], np.uint8)


def sequence(**more: object) -> Sequence:
    stems = ("00000", "00001", "00002", "00003")
    given = {"annotations": {0: Annotation(LABELS)}, "counted": (1, 2), "folder": Path("cat")}
    return Sequence(name="cat", stems=stems, **(given | more))  # type: ignore[arg-type]


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


def test_an_archive_holds_ids_of_official_frames_under_their_folder(
    predictions: Write, tmp_path: Path
) -> None:
    few = sequence(official=frozenset({1, 3}), hidden=True)
    folder = predictions(tmp_path, few, (LABELS == 2) * 255)  # 255 stands for the only object
    for top, expected in (("", "cat/00001.png"), ("Annotations", "Annotations/cat/00001.png")):
        packed(tmp_path, [few], tmp_path / "a.zip", top)
        with zipfile.ZipFile(tmp_path / "a.zip") as archive:
            assert archive.namelist() == [expected, expected.replace("1", "3")]
            with archive.open(expected) as file, Image.open(file) as image:
                assert image.mode == "P"
                np.testing.assert_array_equal(np.array(image), (LABELS == 2) * 2)
    (folder / "00003.png").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"00003.png: cannot be read as an image"):
        packed(tmp_path, [few], tmp_path / "b.zip", "")
    Image.fromarray(LABELS % 250).save(folder / "00003.png")
    with pytest.raises(InputError, match=r"00003.png: id 5 is none of those given"):
        packed(tmp_path, [few], tmp_path / "b.zip", "")
    assert not (tmp_path / "b.zip").exists()


def test_a_folder_is_claimed_for_one_way_of_predicting(predictions: Write, tmp_path: Path) -> None:
    frames, out = tmp_path / "frames", tmp_path / "out"
    predictions(frames, sequence(), LABELS)
    cat = sequence(folder=frames / "cat")
    claim(out, {"radius": 3, "recent": (1, 2)}, [cat])
    claim(out, {"radius": 3, "recent": (1, 2)}, [cat])
    with pytest.raises(InputError, match="holds predictions made with other settings"):
        claim(out, {"radius": 4, "recent": (1, 2)}, [cat])
    for text in ("{", "[]"):
        (out / "settings.json").write_text(text)
        with pytest.raises(InputError, match=r"settings\.json: is not "):
            claim(out, {"radius": 3, "recent": (1, 2)}, [cat])


@pytest.mark.parametrize("what", ["labels", "points", "frames"])
def test_predictions_from_something_else_are_not_taken_again(
    predictions: Write, tmp_path: Path, what: str
) -> None:
    frames, out = tmp_path / "frames", tmp_path / "out"
    folder = predictions(frames, sequence(), LABELS)
    points = {"a": (1.0, 1.0)}
    cat = sequence(folder=frames / "cat", annotations={0: Annotation(LABELS, points=points)})
    claim(out, {}, [cat])
    (out / "cat").mkdir()
    (folder / ".DS_Store").write_text("of no frame")
    claim(out, {}, [cat])
    if what == "labels":
        changed = replace(cat, annotations={0: Annotation(LABELS % 255, points=points)})
    elif what == "points":
        changed = replace(cat, annotations={0: Annotation(LABELS, points={"a": (2.0, 1.0)})})
    else:
        changed = cat
        Image.effect_noise((30, 20), 9).save(folder / "00002.png")
    claim(out, {}, [replace(cat, name="ant")])  # another sequence is another matter
    with pytest.raises(InputError, match=r"out/cat: was predicted from other frames or another"):
        claim(out, {}, [changed])
    (out / "cat").rmdir()
    claim(out, {}, [changed])  # nothing is there that could be taken again
