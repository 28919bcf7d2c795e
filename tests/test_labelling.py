"""The job of one video: its files, interrupted and gone on with."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from liir import folder as folder_module
from liir import labelling
from liir.annotations import Annotation
from liir.encoder import Encoder, Model, folded
from liir.errors import InputError
from liir.figures import legible_scale
from liir.labelling import Progress, Summary, label_video
from liir.presets import ModelConfig, Preset, TrackingConfig
from liir.video import VideoWriter, open_video

HEIGHT, WIDTH, LENGTH = 32, 48, 9
TINY = TrackingConfig(size=32, radius=3)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    config = ModelConfig(width=0.125)
    encoder = folded(Encoder(config)).to(memory_format=torch.channels_last)
    preset = Preset(name="tiny", model=config, tracking=TINY)
    return Model(encoder, preset, torch.device("cpu"), torch.float32, "tiny")


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing and encoding at 360 rows is most of what these jobs would do."""
    monkeypatch.setattr(labelling, "legible_scale", lambda *_: 2)


def clip(length: int = LENGTH) -> np.ndarray:
    """A bright square that moves over noise."""
    noise = np.random.default_rng(0).integers(0, 80, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    frames = np.repeat(noise[None], length, axis=0)
    for index, frame in enumerate(frames):
        frame[8:20, 4 + 2 * index : 18 + 2 * index] = (220, 160, 40)
    return frames


def first(number: int = 1, index: int = 0, points: bool = True) -> dict[int, Annotation]:
    labels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    labels[8:20, 4 + 2 * index : 18 + 2 * index] = number
    corner = {"corner": (4.5 + 2 * index, 8.5)} if points else {}
    return {index: Annotation(labels, points=corner)}


def label(model: Model, out: Path, annotations: Any = None, **options: Any) -> Summary:
    return label_video(model, open_video(clip()), annotations or first(), out, **options)


def contents(out: Path) -> dict[str, bytes]:
    """All files of labels, which must be the same however the job went."""
    files = [p for p in out.rglob("*") if p.is_file() and p.suffix not in (".mp4", ".pt")]
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in files}


def stop_after(frames: int, error: BaseException) -> Any:
    def progress(progress: Progress) -> None:
        if progress.labelled == frames:
            raise error

    return progress


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.time or 0) for frame in container.decode(video=0)]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_file_is_there_and_of_the_right_size(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "legible_scale", legible_scale)
    two = first(7)
    two[0].labels[24:30, 2:40] = 200  # type: ignore[index]
    two = {0: Annotation(two[0].labels, points=two[0].points)}
    seen: list[Progress] = []
    summary = label(model, tmp_path / "new" / "out", two, soft=True, progress=seen.append)
    out = tmp_path / "new" / "out"
    names = [f"{i:05d}.png" for i in range(LENGTH)]
    assert sorted(p.name for p in (out / "masks").iterdir()) == names
    for name in names:
        with Image.open(out / "masks" / name) as image:
            assert (image.mode, image.size) == ("P", (WIDTH, HEIGHT))
            assert set(np.unique(np.array(image))) <= {0, 7, 200}
        for number in (7, 200):
            with Image.open(out / "soft" / str(number) / name) as image:
                assert (image.mode, image.size) == ("L", (WIDTH, HEIGHT))
    given = np.array(Image.open(out / "masks" / names[0]))
    assert (given == two[0].labels).all()
    document = json.loads((out / "labels.json").read_text())
    assert [image["frame_index"] for image in document["images"]] == list(range(LENGTH))
    assert {each["track_id"] for each in document["annotations"]} == {7, 200}
    assert len(rows(out / "confidence.csv")) == 2 * LENGTH
    assert [int(row["frame"]) for row in rows(out / "points.csv")] == list(range(LENGTH))
    assert len(times(out / "overlay.mp4")) == LENGTH
    assert open_video(out / "overlay.mp4").size == (12 * HEIGHT, 12 * WIDTH)
    with Image.open(out / "sheet.png") as sheet:
        assert 500 < sheet.width <= 1600
    assert (summary.frames, summary.labelled, summary.skipped) == (LENGTH, LENGTH, ())
    assert summary.rate > 0
    assert {p.name for p in summary.paths} == {p.name for p in out.iterdir()} - {"settings.json"}
    assert [p.done for p in seen] == list(range(1, LENGTH + 1))
    assert {p.total for p in seen} == {LENGTH}


def test_only_what_was_asked_for_is_written(model: Model, tmp_path: Path) -> None:
    label(model, tmp_path / "a", {0: Annotation(points={"p": (9, 9)})}, overlay=False)
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        "points.csv",
        "sheet.png",
        "settings.json",
    }
    label(model, tmp_path / "b", first(points=False), start=0, stop=4)
    assert not (tmp_path / "b" / "points.csv").exists()
    assert len(list((tmp_path / "b" / "masks").iterdir())) == 4


