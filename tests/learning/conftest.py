"""Footage made for a test: `make.film(path, make.pan(make.scene(0, 200), 9, 2))`."""

import os
import socket
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from liir.video import VideoWriter

Rgb = NDArray[np.uint8]


class Make:
    """Frames and what holds them."""

    height, width = 72, 120

    def scene(self, seed: int, width: int = width, blob: int = 12) -> Rgb:
        """Large blobs of saturated colour, (height, width, 3)."""
        rng = np.random.default_rng(seed)
        shape = (self.height // blob, width // blob, 3)
        small = Image.fromarray(rng.integers(0, 2, shape, dtype=np.uint8) * 255)
        return np.asarray(small.resize((width, self.height), Image.Resampling.NEAREST))

    def pan(self, image: Rgb, count: int, speed: int) -> list[Rgb]:
        return [image[:, speed * i : speed * i + self.width] for i in range(count)]

    def coordinates(self, count: int, step: int = 10) -> list[Rgb]:
        """Frames whose pixels say where they are: red 2 x, green 3 y, blue the frame."""
        y, x = np.mgrid[: self.height, : self.width]
        return [
            np.stack((2 * x, 3 * y, np.full_like(x, step * i)), axis=-1).astype(np.uint8)
            for i in range(count)
        ]

    def film(self, path: Path, frames: list[Rgb]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path) as writer:
            for frame in frames:
                writer.write(frame)
        return path

    def stills(self, folder: Path, frames: list[Rgb]) -> Path:
        folder.mkdir(parents=True)
        for i, frame in enumerate(frames):
            Image.fromarray(frame).save(folder / f"{i:03}.png")
        return folder

    def shard(self, path: Path, files: dict[str, bytes | Path]) -> Path:
        """A tar file of the given contents, in the given order."""
        with tarfile.open(path, "w") as tar:
            for name, content in files.items():
                data = content.read_bytes() if isinstance(content, Path) else content
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, BytesIO(data))
        return path


@pytest.fixture(scope="session")
def make() -> Make:
    return Make()


@pytest.fixture(scope="session")
def clips(make: Make, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two videos of textures that move; without flat regions, whose gradients are rounding."""
    folder = tmp_path_factory.mktemp("footage")
    paths = []
    for seed in (1, 2):
        small = np.random.default_rng(seed).integers(0, 256, (18, 50, 3), dtype=np.uint8)
        texture = Image.fromarray(small).resize((200, make.height), Image.Resampling.BICUBIC)
        paths.append(make.film(folder / f"{seed}.mp4", make.pan(np.asarray(texture), 24, 3)))
    return paths


@pytest.fixture(scope="session")
def pair(clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes that train together have left: see ranks.py."""
    folder = tmp_path_factory.mktemp("pair")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, Path(__file__).with_name("ranks.py"), folder, *clips]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    both = [
        subprocess.Popen(
            command, env=os.environ | place | {"RANK": rank}, stderr=subprocess.PIPE, text=True
        )
        for rank in "01"
    ]
    told = [each.communicate(timeout=900)[1] for each in both]
    assert [each.returncode for each in both] == [0, 0], "\n".join(told)
    return folder
