"""Files that cannot be what they say."""

import io
import json
import stat
import struct
import zipfile
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageFile

from liir.export import write_label_png
from liir.page import imports


def packed(name, data):
    return packed_all({name: data})


def packed_all(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def absurd_png(width, height):
    """A PNG that only says how large it is."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def stacked(*pages):
    file = io.BytesIO()
    first, *others = [Image.fromarray(page) for page in pages]
    first.save(file, "TIFF", save_all=True, append_images=others)
    return file.getvalue()


def document(size, counts, image=None):
    """A COCO document of one mask."""
    height, width = image or size
    return json.dumps(
        {
            "images": [{"id": 1, "frame_index": 3, "height": height, "width": width}],
            "annotations": [
                {"image_id": 1, "track_id": 1, "segmentation": {"size": size, "counts": counts}}
            ],
        }
    ).encode()


def bring(client, name, data, status=200):
    told = client.ask("POST", "/import", status, files={"file": (name, data)})
    if status == 422:
        assert "/tmp" not in told["detail"]
        assert client.state()["annotated"] == {}
        return told["detail"]
    return told["imported"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.png", b"nothing", "not a PNG"),
        ("a.zip", b"nothing", "unpacked"),
        ("a.zip", packed("../../x.txt", "0 0.1 0.1"), "polygon"),
        ("a.zip", packed("bomb.png", bytes(600_000_000)), "unpacks to more"),
        ("a.xml", b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "entities"),
        ("a.xml", b"<annotations>", "not XML"),
        ("a.json", b"[" * 100_000, "JSON"),
        ("a.csv", b"frame,name,x,y\n99,nose,1,1\n", "frame 99"),
        ("a.txt", b"0 a b c", "line 1"),
        ("a.tif", b"II*\0", "TIFF"),
    ],
)
def test_refused_in_words(client, clip, name, data, words):
    client.upload(clip)
    told = client.ask("POST", "/import", 422, files={"file": (name, data)})
    assert words in told["detail"]
    assert "/tmp" not in told["detail"]
    assert client.state()["annotated"] == {}


@pytest.fixture
def masked(square, tmp_path_factory):
    """The PNG of a square, by frame."""
    path = tmp_path_factory.mktemp("masks") / "mask.png"

    def masked(frame):
        write_label_png(path, square(frame))
        return path.read_bytes()

    return masked


@pytest.fixture
def page(client, clip):
    client.upload(clip)
    return client


def cvat(frames):
    box = "8.0,8.0;20.0,8.0;20.0,20.0;8.0,20.0"
    shapes = "".join(f'<polygon frame="{f}" points="{box}" outside="0"/>' for f in frames)
    return f'<annotations><track label="dog">{shapes}</track></annotations>'.encode()


@pytest.mark.parametrize("kind", ["zip", "xml", "tif"])
def test_no_more_pixels_than_the_memory_holds(page, masked, square, monkeypatch, kind):
    """As many frames as there is room for, and not one more."""
    monkeypatch.setattr(imports, "_MOST_PIXELS", 2 * 48 * 64)

    def data(count):
        if kind == "zip":
            return packed_all({f"{frame:05d}.png": masked(frame) for frame in range(count)})
        return cvat(range(count)) if kind == "xml" else stacked(*map(square, range(count)))

    assert "too many frames" in bring(page, f"a.{kind}", data(3), 422)
    assert bring(page, f"a.{kind}", data(2)) == [0, 1]


@pytest.mark.parametrize("kind", ["zip", "tif"])
def test_no_more_files_or_pages_than_are_looked_at(page, masked, square, monkeypatch, kind):
    monkeypatch.setattr(imports, "_MOST_ENTRIES", 2)

    def data(count):
        if kind == "zip":
            return packed_all({f"{frame}.png": masked(frame) for frame in range(count)})
        return stacked(*map(square, range(count)))

    assert "more than 2" in bring(page, f"a.{kind}", data(3), 422)
    assert bring(page, f"a.{kind}", data(2)) == [0, 1]


@pytest.mark.parametrize(("width", "height"), [(60000, 60000), (10000, 8000), (2**31 - 1, 1)])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_size_is_looked_at_before_the_pixels(page, monkeypatch, width, height, zipped):
    def load(image):
        raise SystemError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    data = absurd_png(width, height)
    name, data = ("a.zip", packed("00001.png", data)) if zipped else ("00001.png", data)
    assert "too many" in bring(page, name, data, 422)


def test_a_page_of_another_size_is_not_decoded(page, square, monkeypatch):
    data = stacked(np.ones((480, 640), np.uint8), square(1))

    def load(image):
        raise SystemError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert "page 0 is not of the video's size" in bring(page, "a.tif", data, 422)


def test_links_inside_a_zip_are_not_followed(page, masked, tmp_path):
    """What unpacks to a link elsewhere is taken for a file that holds a name."""
    (tmp_path / "secret.png").write_bytes(masked(0))
    link = zipfile.ZipInfo("00003.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    target = str(tmp_path / "secret.png")
    assert "00003.png: is not a PNG" in bring(page, "a.zip", packed(link, target), 422)


def test_names_inside_a_zip_are_no_paths(page, masked):
    root = page.studio.root
    before = sorted(root.parent.rglob("*"))
    names = ["../../../00002.png", "/etc/00004.png", "..\\..\\00006.png", "C:\\x\\00008.png"]
    data = packed_all({name: masked(1) for name in names})
    assert bring(page, "../../a.zip", data) == [2, 4, 6, 8]
    found = {path.name for path in {*root.parent.rglob("*")} - {*before}}
    assert found == {"annotations", "00002.png", "00004.png", "00006.png", "00008.png"}


@pytest.mark.parametrize(
    ("size", "counts", "words"),
    [
        ([10**9, 10**9], [10**18], "over the limit|goes from"),
        ([8001, 8001], [8001 * 8001], "over the limit"),
        ([2**40, 1], "PPYo1", "goes from"),
        ([-48, -64], [3072], "goes from"),
        ([48, 64], [10**12], "goes from"),
        ([48, 64], [3000, 73], "do not fill"),
        ([48, 64], "o" * 2000 + "0", "too large"),
        ([4800, 6400], [0, 4800 * 6400], "the video 64x48"),
    ],
)
def test_absurd_runs_are_refused(page, size, counts, words):
    detail = bring(page, "a.json", document(size, counts), 422)
    assert any(word in detail for word in words.split("|")), detail


def test_runs_of_another_size_than_their_image(page):
    detail = bring(page, "a.json", document([4000, 4000], [0, 16_000_000], (48, 64)), 422)
    assert "not of the size of its image" in detail
    assert bring(page, "a.json", document([48, 64], [100, 2972])) == [3]


def test_a_document_names_the_images_of_a_folder(tmp_path):
    told = json.loads(document([4, 4], [0, 16]))
    told["images"][0] = {"id": 1, "file_name": "101.jpg", "height": 4, "width": 4}
    (tmp_path / "a.json").write_text(json.dumps(told))
    project = SimpleNamespace(size=(4, 4), stems=["100", "101"])
    assert list(imports.read_file(tmp_path / "a.json", project, 0)[0]) == [1]
