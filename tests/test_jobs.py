"""Videos and their annotations are found and fitted together."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.errors import InputError
from liir.jobs import Job, find_jobs
from liir.video import VideoWriter


def write_frames(folder: Path, count: int = 3, first: int = 1) -> Path:
    folder.mkdir(parents=True)
    for index in range(count):
        Image.new("RGB", (16, 12)).save(folder / f"{first + index:03d}.jpg")
    return folder


def write_mask(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.eye(12, 16, dtype=np.uint8)).save(path)
    return path


def test_one_video_is_one_job(tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "frames")
    job = Job(frames, ("0=a.png",), tmp_path / "out")
    assert find_jobs(frames, ["0=a.png"], tmp_path / "out") == [job]
    # What does not exist, or holds nothing, is for whoever opens it to tell.
    assert find_jobs(tmp_path / "none.mp4", [], tmp_path)[0].video == tmp_path / "none.mp4"


def test_videos_find_the_annotations_of_their_names(tmp_path: Path) -> None:
    videos, masks = tmp_path / "videos", tmp_path / "masks"
    write_frames(videos / "cat.x")
    (videos / "notes").mkdir()
    for name in ("b.mp4", "12.MOV", "lonely.webm", "notes.txt", ".hidden.mp4"):
        (videos / name).touch()
    mask = write_mask(masks / "12.png")
    for name in ("12.csv", "b.json", "other.png"):
        (masks / name).touch()
    write_mask(masks / "cat.x" / "002.png")
    out = tmp_path / "out"
    assert find_jobs(videos, [str(masks)], out) == [
        Job(videos / "12.MOV", (f"0={mask}", f"{masks}/12.csv"), out / "12"),
        Job(videos / "b.mp4", (f"{masks}/b.json",), out / "b"),
        Job(videos / "cat.x", (f"{masks}/cat.x",), out / "cat.x"),
        Job(videos / "lonely.webm", (), out / "lonely"),
    ]


def test_videos_of_one_name_would_share_a_folder(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mov"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"a\.mov and a\.mp4 share a name"):
        find_jobs(tmp_path, [str(tmp_path)], tmp_path / "out")


@pytest.mark.parametrize("given", [[], ["0=mask.png"], ["{}", "{}"], ["{}/none"]])
def test_videos_need_one_folder_of_annotations(tmp_path: Path, given: list[str]) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(InputError, match="holds videos"):
        find_jobs(tmp_path, [word.format(tmp_path) for word in given], tmp_path / "out")


@pytest.mark.parametrize(("name", "frame"), [("002", 1), ("2", 2), ("dog", 0)])
def test_a_mask_named_like_an_image_is_of_that_image(tmp_path: Path, name: str, frame: int) -> None:
    video = write_frames(tmp_path / "video")
    mask = write_mask(tmp_path / "masks" / f"{name}.png")
    for option in (mask, mask.parent):
        _, given = Job(video, (str(option),), tmp_path / "out").read()
        assert list(given) == [frame]
    _, given = Job(video, (f"2={mask}",), tmp_path / "out").read()
    assert list(given) == [2]


@pytest.mark.parametrize("span", [(3, None), (-1, None), (2, 2), (2, 1), (5, 9)])
def test_a_span_without_frames_is_refused(tmp_path: Path, span: tuple[int, int | None]) -> None:
    video = write_frames(tmp_path / "video")
    mask = write_mask(tmp_path / "mask.png")
    with pytest.raises(InputError, match=r"no frame; it has frames 0 to 2"):
        Job(video, (f"0={mask}",), tmp_path).read(*span)


def test_annotations_lie_in_the_span(tmp_path: Path) -> None:
    video = write_frames(tmp_path / "video")
    job = Job(video, (f"2={write_mask(tmp_path / 'mask.png')}",), tmp_path)
    assert list(job.read(1, 99)[1]) == [2]  # an end beyond the last frame is the end
    with pytest.raises(InputError, match="annotation of frame 2: --end 2 leaves it out"):
        job.read(0, 2)
    job = Job(video, (f"0={tmp_path / 'mask.png'}",), tmp_path)
    with pytest.raises(InputError, match="annotation of frame 0: --start 1 leaves it out"):
        job.read(1)
    job = Job(video, (f"3={tmp_path / 'mask.png'}",), tmp_path)
    with pytest.raises(InputError, match="annotation of frame 3: the video has frames 0 to 2"):
        job.read(0, 2)


def test_annotations_of_no_video_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    videos, masks = tmp_path / "clips", tmp_path / "masks"
    write_frames(videos / "dog1")
    (videos / "cat.mp4").touch()
    for name in ("cat.png", "dog_1.png", "notes.txt", ".hidden.png"):
        write_mask(masks / "cat.png").with_name(name).touch()
    jobs = find_jobs(videos, [str(masks)], tmp_path / "out")
    assert caplog.messages == [f"{masks}/dog_1.png belongs to no video of {videos}"]
    with pytest.raises(InputError, match=r"dog1: is not annotated.*is it .*masks/dog_1\.png\?"):
        jobs[1].read()


def write_stack(path: Path, pages: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = [Image.new("L", (16, 12), 20 * page) for page in range(pages)]
    first.save(path, save_all=True, append_images=rest)
    return path


def test_a_stray_image_does_not_hide_videos(tmp_path: Path) -> None:
    for name in ("dog.mp4", "cat.mp4", ".hidden.png", "poster.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"videos .2, such as cat.mp4. and images .1, such as pos"):
        find_jobs(tmp_path, [str(tmp_path)], tmp_path / "out")
    (tmp_path / "poster.jpg").unlink()
    write_mask(tmp_path / "masks" / "dog.png")
    jobs = find_jobs(tmp_path, [str(tmp_path / "masks")], tmp_path / "out")
    assert {"cat.mp4", "dog.mp4"} <= {job.video.name for job in jobs}


def test_stacks_are_videos(tmp_path: Path) -> None:
    stacks = tmp_path / "stacks"
    for name in ("a", "b"):
        write_stack(stacks / f"{name}.tif")
        write_mask(tmp_path / "masks" / f"{name}.png")
    jobs = find_jobs(stacks, [str(tmp_path / "masks")], tmp_path / "out")
    assert [job.video.name for job in jobs] == ["a.tif", "b.tif"]
    assert [job.read()[0].length for job in jobs] == [4, 4]
    write_stack(stacks / "single.tif", 1)
    with pytest.raises(InputError, match=r"videos .2, .* images .1, such as single.tif"):
        find_jobs(stacks, [str(tmp_path / "masks")], tmp_path / "out")


def test_labels_never_go_into_what_is_labelled(tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "x" / "masks")
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "overlay.mp4").touch()
    link = tmp_path / "link"
    link.symlink_to(frames)
    for video, out in (
        (frames, frames),
        (frames, link),
        (frames, tmp_path / "x"),
        (videos, videos),
        (videos / "overlay.mp4", videos),
    ):
        with pytest.raises(InputError, match="the labels would go into what is labelled"):
            find_jobs(video, [str(tmp_path)], out)
    assert find_jobs(frames, [], frames / "out")


def test_a_cut_video_is_told_before_any_work(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with VideoWriter(tmp_path / "a.mp4") as writer:
        for _ in range(30):
            writer.write(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) * 3 // 4])
    job = Job(tmp_path / "a.mp4", (f"0={write_mask(tmp_path / 'mask.png')}",), tmp_path / "out")
    with pytest.raises(InputError, match="is cut short"):
        job.read()
    assert list(job.read(0, 5)[1]) == [0]


@pytest.mark.parametrize("where", ["masks/00000.png", "masks", "soft/1", "points.csv", "."])
def test_an_annotation_is_not_among_what_is_written_anew(tmp_path: Path, where: str) -> None:
    """With --force it would be removed after it was read."""
    out = tmp_path / "out"
    for option in (str(out / where), f"0={out}/../out/{where}"):
        with pytest.raises(InputError, match=r"among the results of .*out, .*copy it elsewhere"):
            find_jobs(tmp_path / "a.mp4", ["other.png", option], out)
    assert find_jobs(tmp_path / "a.mp4", [str(out / "mine.png")], out)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    (out / "a").mkdir(parents=True)
    with pytest.raises(InputError, match="among the results"):  # out/a: files, and for a's labels
        find_jobs(tmp_path / "videos", [str(out)], out)


def test_coco_documents_and_masks_name_images_alike(tmp_path: Path) -> None:
    """Images that are numbered from 100 are frames 0, 1, 2 of their folder."""
    frames = write_frames(tmp_path / "frames", first=100)
    square = {"image_id": 1, "id": 1, "segmentation": [[2, 2, 6, 2, 6, 6, 2, 6]]}
    image = {"id": 1, "file_name": "frames/102.jpg", "height": 12, "width": 16}
    document = tmp_path / "coco.json"
    document.write_text(json.dumps({"images": [image], "annotations": [square]}))
    mask = write_mask(tmp_path / "102.png")
    for file in (document, mask):
        assert list(Job(frames, (str(file),), tmp_path / "out").read()[1]) == [2]
    # A number that is the name of no image is that of a frame.
    image["file_name"] = "frame_000001.jpg"
    document.write_text(json.dumps({"images": [image], "annotations": [square]}))
    assert list(Job(frames, (str(document),), tmp_path / "out").read()[1]) == [1]
