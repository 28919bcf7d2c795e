"""Label images as text: exact, and never larger than they may be."""

import base64
import gzip

import numpy as np
import pytest

from liir.errors import InputError
from liir.page.wire import pack, unpack


def test_there_and_back():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (unpack(pack(labels), (3, 4)) == labels).all()


@pytest.mark.parametrize("text", ["", "?", "AAAA", pack(np.zeros((9, 9), np.uint8))])
def test_what_is_none_is_refused(text):
    with pytest.raises(InputError, match="labels"):
        unpack(text, (3, 4))


def test_a_bomb_is_not_unpacked():
    bomb = base64.b64encode(gzip.compress(bytes(50_000_000))).decode()
    with pytest.raises(InputError, match="4x3"):
        unpack(bomb, (3, 4))
