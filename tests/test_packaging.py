"""The wheel: complete, small, and of use where nothing else is."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from liir.export import write_label_png
from liir.video import VideoWriter

REPOSITORY = Path(__file__).resolve().parents[1]
WEIGHTS = REPOSITORY / "liir" / "weights"
LIMIT_MB = 60


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*command, "-w", str(folder), str(REPOSITORY)], check=True)
    return next(folder.glob("liir-*.whl"))


def test_bundled_weights_have_cards():
    models = {path.stem for path in WEIGHTS.glob("*.safetensors")}
    assert models == {path.stem for path in WEIGHTS.glob("*.md")}
    for name in models:
        card = (WEIGHTS / f"{name}.md").read_text("utf-8")
        for part in ("**For**", "**Not for**", "**Licence**", "## Data", "## Recipe", "## Scores"):
            assert part in card, (name, part)
        assert "## Known failures" in card, name


@pytest.mark.slow
def test_wheel_holds_the_package_and_its_weights(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.stat().st_size < LIMIT_MB * 10**6
    weights = [path.name for path in WEIGHTS.glob("*.*")]
    assert "small.safetensors" in weights
    for name in ("liir/py.typed", *(f"liir/weights/{name}" for name in weights)):
        assert name in names
    assert not [n for n in names if n.startswith(("tests/", "liir/weights/ablation"))]


@pytest.mark.slow
def test_wheel_labels_a_clip_in_an_empty_environment(wheel, tmp_path):
    """Without network: the machine's own torch and the rest are lent, liir is not."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True)
    place = "import sysconfig; print(sysconfig.get_path('purelib'))"
    lent = subprocess.check_output([sys.executable, "-c", place], text=True).strip()
    site = subprocess.check_output([python, "-c", place], text=True).strip()
    # After its own packages in the path, so that the wheel's liir comes first.
    with open(f"{site}/zz_lent.pth", "w") as file:
        file.write(lent + "\n")
    with VideoWriter(tmp_path / "clip.mp4") as writer:
        for t in range(4):
            writer.write(np.full((64, 96, 3), 40 * t, dtype=np.uint8))
    labels = np.zeros((64, 96), dtype=np.uint8)
    labels[20:40, 30:60] = 5
    write_label_png(tmp_path / "first.png", labels)
    command = [tmp_path / "venv" / "bin" / "liir", "track", "clip.mp4", "--size", "64"]
    command += ["--annotation", "0=first.png", "--out", "out"]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert (tmp_path / "out" / "masks" / "00003.png").is_file()
    where = "import liir; print(liir.__file__)"
    assert subprocess.check_output([python, "-c", where], text=True, cwd=tmp_path).startswith(site)
