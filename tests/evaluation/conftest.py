"""Data sets that are not at hand, made up: small, of exactly the official layout."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from liir import presets
from liir.encoder import Encoder, Model, folded
from liir.evaluation.layouts import Sequence
from liir.evaluation.stored import Predicted


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def told(sequence: Sequence) -> Iterator[Predicted]:
    """The truth as predictions; positions are reported invisible."""
    with Image.open(next(sequence.folder.iterdir())) as image:
        size = image.size
    for index in range(sequence.start, len(sequence.stems)):
        if sequence.joints:
            points = sequence.joints.get(index, sequence.annotations[sequence.start].points)
            places = {name: (*xy, 0.0) for name, xy in points.items()}
            yield Predicted(index, np.zeros(size[::-1], np.uint8), places)
        elif index in sequence.masks:
            truth = sequence.truth(index)
            known = sequence.ids if sequence.allowed is None else sorted(sequence.allowed)
            yield Predicted(index, np.where(np.isin(truth, known), truth, 0))


@pytest.fixture
def predictions() -> Callable[[Path, Sequence, np.ndarray], Path]:
    """Writes a map for each of a sequence's frames, the same in all; returns their folder."""

    def write(root: Path, each: Sequence, labels: np.ndarray) -> Path:
        for stem in each.stems:
            save(root / each.name / f"{stem}.png", labels)
        return root / each.name

    return write


@pytest.fixture
def random_model() -> Model:
    """The smallest network, untrained."""
    config = presets.Preset(
        name="tiny",
        model=presets.ModelConfig(width=0.125),
        tracking=presets.TrackingConfig(size=0, radius=4),
    )
    encoder = folded(Encoder(config.model))
    return Model(encoder, config, torch.device("cpu"), torch.float32, "tiny")


@pytest.fixture
def perfect() -> Callable[[Sequence], Iterator[Predicted]]:
    """A source that tells the truth."""
    return told


def youtube_labels(video: str, step: int) -> np.ndarray:
    """(24, 32): in a, object 1 moves and 3 stays from step 2 on; in b, 2 moves from step 1 on."""
    labels = np.zeros((24, 32), np.uint8)
    if video == "a":
        labels[2:8, 2 + step : 8 + step] = 1
        if step >= 2:
            labels[12:20, 20:30] = 3
    elif step >= 1:
        labels[10:16, 4 + step : 10 + step] = 2
    return labels


YOUTUBE = {"a": {"1": ("cat", 0), "3": ("dog", 2)}, "b": {"2": ("cat", 1)}}


