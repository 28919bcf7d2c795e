"""A small world to draw: data sets, predictions, a video, a tiny model."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.encoder import Encoder, write_weights
from liir.export import write_label_png
from liir.presets import ModelConfig, Preset, TrackingConfig
from liir.video import VideoWriter

FRAMES, HEIGHT, WIDTH = 6, 64, 96


def scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    """A frame (H, W, 3) of grey that moves by 4 pixels, and labels (H, W) that move with it."""
    small = np.random.default_rng(0).integers(0, 256, (16, 40), dtype=np.uint8)
    wide = np.asarray(Image.fromarray(small).resize((160, HEIGHT), Image.Resampling.BICUBIC))
    wide = np.repeat(wide[..., None], 3, axis=2)  # every colour is one that was drawn
    labels = np.zeros((HEIGHT, 160), np.uint8)
    labels[16:40, 40:72] = 1
    labels[44:56, 44:60] = 2
    return wide[:, 4 * index : 4 * index + WIDTH], labels[:, 4 * index : 4 * index + WIDTH]


@pytest.fixture(name="scene", scope="session")
def _scene() -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """`scene`, for tests."""
    return scene


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/ (davis2017, badja.csv), good/ and bad/ predictions, clip.mp4, masks/, tiny model."""
    root = tmp_path_factory.mktemp("world")
    for name in ("one", "two"):
        for folder in ("data/JPEGImages", "data/Annotations", "good", "bad"):
            (root / folder / name).mkdir(parents=True)
        for index in range(FRAMES):
            rgb, labels = scene(index)
            Image.fromarray(rgb).save(root / f"data/JPEGImages/{name}/{index:05}.jpg", quality=95)
            write_label_png(root / f"data/Annotations/{name}/{index:05}.png", labels)
            write_label_png(root / f"good/{name}/{index:05}.png", labels)
            worse = np.roll(labels, 4 * index, axis=1)
            write_label_png(root / f"bad/{name}/{index:05}.png", worse)
    (root / "masks").mkdir()
    with VideoWriter(root / "clip.mp4", rate=10) as writer:
        for index in range(FRAMES):
            writer.write(scene(index)[0])
            write_label_png(root / f"masks/{index:05}.png", scene(index)[1])
    table = ["sequence,frame,joint,x,y,visible"]
    for index in (0, 2, 4):
        table += [
            f"one,{index},nose,{60 - 4 * index},30,1",
            f"one,{index},tail,{70 - 4 * index},50,1",
        ]
    (root / "data/badja.csv").write_text("\n".join(table))
    points = ["frame,name,x,y", "1,nose,56,30", "3,nose,48,30"]
    (root / "points.csv").write_text("\n".join(points))
    model = ModelConfig(width=0.125, pixel_channels=8, region_channels=8)
    preset = Preset(name="tiny", model=model, tracking=TrackingConfig(size=0, radius=4))
    write_weights(root / "tiny.safetensors", Encoder(model).state_dict(), preset)
    return root


@pytest.fixture(scope="session")
def late(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """YouTube-VOS with an object that is given in frame 2: its truth is hidden in valid alone."""
    root = tmp_path_factory.mktemp("late")
    objects = {"1": ("dog", range(FRAMES)), "2": ("cat", range(2, FRAMES))}
    about = {
        number: {"category": kind, "frames": [f"{index:05}" for index in span]}
        for number, (kind, span) in objects.items()
    }
    for split in ("valid", "full"):
        for folder in ("JPEGImages", "Annotations"):
            (root / split / folder / "a").mkdir(parents=True)
        (root / split / "meta.json").write_text(json.dumps({"videos": {"a": {"objects": about}}}))
        for index in range(FRAMES):
            rgb, labels = scene(index)
            Image.fromarray(rgb).save(root / split / f"JPEGImages/a/{index:05}.jpg")
            shown = np.where((labels == 2) & (index < 2), 0, labels).astype(np.uint8)
            if split == "full" or index in (0, 2):
                write_label_png(root / split / f"Annotations/a/{index:05}.png", shown)
    return root
