"""Still pictures: order, depth, alpha, breakage, and iterators that are read once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.errors import InputError
from liir.pictures import is_stack, to_rgb
from liir.video import open_video

RNG = np.random.default_rng(0)


def rgb_of(path: Path, index: int = 0) -> np.ndarray:
    return open_video(path).frame(index).rgb


def save(path: Path, array: np.ndarray, **options: object) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def test_natural_order(tmp_path: Path) -> None:
    names = ["b1", "a10", "a9", "a010b", "a2", "A1", "a9b"]
    for name in names:
        save(tmp_path / f"{name}.png", np.zeros((4, 4), np.uint8))
    save(tmp_path / "._a3.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "notes.txt").write_text("x")
    stems = open_video(tmp_path).stems
    assert stems == ["A1", "a2", "a9", "a9b", "a10", "a010b", "b1"]


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif", "jpg", "JPEG", "TIFF"])
def test_formats_of_a_folder(tmp_path: Path, suffix: str) -> None:
    frames = np.kron(RNG.integers(0, 256, (3, 4, 4, 3), np.uint8), np.ones((1, 8, 8, 1), np.uint8))
    options = {"quality": 100} if suffix.lower() in ("jpg", "jpeg", "webp") else {}
    for number, rgb in enumerate(frames):
        save(tmp_path / f"{number}.{suffix}", rgb, **options)
    lossless = suffix in ("png", "bmp", "tif", "TIFF")
    for frame, rgb in zip(open_video(tmp_path).frames(), frames, strict=True):
        inner = (slice(3, 5),) * 2  # chroma is shared by neighbours: look at a block's middle
        error = np.abs(frame.rgb[inner].astype(int) - rgb[inner]).max()
        assert error <= (0 if lossless else 12)


def test_sixteen_bits_are_scaled_by_percentiles_once(tmp_path: Path) -> None:
    """A dark first frame stays darker than the rest: one scale for all, so nothing flickers."""
    levels = [1000, 1500, 2000, 3000]
    for number, level in enumerate(levels):
        page = np.full((64, 64), level, np.uint16)
        page[0, 0] = 65535  # a hot pixel, 1 in 4096: beyond the percentile
        save(tmp_path / f"{number}.png", page)
    values = [int(frame.rgb[32, 32, 0]) for frame in open_video(tmp_path).frames()]
    assert values == [round((level - 1000) / 2000 * 255) for level in levels]
    assert (rgb_of(tmp_path, 2)[0, 0] == 255).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_depth_matches_the_definition(dtype: type) -> None:
    deep = (RNG.normal(1000, 200, (3, 32, 32))).astype(dtype)
    low, high = np.percentile(deep, (0.5, 99.5))
    expected = np.clip((deep.astype(float) - low) / (high - low), 0, 1) * 255
    for frame, grey in zip(open_video(deep).frames(), expected, strict=True):
        assert np.abs(frame.rgb - grey[..., None]).max() <= 0.51


def test_float_tiff_with_holes(tmp_path: Path) -> None:
    page = np.linspace(-3, 3, 64 * 64, dtype=np.float32).reshape(64, 64)
    page[0, :3] = np.nan, np.inf, -np.inf
    rgb = rgb_of(save(tmp_path / "a.tif", page))
    assert rgb[0, :3, 0].tolist() == [0, 255, 0]
    assert (np.diff(rgb[1:, :, 0].reshape(-1).astype(int)) >= 0).all()
    assert np.ptp(rgb) == 255


def test_float_colour_between_0_and_1_is_what_it_says() -> None:
    frames = RNG.integers(50, 200, (3, 16, 16, 3), np.uint8)
    for frame, rgb in zip(open_video(frames / 255).frames(), frames, strict=True):
        assert (frame.rgb == rgb).all()


def test_a_constant_deep_picture_is_black() -> None:
    assert (open_video(np.full((2, 8, 8), 7, np.uint16)).frame(1).rgb == 0).all()


def test_bool_is_black_and_white(tmp_path: Path) -> None:
    mask = RNG.random((8, 8)) > 0.5
    expected = np.repeat(mask[..., None] * 255, 3, 2)
    assert (open_video(mask[None]).frame(0).rgb == expected).all()
    assert (rgb_of(save(tmp_path / "a.png", mask)) == expected).all()


def test_alpha_lies_over_black(tmp_path: Path) -> None:
    rgba = RNG.integers(0, 256, (16, 16, 4), np.uint8)
    expected = np.round(rgba[..., :3] * (rgba[..., 3:] / 255.0))
    assert np.abs(rgb_of(save(tmp_path / "a.png", rgba)) - expected).max() <= 0.5
    assert np.abs(open_video(rgba[None]).frame(0).rgb - expected).max() <= 0.5
    grey_alpha = Image.fromarray(rgba).convert("LA")
    grey_alpha.save(tmp_path / "la.png")
    grey, alpha = np.moveaxis(np.asarray(grey_alpha).astype(float), 2, 0)
    assert np.abs(rgb_of(tmp_path / "la.png")[..., 1] - grey * alpha / 255).max() <= 0.5


def test_palette_and_cmyk_become_rgb(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat(np.arange(4, dtype=np.uint8) * 80, 16).reshape(8, 8))
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "p.png")
    assert (rgb_of(tmp_path / "p.png")[..., 0] == np.asarray(image)).all()
    palette.save(tmp_path / "t.png", transparency=int(np.asarray(palette)[-1, -1]))
    assert (rgb_of(tmp_path / "t.png")[-1, -1] == 0).all()
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=100)
    assert rgb_of(tmp_path / "c.jpg")[8, 8] == pytest.approx([255, 0, 0], abs=3)


def test_exif_orientation_is_left_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn clockwise"
    save(tmp_path / "a.jpg", np.zeros((8, 16, 3), np.uint8), exif=exif)
    assert open_video(tmp_path).size == (8, 16)


def test_pages_of_every_depth(tmp_path: Path) -> None:
    stack = RNG.integers(0, 4000, (5, 16, 24), np.uint16)
    first, *rest = map(Image.fromarray, stack)
    first.save(tmp_path / "a.tif", save_all=True, append_images=rest)
    expected = list(open_video(stack).frames())
    video = open_video(tmp_path / "a.tif")
    assert video.length == 5
    for frame, other in zip(video.frames(), expected, strict=True):
        assert (frame.rgb == other.rgb).all()
    assert [frame.index for frame in video.backwards(5)] == [4, 3, 2, 1, 0]


def test_a_broken_picture_is_skipped_unless_it_is_the_first(tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path / f"{number}.png", RNG.integers(0, 256, (32, 32, 3), np.uint8))
    (tmp_path / "1.png").write_bytes(b"nothing like it")
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[: len(whole) // 2])
    video = open_video(tmp_path)
    assert [frame.index for frame in video.frames()] == [0, 2, 4]
    assert video.skipped == [1, 3]
    assert video.stems == list("01234")
    with pytest.raises(InputError, match="frame 3 is not there or cannot be decoded"):
        video.frame(3)
    (tmp_path / "0.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"0\.png: cannot be read as an image"):
        open_video(tmp_path)


def test_differing_sizes_are_told_at_once(tmp_path: Path) -> None:
    for number, width in enumerate([16, 16, 20]):
        save(tmp_path / f"{number}.png", np.zeros((8, width), np.uint8))
    with pytest.raises(InputError, match=r"2\.png is 20x8 but .*0\.png is 16x8"):
        open_video(tmp_path)
    frames = [np.zeros((8, width, 3), np.uint8) for width in (16, 20)]
    with pytest.raises(InputError, match="list: frame 1 is 20x8 but list: frame 0 is 16x8"):
        list(open_video(frames).frames())
    with pytest.raises(InputError, match="iterator: frame 1 is 20x8 but frame 0 is 16x8"):
        list(open_video(iter(frames)).frames())


def test_two_files_of_one_stem_are_refused(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        save(tmp_path / name, np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match=r"holds a\.jpg and a\.png"):
        open_video(tmp_path)


def test_frames_are_no_views_of_the_array() -> None:
    array = np.zeros((2, 8, 8, 3), np.uint8)
    open_video(array).frame(0).rgb[:] = 9
    assert (array == 0).all()
    assert not np.shares_memory(to_rgb(array[0], (0, 1)), array)


def counted(asked: list[int], count: int = 10) -> Iterator[np.ndarray]:
    for number in range(count):
        asked.append(number)
        yield np.full((8, 8, 3), number, np.uint8)


def test_an_iterator_is_read_once_and_no_further_than_asked() -> None:
    asked: list[int] = []
    video = open_video(counted(asked))
    assert (video.can_rewind, video.length, video.size) == (False, None, (8, 8))
    frames = video.frames(stop=4)
    assert [(f.index, int(f.rgb[0, 0, 0])) for f in frames] == [(i, i) for i in range(4)]
    assert asked == [0, 1, 2, 3]
    assert [frame.index for frame in video.frames(6, 8)] == [6, 7]
    with pytest.raises(InputError, match="frame 0 has gone by, the next is 8"):
        next(video.frames())
    with pytest.raises(InputError, match="cannot go backwards"):
        video.backwards(3)
    assert [frame.index for frame in video.frames(8)] == [8, 9]


def test_an_iterator_of_deep_frames_takes_its_scale_from_the_first() -> None:
    deep = np.linspace(0, 1000, 64 * 64).reshape(64, 64).astype(np.uint16)
    first, second = open_video(iter([deep, deep * 2])).frames()
    assert np.ptp(first.rgb) == 255
    assert (second.rgb[40:] == 255).all()


def test_a_file_of_many_pages_is_not_one_picture_of_a_folder(tmp_path: Path) -> None:
    pages = [Image.new("L", (8, 6), level) for level in (10, 20, 30)]
    for name in ("a", "b"):
        pages[0].save(tmp_path / f"{name}.tif", save_all=True, append_images=pages[1:])
    assert is_stack(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: has 3 pages"):
        open_video(tmp_path)
    # Phones save JPEG with a second picture inside (MPO): it is one picture all the same.
    (tmp_path / "phone").mkdir()
    for name in ("a", "b"):
        path = tmp_path / "phone" / f"{name}.jpg"
        pages[0].save(path, "MPO", save_all=True, append_images=pages[1:])
        assert not is_stack(path)
    assert open_video(tmp_path / "phone").length == 2
    assert not is_stack(tmp_path / "none.tif")