@pytest.fixture
def youtube(tmp_path: Path) -> Path:
    """Two videos of `valid`, of which only the given masks are there; `full` has all of them.

    Official frames are 00000, 00005 ... 00020; `valid_all_frames` has those between, too.
    """
    root = tmp_path / "youtube"
    objects = {"1": {"category": "cat", "frames": ["00000"]}}
    for split in ("valid", "full"):
        videos = {}
        for video, about in YOUTUBE.items():
            for step in range(5):
                name = f"{5 * step:05}"
                labels = youtube_labels(video, step)
                save(root / split / "JPEGImages" / video / f"{name}.jpg", labels * 60)
                new = [int(o) for o, (_, first) in about.items() if first == step]
                if split == "valid":  # where an object is given, the others are not shown
                    labels = np.where(np.isin(labels, new), labels, 0)
                if new or split == "full":
                    save(root / split / "Annotations" / video / f"{name}.png", labels)
            videos[video] = {
                "objects": {
                    o: {
                        "category": kind,
                        "frames": [f"{5 * step:05}" for step in range(first, 5)],
                    }
                    for o, (kind, first) in about.items()
                }
            }
        (root / split / "meta.json").write_text(json.dumps({"videos": videos}))
    for video in YOUTUBE:
        for frame in range(21):
            pixels = youtube_labels(video, frame // 5) * 60
            save(root / "valid_all_frames" / "JPEGImages" / video / f"{frame:05}.jpg", pixels)
    (root / "train").mkdir()
    train = {"videos": {"x": {"objects": objects}}}
    (root / "train" / "meta.json").write_text(json.dumps(train))
    return root


FACE, HAIR, DRESS = 13, 2, 5


def vip_labels(video: str, step: int) -> np.ndarray:
    """(20, 20): hair stays; in videos1 a face moves by 2, in videos2 a dress is new in the end."""
    labels = np.zeros((20, 20), np.uint8)
    labels[12:16, 12:16] = HAIR
    if video == "videos1":
        labels[2:6, 2 + 2 * step : 6 + 2 * step] = FACE
    elif step == 2:
        labels[2:4, 2:4] = DRESS
    return labels


@pytest.fixture
def vip(tmp_path: Path) -> Path:
    """VIP_Fine: two videos of three frames; numbers of instances change from frame to frame."""
    root = tmp_path / "VIP_Fine"
    for video in ("videos1", "videos2"):
        for step in range(3):
            name = f"{1 + 25 * step:012}"
            labels = vip_labels(video, step)
            save(root / "Images" / video / f"{name}.jpg", labels * 10)
            save(root / "Annotations" / "Category_ids" / video / f"{name}.png", labels)
            instances = np.zeros_like(labels)
            lines = []
            kinds = sorted(set(np.unique(labels).tolist()) - {0}, reverse=step % 2 == 1)
            for number, kind in enumerate(kinds, 1):
                instances[labels == kind] = number
                lines.append(f"{number} {kind} 1")
            save(root / "Annotations" / "Instance_ids" / video / f"{name}.png", instances)
            table = root / "Annotations" / "Instance_ids" / video / f"{name}.txt"
            table.write_text("\n".join(lines) + "\n")
    (root / "lists").mkdir()
    (root / "lists" / "val_videos.txt").write_text("videos1\nvideos2\n")
    return root


@pytest.fixture
def jhmdb(tmp_path: Path) -> Path:
    """A clip for testing and one for training; 4 frames of 60x80, moving by 3 to the right.

    The true joints span 24 x 32 pixels: 0.6 x the diagonal is 24. The last joint lies outside.
    """
    root = tmp_path / "JHMDB"
    for clip in ("one", "two"):
        joints = np.empty((2, 15, 4))
        for t in range(4):
            joints[0, :, t] = 10 + np.linspace(0, 32, 15) + 3 * t
            joints[1, :, t] = 10 + np.linspace(0, 24, 15)
            # The last joint must not span the box of those that count.
            joints[:, 13, t] = 42 + 3 * t, 34
            joints[:, 14, t] = -50 + 3 * t, 5
            pixels = np.zeros((60, 80, 3))
            save(root / "Rename_Images" / "wave" / clip / f"{t + 1:05}.png", pixels)
        place = root / "joint_positions" / "wave" / clip
        place.mkdir(parents=True)
        savemat(place / "joint_positions.mat", {"pos_img": joints, "viewpoint": "N"})
    (root / "splits").mkdir()
    (root / "splits" / "wave_test_split1.txt").write_text("one.avi 2 \ntwo.avi 1 \n")
    (root / "splits" / "wave_test_split2.txt").write_text("one.avi 1 \ntwo.avi 2 \n")
    return root


@pytest.fixture
def badja(tmp_path: Path) -> Path:
    """The official folder: joints of a bear in frames 0, 2 and 4 of five, as (y, x)."""
    root = tmp_path / "BADJA"
    records = []
    for index in range(5):
        images, masks = (
            Path("DAVIS", kind, "Full-Resolution", "bear") for kind in ("JPEGImages", "Annotations")
        )
        mask = np.zeros((40, 60))
        mask[10:30, 10:30] = 1  # area 400: 0.2 x its root is 4
        save(root / images / f"{index:05}.jpg", mask * 100)
        save(root / masks / f"{index:05}.png", mask)
        if index % 2 == 0:
            joints, seen = np.zeros((37, 2)), [False] * 37
            for j, (x, y) in {8: (12, 12), 33: (28, 24), 0: (20, 20)}.items():
                joints[j], seen[j] = (y, x + 1.5 * index), True
            if index == 4:
                seen[33] = False
                joints[36], seen[36] = (28, 10 + 1.5 * index), True  # new: not tracked
            records.append(
                {
                    "image_path": str(images / f"{index:05}.jpg"),
                    "segmentation_path": str(masks / f"{index:05}.png"),
                    "joints": joints.tolist(),
                    "visibility": seen,
                }
            )
    (root / "joint_annotations").mkdir()
    (root / "joint_annotations" / "bear.json").write_text(json.dumps(records))
    return root


@pytest.fixture(scope="session")
def tiny_settings() -> tuple[str, ...]:
    """Of a training that takes no time."""
    return (
        *("width=0.125", "batch=2", "crop=32", "crop_source=24,48", "gap=2", "chunk=6", "reuse=2"),
        *("training.radius=3", "warmup=2", "bank_frames=4", "bank_points=2", "inter_radius=1"),
        *("position_grid=8", "tracking.size=0", "tracking.radius=3"),
    )


def frames(folder: Path, count: int, seed: int) -> Path:
    """A texture that moves."""
    folder.mkdir(parents=True)
    wide = np.random.default_rng(seed).integers(0, 256, (12, 40, 3), dtype=np.uint8)
    wide = wide.repeat(4, 0).repeat(4, 1)
    for i in range(count):
        Image.fromarray(wide[:, 2 * i : 2 * i + 64]).save(folder / f"{i:05}.png")
    return folder


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips to train on, one sequence to score."""
    root = tmp_path_factory.mktemp("world")
    for seed in range(2):
        frames(root / "clips" / str(seed), 8, seed)
    frames(root / "davis/JPEGImages/one", 5, 7)
    (root / "davis/Annotations/one").mkdir(parents=True)
    (root / "davis/ImageSets").mkdir()
    (root / "davis/ImageSets/val.txt").write_text("one\n")
    for i in range(5):
        mask = np.zeros((48, 64), np.uint8)
        mask[12:36, 24 - 2 * i : 48 - 2 * i] = 255
        Image.fromarray(mask).save(root / f"davis/Annotations/one/{i:05}.png")
    return root
