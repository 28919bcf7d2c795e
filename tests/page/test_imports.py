"""Files that cannot be what they say."""

import io
import zipfile

import pytest


def packed(name, data):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return file.getvalue()


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