def test_a_folder_keeps_its_names(model: Model, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for index, frame in enumerate(clip(3)):
        Image.fromarray(frame).save(tmp_path / "in" / f"shot_{index + 8}.png")
    label_video(model, tmp_path / "in", first(), tmp_path / "out")
    masks = {p.name for p in (tmp_path / "out" / "masks").iterdir()}
    assert masks == {"shot_8.png", "shot_9.png", "shot_10.png"}
    document = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert [i["file_name"] for i in document["images"]] == [f"shot_{i}.png" for i in (8, 9, 10)]
    label_video(model, tmp_path / "in", first(), tmp_path / "out", force=True)
    assert {p.name for p in (tmp_path / "out" / "masks").iterdir()} == masks


@pytest.mark.parametrize(
    ("index", "after", "error"),
    [
        (0, 1, KeyboardInterrupt()),
        (0, 5, RuntimeError("boom")),
        (0, 9, KeyboardInterrupt()),
        (4, 2, KeyboardInterrupt()),
        (4, 4, RuntimeError("boom")),
        (4, 5, KeyboardInterrupt()),
        (8, 3, KeyboardInterrupt()),
    ],
)
def test_interrupted_and_gone_on_with_is_as_never_stopped(
    model: Model, tmp_path: Path, index: int, after: int, error: BaseException
) -> None:
    given = first(3, index) | {8: first(5, 8)[8]}
    label(model, tmp_path / "whole", given, soft=True)
    out = tmp_path / "parts"
    with pytest.raises(type(error)) as caught:
        label(model, out, given, soft=True, progress=stop_after(after, error))
    assert any(f"{after} frames are finished" in note for note in caught.value.__notes__)
    # What was finished is valid.
    assert len(list((out / "masks").iterdir())) == after
    assert len(json.loads((out / "labels.json").read_text())["images"]) == after
    assert len(times(out / "overlay.mp4")) == after
    assert (out / "sheet.png").exists()
    assert not list(out.glob(".*"))
    summary = label(model, out, given, soft=True, resume=True)
    assert (summary.frames, summary.labelled) == (LENGTH, LENGTH - after)
    assert contents(out) == contents(tmp_path / "whole")
    assert times(out / "overlay.mp4") == times(tmp_path / "whole" / "overlay.mp4")
    assert not (out / "state.pt").exists()


def test_a_killed_process_is_gone_on_with_from_the_state_it_saved(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(model, tmp_path / "whole")
    monkeypatch.setattr(labelling, "SAVE_SECONDS", -1.0)
    save = folder_module.Folder.save
    kept: dict[str, bytes] = {}

    def save_early(folder: Any, following: int, state: Any) -> None:
        if following <= 4:  # and then the machine dies before the next saving
            save(folder, following, state)
            kept["state.pt"] = folder.state.read_bytes()

    out = tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(folder_module.Folder, "save", save_early)
        with pytest.raises(KeyboardInterrupt):
            label(model, out, progress=stop_after(7, KeyboardInterrupt()))
    (out / "labels.json").unlink()
    (out / ".overlay.mp4.partial.mp4").write_bytes(b"half")
    assert (out / "state.pt").read_bytes() == kept["state.pt"]
    assert label(model, out, resume=True).labelled == LENGTH - 4
    found, whole = contents(out), contents(tmp_path / "whole")
    # The document was lost with the process; the tables and masks were not.
    assert {k: v for k, v in found.items() if k != "labels.json"} == {
        k: v for k, v in whole.items() if k != "labels.json"
    }


@pytest.mark.parametrize("state", [None, b"", b"nonsense"])
def test_without_its_state_all_is_computed_again(
    model: Model, tmp_path: Path, state: bytes | None
) -> None:
    label(model, tmp_path / "whole")
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        label(model, out, progress=stop_after(5, KeyboardInterrupt()))
    (out / "state.pt").unlink()
    if state is not None:
        (out / "state.pt").write_bytes(state)
    assert label(model, out, resume=True).labelled == LENGTH
    assert contents(out) == contents(tmp_path / "whole")


def test_interrupted_again_before_a_new_frame_nothing_gets_worse(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        label(model, tmp_path, progress=stop_after(5, KeyboardInterrupt()))
    before, overlay = contents(tmp_path), (tmp_path / "overlay.mp4").read_bytes()

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_module.Folder, "stored_labels", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        label(model, tmp_path, resume=True)
    assert "5 frames are finished" in caught.value.__notes__[0]
    assert contents(tmp_path) == before
    assert (tmp_path / "overlay.mp4").read_bytes() == overlay
    monkeypatch.undo()
    assert label(model, tmp_path, resume=True).labelled == LENGTH - 5


def test_results_are_not_overwritten_without_a_word(model: Model, tmp_path: Path) -> None:
    label(model, tmp_path)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"holds results; --resume goes on .* --force starts over"):
        label(model, tmp_path)
    with pytest.raises(InputError, match="give one of them"):
        label(model, tmp_path, resume=True, force=True)
    assert contents(tmp_path) == before
    summary = label(model, tmp_path, resume=True)
    assert (summary.frames, summary.labelled) == (LENGTH, 0)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": replace(TINY, radius=2)}, "radius=3, not 2"),
        ({"stop": 5}, "without --end, not with --end 5"),
        ({"soft": True}, "begun without --soft"),
        ({"annotations": first(2)}, "annotation of frame 0 has changed"),
        ({"annotations": first() | first(1, 6)}, "annotation of frame 6 is new"),
    ],
)
def test_only_the_same_job_is_gone_on_with(
    model: Model, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        label(model, tmp_path, progress=stop_after(3, KeyboardInterrupt()))
    with pytest.raises(InputError, match=message):
        label(model, tmp_path, resume=True, **changes)


def test_force_starts_over_and_spares_what_is_not_ours(model: Model, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    label(model, tmp_path, first(9), soft=True)
    (tmp_path / "masks" / "drawing.png").write_text("mine")
    label(model, tmp_path, first(2, points=False), stop=3, force=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "masks" / "drawing.png").read_text() == "mine"
    assert len(list((tmp_path / "masks").iterdir())) == 4
    assert not (tmp_path / "soft").exists()
    assert not (tmp_path / "points.csv").exists()
    assert len(times(tmp_path / "overlay.mp4")) == 3


def test_force_loses_nothing_on_bad_input(model: Model, tmp_path: Path) -> None:
    label(model, tmp_path)
    before = contents(tmp_path)
    small = {0: Annotation(np.ones((5, 5), dtype=np.uint8))}
    for bad in (small, {LENGTH: first()[0]}):
        with pytest.raises(InputError):
            label(model, tmp_path, bad, force=True)
    assert contents(tmp_path) == before


def test_files_of_others_are_not_taken_for_results(model: Model, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "00000.png").write_text("mine")
    for force in (False, True):
        with pytest.raises(InputError, match="masks: is there, and not from liir track"):
            label(model, tmp_path, force=force)
    assert contents(tmp_path) == {"masks/00000.png": b"mine"}


def test_a_place_that_cannot_be_written_is_named(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: is a file; give a folder"):
        label(model, tmp_path / "file")
    with pytest.raises(InputError, match=r"cannot be written .Not a directory"):
        label(model, tmp_path / "file" / "out")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder_module.tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match=r"cannot be written .Permission denied"):
        label(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_stops_the_job_and_can_be_gone_on_from(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(model, tmp_path / "whole")
    whole = Path.open

    def fill(path: Path, *args: Any, **options: Any) -> Any:
        if "00004.png" in path.name:
            raise OSError(28, "No space left on device")
        return whole(path, *args, **options)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fill)
        with pytest.raises(InputError, match=r"00004.png: .*No space left on device") as caught:
            label(model, out)
    assert "4 frames are finished" in caught.value.__notes__[0]
    assert len(list((out / "masks").iterdir())) == 4
    assert not list(out.rglob(".*"))
    label(model, out, resume=True)
    assert contents(out) == contents(tmp_path / "whole")


def test_variable_frame_rate_is_kept_and_broken_frames_are_told(
    model: Model, tmp_path: Path
) -> None:
    wanted = [0.0, 0.1, 0.3, 0.35, 1.0]
    with VideoWriter(tmp_path / "in.mp4", crf=0) as writer:
        for frame, moment in zip(clip(), wanted, strict=False):
            writer.write(frame, moment)
    label_video(model, tmp_path / "in.mp4", first(), tmp_path / "out")
    assert times(tmp_path / "out" / "overlay.mp4") == pytest.approx(wanted, abs=1e-4)
    (tmp_path / "pictures").mkdir()
    for index, frame in enumerate(clip(5)):
        Image.fromarray(frame).save(tmp_path / "pictures" / f"{index}.png")
    (tmp_path / "pictures" / "3.png").write_bytes(b"broken")
    summary = label_video(model, tmp_path / "pictures", first(), tmp_path / "gaps")
    assert (summary.frames, summary.skipped) == (4, (3,))
    assert not (tmp_path / "gaps" / "masks" / "3.png").exists()


def test_an_iterator_can_be_labelled_and_gone_on_with(model: Model, tmp_path: Path) -> None:
    def run(out: Path, **options: Any) -> Summary:
        return label_video(model, open_video(iter(clip())), first(), out, **options)

    run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", progress=stop_after(4, KeyboardInterrupt()))
    assert run(tmp_path / "out", resume=True).labelled == LENGTH - 4
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_the_sheet_spreads_over_a_clip_of_unknown_length() -> None:
    for length in (1, 5, 12, 13, 48, 49, 100, 1000):
        tiles = labelling._Tiles()
        for count in range(length):
            if tiles.wants(count):
                tiles.add(count, np.zeros((4, 4, 3), dtype=np.uint8), str(count))
        chosen = [int(caption) for _, caption in tiles.spread()]
        assert len(chosen) == min(length, 12)
        assert chosen[0] == 0
        assert chosen[-1] >= 0.9 * (length - 1)
        steps = np.diff(chosen)
        assert length < 24 or steps.max() <= 1.6 * steps.mean()


def test_a_huge_overlay_is_shrunk(model: Model, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(labelling, "LONGEST", 60)
    label(model, tmp_path / "out")
    assert open_video(tmp_path / "out" / "overlay.mp4").size == (40, 60)
