"""Pictures that hold ids are read to the pixel; shades and colours are refused, saying why."""

import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from liir.errors import InputError
from liir.labels import fitted, read_picture, voc_palette

LABELS = np.array([[0, 1, 1, 0], [0, 1, 7, 7], [0, 0, 7, 255]], np.uint8)
SIZE = (3, 4)


def save(path: Path, values: NDArray[np.generic], mode: str | None = None) -> Path:
    picture = Image.fromarray(values)
    if mode == "P":
        picture.putpalette(voc_palette().tobytes())
    picture.save(path)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 254], [3, 0]], np.uint16)
    assert np.array_equal(read_picture(save(tmp_path / f"m.{suffix}", deep)), deep)
    for high in (255, 300, 65535):
        deep[0, 0] = high
        with pytest.raises(InputError, match=f"value {high}: object ids go from 1 to 254"):
            read_picture(save(tmp_path / f"m.{suffix}", deep))


@pytest.mark.parametrize("alpha", [False, True])
def test_refuses_pictures_in_colour(tmp_path: Path, alpha: bool) -> None:
    rgb = voc_palette()[np.minimum(LABELS, 7)]
    opaque = np.full((*SIZE, int(alpha)), 255, np.uint8)
    with pytest.raises(InputError, match=r"RGBA? picture.*ids 0, 1, 7 in the VOC palette"):
        read_picture(save(tmp_path / "m.png", np.concatenate([rgb, opaque], 2)))
    rgb[0, 0] = 3
    with pytest.raises(
        InputError, match="colours and not ids: save it as greyscale or indexed PNG"
    ):
        read_picture(save(tmp_path / "m.png", np.concatenate([rgb, opaque], 2)))


def test_refuses_other_images(tmp_path: Path) -> None:
    Image.new("LA", (4, 3), (7, 255)).save(tmp_path / "la.png")
    save(tmp_path / "m.jpg", LABELS)
    for name, message in [
        ("la.png", "mode LA"),
        ("m.jpg", "not a PNG, TIFF or BMP"),
        ("none.png", "No such file"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            read_picture(tmp_path / name)
        assert "\n" not in str(caught.value)


# --- Soft edges


def soft_disc(radius: int, blur: float = 0) -> NDArray[np.uint8]:
    """A white disc as a paint program draws it, each pixel as grey as it is covered."""
    picture = Image.new("L", (1600, 1600))
    box = [800 - 8 * radius + 3, 800 - 8 * radius, 800 + 8 * radius, 800 + 8 * radius - 2]
    ImageDraw.Draw(picture).ellipse(box, fill=255)
    picture = picture.resize((200, 200), Image.Resampling.BOX)
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(blur)) if blur else picture)


@pytest.mark.parametrize("radius", [12, 40, 90])
@pytest.mark.parametrize("blur", [0, 1, 4])
def test_soft_edges_are_no_objects(tmp_path: Path, radius: int, blur: float) -> None:
    disc = soft_disc(radius, blur)
    count = len(set(np.unique(disc).tolist()) - {0, 255})
    with pytest.raises(InputError, match=rf"holds {count} grey values, .* soft edges; save it"):
        read_picture(save(tmp_path / "m.png", disc))
    assert np.array_equal(read_picture(save(tmp_path / "p.png", disc, "P")), disc)


@pytest.mark.parametrize(("side", "apart"), [(1, 5), (2, 5), (2, 0), (3, 0), (20, 5)])
def test_many_objects_are_no_soft_edges(tmp_path: Path, side: int, apart: int) -> None:
    cells = np.arange(1, 101, dtype=np.uint8).reshape(10, 10)
    cell = np.pad(np.ones((side, side), np.uint8), (0, apart))
    values = np.kron(cells, cell)
    assert np.array_equal(read_picture(save(tmp_path / "m.png", values)), values)


# --- Black and white, void


def test_black_and_white_is_one_object_in_any_form(tmp_path: Path) -> None:
    white = (LABELS == 7) * np.uint8(255)
    full = np.full_like(white, 255)
    for bands in (
        [white] * 3,
        [white, white, white, full],
        [white, full],
        [full, full, full, white],  # cut out
    ):
        path = save(tmp_path / "m.png", np.dstack(bands))
        assert np.array_equal(read_picture(path), LABELS == 7)
    for suffix in ("png", "tif"):
        path = save(tmp_path / f"m.{suffix}", white.astype(np.uint16) * 257)
        assert np.array_equal(read_picture(path), LABELS == 7)
    with pytest.raises(InputError, match="RGB picture"):  # red is not white
        read_picture(save(tmp_path / "m.png", np.dstack([white, white * 0, white * 0])))


def test_void_beside_ids_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[0, :9] = 1
    labels[1, 0], labels[1, 1] = 255, 255  # 0.5 %
    save(tmp_path / "m.png", labels)
    with caplog.at_level(logging.WARNING):
        read_picture(tmp_path / "m.png")
        assert not caplog.messages
        labels[1, 2] = 255
        read_picture(save(tmp_path / "p.png", labels, "P"))
        read_picture(save(tmp_path / "w.png", (labels > 0) * np.uint8(255)))
        assert not caplog.messages
        read_picture(save(tmp_path / "m.png", labels))
    assert caplog.messages == [f"{tmp_path}/m.png: 255 is 'unknown' here: 3 pixels are ignored"]


# --- Sizes


@pytest.mark.parametrize(
    ("labels", "video", "good"),
    [
        ((540, 960), (480, 854), True),
        ((12, 16), (480, 640), True),
        ((480, 854), (240, 427), True),
        ((1080, 1920), (7, 12), True),  # rounding
        ((854, 480), (480, 854), False),
        ((480, 640), (480, 854), False),
        ((480, 480), (500, 480), False),
    ],
)
def test_another_shape_is_not_stretched(
    labels: tuple[int, int], video: tuple[int, int], good: bool
) -> None:
    mask = np.ones(labels, np.uint8)
    if good:
        assert fitted(mask, video, resize=True).shape == video
    else:
        told = f"{labels[1]}x{labels[0]} pixels and the video {video[1]}x{video[0]}.*rotated"
        with pytest.raises(InputError, match=told):
            fitted(mask, video, resize=True)


def test_a_stack_is_not_one_mask(tmp_path: Path) -> None:
    pages = [Image.fromarray(LABELS), Image.fromarray(LABELS)]
    pages[0].save(tmp_path / "m.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="stack of 2 pages"):
        read_picture(tmp_path / "m.tif")
