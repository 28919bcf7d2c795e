"""A studio with a tiny model, and clips in which every frame tells its number."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("fastapi")
pytest.importorskip("multipart")

from starlette.testclient import TestClient

from liir import labelling
from liir.encoder import Encoder, write_weights
from liir.page.models import Models
from liir.page.security import Guard
from liir.page.server import create_app
from liir.page.studio import Studio
from liir.page.wire import pack, unpack
from liir.presets import ModelConfig, Preset, TrackingConfig, TrainingConfig
from liir.video import VideoWriter

HEIGHT, WIDTH, LENGTH = 48, 64, 20


def write_clip(path: Path, length: int = LENGTH, size=(HEIGHT, WIDTH), seekable=True) -> Path:
    """A bright square that moves over noise; frame n has n in binary along its upper edge."""
    height, width = size
    noise = np.random.default_rng(0).integers(60, 120, (height // 4, width // 4, 3), np.uint8)
    noise = noise.repeat(4, 0).repeat(4, 1)
    with VideoWriter(path, rate=25, seekable=seekable, crf=10) as writer:
        for index in range(length):
            frame = noise.copy()
            left = 4 + index * (width - 28) // max(1, length - 1)
            frame[16:36, left : left + 20] = (230, 60, 40)
            for bit in range(8):
                frame[0:8, 8 * bit : 8 * bit + 8] = 255 * (index >> bit & 1)
            writer.write(frame, index / 25)
    return path


def draw_square(index: int = 0, number: int = 1, size=(HEIGHT, WIDTH), length: int = LENGTH):
    """The label image of the square in a frame."""
    labels = np.zeros(size, np.uint8)
    left = 4 + index * (size[1] - 28) // max(1, length - 1)
    labels[16:36, left : left + 20] = number
    return labels


@pytest.fixture
def square():
    return draw_square


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A network of a few channels: quick, and the same labels every time."""
    torch.manual_seed(0)
    config = ModelConfig(width=0.125)
    preset = Preset(
        name="tiny",
        model=config,
        tracking=TrackingConfig(size=48, radius=4),
        training=TrainingConfig(batch=1, crop=32, crop_source=(32, 48)),
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    write_weights(path, Encoder(config).state_dict(), preset)
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "square.mp4")


@pytest.fixture(scope="session")
def film():
    return write_clip


@pytest.fixture
def small_pictures(monkeypatch):
    monkeypatch.setattr(labelling, "legible_scale", lambda *_: 1)


@pytest.fixture
def studio(tmp_path, weights, small_pictures):
    studio = Studio(tmp_path / "projects", Models([str(weights)], dtype="float32"))
    yield studio
    studio.close()


@pytest.fixture
def client(studio):
    """A browser on the same computer, as far as the server can tell."""
    app = Guard(create_app(studio, "1.2.3"), upload=20_000_000)
    with TestClient(app, base_url="http://localhost:8000") as client:
        yield Page(client, studio)


class Page:
    """What the page does, in short; answers are checked."""

    def __init__(self, client: TestClient, studio: Studio) -> None:
        self.http, self.studio = client, studio
        self.project = ""

    def ask(self, method: str, path: str, status: int = 200, **more):
        place = f"/api/projects/{self.project}{path}" if not path.startswith("/api") else path
        answer = self.http.request(method, place, **more)
        assert answer.status_code == status, f"{method} {place}: {answer.text}"
        kind = answer.headers.get("content-type", "")
        return answer.json() if kind == "application/json" else answer

    def upload(self, clip: Path) -> dict:
        files = {"files": (clip.name, clip.read_bytes())}
        told = self.ask("POST", "/api/projects", files=files)
        self.project = told["id"]
        return told

    def paint(self, frame: int, labels, status: int = 200, **more):
        ids = set(np.unique(labels).tolist()) - {0, 255}
        for number in sorted(ids - {each["id"] for each in self.state()["objects"]}):
            assert self.ask("POST", "/objects", json={})["added"] == number
        form = {"labels": pack(labels), **more}
        return self.ask("PUT", f"/frames/{frame}/labels", status, json=form)

    def state(self) -> dict:
        return self.ask("GET", "")

    def frame(self, index: int) -> dict:
        return self.ask("GET", f"/frames/{index}")

    def labels(self, index: int):
        text = self.frame(index)["labels"]
        size = self.studio.project(self.project).size
        return np.zeros(size, np.uint8) if text is None else unpack(text, size)

    def wait(self, timeout: float = 60) -> dict:
        import time

        end = time.monotonic() + timeout
        while time.monotonic() < end:
            tasks = self.studio.tasks(self.project)
            if not any(task.active for task in tasks):
                return self.state()
            time.sleep(0.02)
        raise AssertionError("still at it")

    def propagate(self, mode: str = "whole", **more) -> dict:
        self.ask("POST", "/propagate", json={"mode": mode, **more})
        state = self.wait()
        task = state["tasks"][-1]
        assert task["status"] == "done", task["error"]
        return state
