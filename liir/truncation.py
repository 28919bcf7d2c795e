"""Files that were cut short: a copy that broke off, a full disk.

Counting frames would not tell: an edit list may hide any number of them, and a last picture may
stand for long.
"""

from pathlib import Path

EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # the two parts of a Matroska file


def is_cut(path: Path) -> bool:
    """Tells whether a video file ends before its outermost parts do, as their headers say.

    These are the boxes of ISO 14496-12 (mp4, mov), the two elements of Matroska and WebM, and the
    RIFF chunks of avi. Other kinds, and live streams, do not say.

    Raises:
        OSError: It cannot be read.
    """
    end, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < end:
            file.seek(at)
            length, essential = _part(file.read(16))
            if not length:
                return False
            at += length
            if at > end:
                return essential
    return False


def _part(head: bytes) -> tuple[int, bool]:
    """(bytes, whether it holds pictures) of the part that begins with `head`; 0: it cannot tell."""
    tag, kind = head[:4], head[4:8]
    if tag == b"RIFF":
        return 8 + int.from_bytes(kind, "little"), True
    if tag in (EBML, SEGMENT) and head[4:5] > b"\0":
        width = 9 - head[4].bit_length()  # as many leading zero bits as there are further bytes
        most = (1 << 7 * width) - 1
        length = int.from_bytes(head[4 : 4 + width]) & most
        return 0 if length == most else 4 + width + length, tag == SEGMENT
    length = int.from_bytes(head[8:16] if tag == b"\0\0\0\1" else tag)
    return length if length >= 8 and kind.isalnum() else 0, kind in (b"mdat", b"moof", b"moov")
