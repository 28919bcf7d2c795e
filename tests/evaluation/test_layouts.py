"""Data sets made up in a temporary folder, right and wrong."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.errors import InputError
from liir.evaluation import layouts

LABELS = np.array([[0, 0, 0], [0, 2, 255]], np.uint8)


def data_set(
    root: Path, names: tuple[str, ...] = ("cat", "ant"), sub: str = "480p", frames: int = 4
) -> Path:
    """Images and label maps of a few frames each."""
    for name in names:
        for kind, ending in (("JPEGImages", "jpg"), ("Annotations", "png")):
            folder = root / kind / sub / name
            folder.mkdir(parents=True)
            for index in range(frames):
                Image.fromarray(LABELS).save(folder / f"{index:05}.{ending}")
    return root


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "480p/val.txt",
            "/JPEGImages/480p/cat/00000.jpg /Annotations/480p/cat/00000.png\n"
            "/JPEGImages/480p/cat/00001.jpg /Annotations/480p/cat/00001.png\n"
            "/JPEGImages/480p/ant/00000.jpg /Annotations/480p/ant/00000.png\n",
        ),
        ("2016/val.txt", "cat\nant\n"),
        ("val.txt", "cat\n\nant"),
    ],
)
def test_davis2016_reads_each_kind_of_list(tmp_path: Path, path: str, text: str) -> None:
    root = data_set(tmp_path, ("cat", "ant", "not-listed"))
    write(root / "ImageSets" / path, text)
    cat, ant = layouts.davis2016(root)
    assert (cat.name, ant.name) == ("cat", "ant")  # in the list's order
    assert cat.folder == root / "JPEGImages/480p/cat"
    assert cat.stems == ("00000", "00001", "00002", "00003")
    assert cat.counted == (1, 2)
    assert cat.start == 0
    assert cat.ids == (1,)
    np.testing.assert_array_equal(cat.truth(3), LABELS != 0)  # void or not, it moves


def test_davis2017_takes_every_folder_where_there_is_no_list(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = data_set(tmp_path, sub=".")
    ant, cat = layouts.davis2017(root)
    layouts.davis2017(root)
    (message,) = caplog.messages  # said once
    assert message.endswith("2017/val.txt: no such list, every folder is taken (2 sequences)")
    assert (ant.name, cat.name) == ("ant", "cat")
    assert ant.ids == (2,)
    np.testing.assert_array_equal(ant.truth(1), LABELS)
    write(root / "ImageSets/2017/val.txt", "cat")
    assert [each.name for each in layouts.davis2017(root)] == ["cat"]


def test_frames_may_be_numbered_evenly(tmp_path: Path) -> None:
    root = data_set(tmp_path, ("cat",), sub=".")
    for path in root.glob("*/cat/*"):
        path.rename(path.with_stem(f"{3 + 5 * int(path.stem):05}"))
    assert layouts.davis2017(root)[0].stems == ("00003", "00008", "00013", "00018")


def test_test_dev_has_first_frames_alone(tmp_path: Path) -> None:
    root = data_set(tmp_path)
    with pytest.raises(InputError, match=r"2017/test-dev.txt: no such list of sequences"):
        layouts.davis2017(root, "test-dev")
    write(root / "ImageSets/2017/test-dev.txt", "cat")
    for index in (1, 2, 3):
        (root / f"Annotations/480p/cat/{index:05}.png").unlink()
    (cat,) = layouts.davis2017(root, "test-dev")
    assert cat.hidden
    assert cat.counted == ()
    assert len(cat.stems) == 4
    assert cat.ids == (2,)


def test_semantic_takes_id_0_as_void_and_scores_the_last_frame_too(tmp_path: Path) -> None:
    sequence = layouts.semantic(data_set(tmp_path))[0]
    assert sequence.counted == (1, 2, 3)
    np.testing.assert_array_equal(sequence.truth(0), [[255] * 3, [255, 2, 255]])
    np.testing.assert_array_equal(sequence.annotations[0].labels, sequence.truth(0))


def remove_list(root: Path) -> None:
    (root / "ImageSets/val.txt").unlink()


def empty_list(root: Path) -> None:
    write(root / "ImageSets/val.txt", "\n")


def remove_frames(root: Path) -> None:
    for index in (0, 2):
        (root / f"JPEGImages/480p/ant/{index:05}.jpg").unlink()


def remove_a_frame_and_its_mask(root: Path) -> None:
    for place in ("JPEGImages/480p/ant/00001.jpg", "Annotations/480p/ant/00001.png"):
        (root / place).unlink()


def other_size(root: Path) -> None:
    Image.fromarray(LABELS[:1]).save(root / "Annotations/480p/cat/00000.png")


def cut_short(root: Path) -> None:
    path = root / "Annotations/480p/cat/00000.png"
    path.write_bytes(path.read_bytes()[:45])


def list_too_much(root: Path) -> None:
    write(root / "ImageSets/val.txt", "cat dog".replace(" ", "\n"))


def remove_annotations(root: Path) -> None:
    (root / "Annotations").rename(root / "Labels")


def remove_truth(root: Path) -> None:
    for index in (1, 3):
        (root / f"Annotations/480p/cat/{index:05}.png").unlink()


def no_object(root: Path) -> None:
    Image.fromarray(LABELS * 0).save(root / "Annotations/480p/cat/00000.png")


def in_colour(root: Path) -> None:
    Image.fromarray(LABELS).convert("RGB").save(root / "Annotations/480p/cat/00000.png")


def not_an_image(root: Path) -> None:
    write(root / "Annotations/480p/cat/00000.png", "hello")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_list, r"no list of DAVIS-2016 sequences: expected .*val.txt; found"),
        (empty_list, r"val.txt: the list of sequences is empty"),
        (list_too_much, r"no folder for sequence dog; found ant, cat"),
        (remove_annotations, r"expected a folder Annotations .*; found .*Labels"),
        (remove_truth, r"cat: ground-truth files: 2 of 4 missing, first 00001.png"),
        (no_object, r"00000.png: the first frame shows no object"),
        (in_colour, r"00000.png: a label map must be a palette .* mode RGB"),
        (not_an_image, r"00000.png: cannot be read as an image"),
        (cut_short, r"00000.png: cannot be read as an image"),
        (remove_frames, r"ant: no frames for label maps: 2 missing, first 00000"),
        (remove_a_frame_and_its_mask, r"480p/ant: 1 frames missing between .*, first 00001"),
        (other_size, r"00000.png: has 3x1 pixels, the frames 3x2"),
    ],
)
def test_a_wrong_layout_is_explained(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    root = data_set(tmp_path)
    write(root / "ImageSets/val.txt", "cat\nant")
    spoil(root)
    with pytest.raises(InputError, match=message) as caught:
        layouts.davis2016(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_ids_of_a_palette_are_read_at_any_depth(tmp_path: Path, bits: int) -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) % min(2**bits, 12)
    image = Image.fromarray(labels)
    image.putpalette([7] * 3 * 2**bits)
    image.save(tmp_path / "a.png", bits=bits)
    np.testing.assert_array_equal(layouts.read_map(tmp_path / "a.png"), labels)


def test_one_bit_is_an_id_too(tmp_path: Path) -> None:
    Image.fromarray(LABELS == 2).save(tmp_path / "a.png")
    np.testing.assert_array_equal(layouts.read_map(tmp_path / "a.png"), LABELS == 2)
