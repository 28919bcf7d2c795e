"""The folder of results: its names, and the tracker's state that it keeps."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from liir.encoder import Encoder, Model, folded
from liir.errors import InputError
from liir.export import PointWriter
from liir.folder import Folder, write_file
from liir.presets import ModelConfig, Preset, TrackingConfig
from liir.tracking import Tracker

SIZE = (24, 32)


@pytest.fixture(params=[torch.float32, torch.bfloat16])
def model(request: pytest.FixtureRequest) -> Model:
    config = ModelConfig(width=0.125)
    preset = Preset(name="tiny", model=config, tracking=TrackingConfig(size=24, radius=2))
    encoder = folded(Encoder(config)).to(request.param)
    return Model(encoder, preset, torch.device("cpu"), request.param, "tiny")


def test_a_saved_tracker_goes_on_bit_for_bit(model: Model, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (8, *SIZE, 3), dtype=np.uint8)
    labels = np.zeros(SIZE, dtype=np.uint8)
    labels[4:12, 4:20] = 7
    tracker, folder = Tracker(model), Folder(tmp_path, None)
    for index in range(4):
        tracker.step(frames[index], labels if index == 0 else None)
    state = tracker.state()
    wanted = [tracker.step(frame, None).scores for frame in frames[4:]]
    folder.save(4, state)  # taken before the steps that followed, which must not have changed it
    again = Tracker(model)
    assert folder.restore(again) == 4
    assert again.ids == (7,)
    for frame, scores in zip(frames[4:], wanted, strict=True):
        assert torch.equal(again.step(frame).scores, scores)


def test_a_new_tracker_can_be_saved_and_nothing_is_no_state(model: Model, tmp_path: Path) -> None:
    folder = Folder(tmp_path, None)
    assert folder.restore(Tracker(model)) is None
    folder.save(3, None)
    tracker = Tracker(model)
    assert folder.restore(tracker) == 3
    assert tracker.count == 0


@pytest.mark.parametrize(
    ("stems", "name"), [(None, "00001"), (["b", "a"], "a"), (["same", "same"], "00001")]
)
def test_frames_are_named_by_number_or_by_stem(stems: list[str] | None, name: str) -> None:
    assert Folder(Path("out"), stems).mask(1) == Path("out/masks") / f"{name}.png"


def test_pictures_have_their_own_names() -> None:
    assert Folder(Path("out"), ["b.png", "a.tif"]).picture(1) == "a.tif"
    assert Folder(Path("out"), ["b.png", "a.tif"]).mask(1).name == "a.png"
    assert Folder(Path("out"), None).picture(1) == "00001.jpg"


def test_damaged_or_missing_labels_are_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path, None)
    folder.masks.mkdir()
    Image.fromarray(np.zeros((3, 4), dtype=np.uint8)).save(folder.mask(1))
    folder.mask(2).write_bytes(b"nonsense")
    for index in range(3):
        with pytest.raises(InputError, match=rf"0000{index}.png: is gone or damaged"):
            folder.stored_labels(index, SIZE)


def test_points_come_back_as_they_were_written(tmp_path: Path) -> None:
    folder = Folder(tmp_path, None)
    told = {3: {"a, b": (1.5, 2.25, 0.5)}, 7: {"a, b": (0.125, 9.0, 1.0), "c": (4.0, 5.0, 0.0)}}
    with PointWriter(folder.points) as writer:
        for index, points in told.items():
            writer.write(index, points)
    assert dict(folder.stored_points()) == told
    for text in (folder.points.read_text().replace(",", ";"), "frame,name,x,y,confidence\n1,a,b"):
        folder.points.write_text(text)
        with pytest.raises(InputError, match=r"points\.csv: is gone or damaged"):
            dict(folder.stored_points())


def test_settings_of_another_program_are_left_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path, None)
    folder.settings.write_text('{"theme": "dark"}')
    for force in (False, True):
        with pytest.raises(InputError, match=r"settings.json: not from liir track, or damaged"):
            folder.admit({}, resume=not force, force=force)
    assert folder.settings.read_text() == '{"theme": "dark"}'


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path / "a", b"old")

    def full(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"a: cannot be written .No space left on device"):
        write_file(tmp_path / "a", b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"old")]


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ({"stop": 3}, {"stop": 5}, "was begun with --end 3, not 5"),
        ({"stop": None}, {"stop": 5}, "was begun without --end, not with --end 5"),
        ({"radius": 3}, {"radius": 4}, "was begun with --set radius=3, not 4"),
        ({"recent": [3, 1]}, {"recent": []}, "with --set recent=3,1, not ;"),
        ({"topk": None}, {"topk": 5}, "was begun with --set topk=none, not 5"),
        ({"soft": True}, {"soft": False}, "was begun with --soft"),
        ({"video": "a"}, {"video": "b"}, "was begun with video a, not b"),
        ({"weights": "ab12"}, {"weights": "cd34"}, "the weights of the model have changed"),
        ({"annotation of frame 0": "ab"}, {"annotation of frame 0": "cd"}, "frame 0 has changed"),
        ({"annotation of frame 0": "ab"}, {}, "the annotation of frame 0 is missing"),
        ({}, {"annotation of frame 7": "ab"}, "the annotation of frame 7 is new"),
    ],
)
def test_another_job_is_told_in_options(
    tmp_path: Path, was: dict[str, object], now: dict[str, object], told: str
) -> None:
    folder = Folder(tmp_path, None)
    folder.store(was)
    assert folder.admit(was, resume=True, force=False)["job"] == was
    with pytest.raises(InputError) as caught:
        folder.admit(now, resume=True, force=False)
    assert told in str(caught.value)
