"""Videos that may be anything: looked at before they are decoded."""

import struct
import zlib

import pytest

from liir.errors import InputError
from liir.page.media import Stills, examine, move_in, safe_name, write_proxy
from liir.video import open_video


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("../../etc/passwd", "passwd"),
        (".hidden.png", "hidden.png"),
        ("..", ""),
        ("x" * 300 + ".mp4", "x" * 80 + ".mp4"),
    ],
)
def test_names_are_no_paths(said, name):
    assert safe_name(said) == name


def test_a_clip(clip, tmp_path):
    found = examine(clip)
    assert (found.width, found.height, found.length, found.rate) == (64, 48, 20, 25.0)
    assert found.direct
    told = []
    write_proxy(open_video(clip), found, tmp_path / "proxy.mp4", told.append)
    assert told == list(range(20))
    assert examine(tmp_path / "proxy.mp4").direct
    stills = Stills()
    first = stills.frame(open_video(clip), clip, 3)
    assert first[:2] == b"\xff\xd8"
    assert stills.frame(open_video(clip), clip, 3) is first
    move_in(clip, tmp_path / "again.mp4")
    assert (tmp_path / "again.mp4").read_bytes() == clip.read_bytes()


def test_absurd_pictures_are_refused_by_their_header(tmp_path):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 12000, 9000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    data += struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IDAT" + struct.pack(">I", 0x35AF061E)
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(InputError, match="too"):
        examine(tmp_path / "bomb.png")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match="not a video"):
        examine(tmp_path / "text.mp4")


def test_a_size_that_an_mp4_only_claims_is_not_believed(clip, tmp_path):
    data = bytearray(clip.read_bytes())
    at = data.index(b"avc1", data.index(b"stsd")) + 4 + 24
    assert struct.unpack_from(">HH", data, at) == (64, 48)
    struct.pack_into(">HH", data, at, 60000, 60000)
    (tmp_path / "claim.mp4").write_bytes(data)
    found = examine(tmp_path / "claim.mp4")
    assert (found.width, found.height) == (64, 48)


@pytest.mark.parametrize(("width", "height"), [(60000, 48), (48, 60000), (8000, 8000)])
def test_absurd_videos_are_refused_by_their_header(tmp_path, monkeypatch, width, height):
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00"
    (tmp_path / "bomb.gif").write_bytes(head + image * 3 + b"\x3b")

    def opened(_):
        raise AssertionError("decoded")

    monkeypatch.setattr("liir.page.media.open_video", opened)
    with pytest.raises(InputError, match=r"too large|not a video"):
        examine(tmp_path / "bomb.gif")
