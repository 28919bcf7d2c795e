"""Files of figures: the ending decides, folders are made, nothing is half written."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.errors import InputError
from liir.show.output import suffix, write_png


def test_ending(tmp_path: Path) -> None:
    assert suffix(tmp_path / "new" / "a.PNG", ".png", ".mp4") == ".png"
    assert (tmp_path / "new").is_dir()
    with pytest.raises(InputError, match=r"a\.gif: let the name end in \.png or \.mp4"):
        suffix(tmp_path / "a.gif", ".png", ".mp4")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        suffix(tmp_path / "folder.png", ".png")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: cannot be written"):
        suffix(tmp_path / "file" / "a.png", ".png")


def test_png(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_png(tmp_path / "a.png", picture)
    with Image.open(tmp_path / "a.png") as image:
        assert (np.asarray(image) == picture).all()
    with pytest.raises(InputError, match=r"b\.png: cannot be written"):
        write_png(tmp_path / "none" / "b.png", picture)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
