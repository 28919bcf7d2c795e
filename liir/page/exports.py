"""A project's labels as files that other programs read.

Masks are the files of the results, byte for byte, unless a deleted or merged object is in them or
something was drawn since. Legend: H W pixels of a frame.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image

from liir.errors import InputError
from liir.export import CocoWriter, PointWriter, write_label_png
from liir.figures import LONGEST, draw_overlay, fit, legible_scale
from liir.labels import VOID, Labels
from liir.page.contours import polygon
from liir.page.project import Project
from liir.page.results import Seen
from liir.video import VideoWriter


@dataclass(frozen=True)
class Format:
    """A kind of export.

    Attributes:
        name: In words.
        suffix: Of the file.
        media: Its media type.
        write: Writes it: project, path.
    """

    name: str
    suffix: str
    media: str
    write: Callable[[Project, Path], None]


def write_export(project: Project, kind: str, path: Path) -> None:
    """Writes one of `FORMATS`.

    Raises:
        InputError: There is nothing to write, or it cannot be written.
    """
    if not project.labelled() and not project.state.frames:
        raise InputError("there are no labels yet: mark something, then propagate")
    FORMATS[kind].write(project, path)


def labels_of(project: Project) -> Iterator[tuple[int, Labels]]:
    """(frame, its labels (H, W) uint8) of all frames that have any say, in order."""
    for frame in sorted(project.labelled() | set(project.state.frames)):
        yield frame, project.shown(frame)


def _as_it_is(project: Project, frame: int, labels: Labels) -> bytes | None:
    """The file of a frame among the results, if it says just that."""
    layer = project.layer(frame)
    stored = layer.labels(frame, project.size)
    if stored is not None and np.array_equal(stored, labels):
        return layer.folder.mask(frame).read_bytes()
    return None


def _png(project: Project, frame: int, labels: Labels, scratch: Path) -> bytes:
    data = _as_it_is(project, frame, labels)
    if data is None:
        write_label_png(scratch, labels)
        data = scratch.read_bytes()
        scratch.unlink()
    return data


def _write_masks(project: Project, path: Path) -> None:
    scratch = path.with_name("mask.png")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for frame, labels in labels_of(project):
            name = f"masks/{project.frame_name(frame)}.png"
            archive.writestr(_entry(name), _png(project, frame, labels, scratch))
        lines = [f"{thing.id}\t{thing.name}" for thing in project.state.things]
        archive.writestr(_entry("objects.txt"), "\n".join(lines) + "\n")


def _write_coco(project: Project, path: Path) -> None:
    names = {thing.id: thing.name for thing in project.state.things}
    confidence = project.confidence()
    with CocoWriter(path, names=names) as coco:
        for frame, labels in labels_of(project):
            name = project.results.folder.picture(frame)
            coco.write(frame, labels, confidence.get(frame, {}), name=name)


def _write_yolo(project: Project, path: Path) -> None:
    """One text file a frame, one line an object: class, then corners as shares of the sides."""
    height, width = project.size
    things = project.state.things
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for frame, labels in labels_of(project):
            lines = []
            for place, thing in enumerate(things):
                corners = polygon(labels == thing.id)
                if corners:
                    shares = (f"{x / width:.6f} {y / height:.6f}" for x, y in corners)
                    lines.append(f"{place} {' '.join(shares)}\n")
            archive.writestr(_entry(f"labels/{project.frame_name(frame)}.txt"), "".join(lines))
        named = "".join(f"  {n}: {json.dumps(thing.name)}\n" for n, thing in enumerate(things))
        about = f"path: .\ntrain: images\nval: images\nnames:\n{named}"
        archive.writestr(_entry("data.yaml"), about)


def _write_points(project: Project, path: Path) -> None:
    if not project.state.points:
        raise InputError("there are no keypoints: add one first")
    with PointWriter(path) as table:
        for frame in sorted(project.labelled() | set(project.state.frames)):
            places = project.places(frame)
            rows = {name: (x, y, sure) for name, (x, y, _, sure) in places.items()}
            table.write(frame, rows, Seen(places))


def _write_overlay(project: Project, path: Path) -> None:
    scale = legible_scale(*project.size)
    video = project.video()
    with VideoWriter(path, rate=video.rate) as writer:
        for frame in video.frames():
            points = {
                name: (x, y, sure if seen else 0.0)
                for name, (x, y, seen, sure) in project.places(frame.index).items()
            }
            labels = project.shown(frame.index)
            picture = draw_overlay(frame.rgb, labels, points, threshold=1e-9, scale=scale)
            writer.write(fit(picture, LONGEST, LONGEST), frame.time)


def _write_cvat(project: Project, path: Path) -> None:
    """CVAT for video 1.1: a track an object, a polygon a frame; keypoints as tracks, too."""
    clip, state = project.clip, project.state
    polygons: dict[int, list[tuple[int, str]]] = {thing.id: [] for thing in state.things}
    points: dict[str, list[tuple[int, str, int]]] = {point.name: [] for point in state.points}
    frames = []
    for frame, labels in labels_of(project):
        frames.append(frame)
        for number in np.unique(labels).tolist():
            if number not in (0, VOID):
                corners = polygon(labels == number)
                polygons[number].append((frame, ";".join(f"{x}.00,{y}.00" for x, y in corners)))
        for name, (x, y, seen, _) in project.places(frame).items():
            points[name].append((frame, f"{x:.2f},{y:.2f}", int(not seen)))
    following = dict(pairwise(frames))
    names = [(t.name, t.colour, "polygon") for t in state.things]
    names += [(p.name, p.colour, "points") for p in state.points]
    with path.open("w", encoding="utf-8") as file:
        write = file.write
        write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')
        write(f"<meta><task><name>{_text(project.name)}</name><size>{clip.length}</size>")
        write("<mode>interpolation</mode><start_frame>0</start_frame>")
        write(f"<stop_frame>{clip.length - 1}</stop_frame><labels>")
        for name, colour, kind in names:
            write(f"<label><name>{_text(name)}</name><color>{colour}</color><type>{kind}</type>")
            write("<attributes></attributes></label>")
        write(f"</labels><original_size><width>{clip.width}</width><height>{clip.height}</height>")
        write("</original_size></task></meta>\n")
        number = 0
        for thing in state.things:
            shapes = polygons[thing.id]
            if shapes:
                write(f'<track id="{number}" label={quoteattr(thing.name)} source="auto">\n')
                _write_shapes(write, "polygon", [(f, c, 0) for f, c in shapes], following)
                write("</track>\n")
                number += 1
        for name, places in points.items():
            if places:
                write(f'<track id="{number}" label={quoteattr(name)} source="auto">\n')
                _write_shapes(write, "points", places, following)
                write("</track>\n")
                number += 1
        write("</annotations>\n")


def _write_shapes(
    write: Callable[[str], object],
    kind: str,
    shapes: list[tuple[int, str, int]],
    following: dict[int, int],
) -> None:
    """The shapes of a track; where it is gone from the next frame, it is said to be outside."""
    there = {frame for frame, _, _ in shapes}
    for frame, corners, occluded in shapes:
        same = f'occluded="{occluded}" points="{corners}" z_order="0"'
        write(f'<{kind} frame="{frame}" keyframe="1" outside="0" {same}></{kind}>\n')
        after = following.get(frame, frame)
        if after not in there:
            write(f'<{kind} frame="{after}" keyframe="1" outside="1" {same}></{kind}>\n')


def _write_tiff(project: Project, path: Path) -> None:
    """One page a frame of the video, so that page and frame have the same number."""
    nothing = np.zeros(project.size, np.uint8)
    told = project.labelled() | set(project.state.frames)

    def pages() -> Iterator[Image.Image]:
        for frame in range(project.clip.length):
            yield Image.fromarray(project.shown(frame) if frame in told else nothing)

    following = pages()
    next(following).save(
        path, "TIFF", save_all=True, append_images=following, compression="tiff_adobe_deflate"
    )


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry with a fixed date: the same labels give the same bytes."""
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def _text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


FORMATS = {
    "masks": Format("Palette PNGs", "zip", "application/zip", _write_masks),
    "coco": Format("COCO with RLE", "json", "application/json", _write_coco),
    "yolo": Format("YOLO segmentation", "zip", "application/zip", _write_yolo),
    "points": Format("Keypoint CSV", "csv", "text/csv", _write_points),
    "overlay": Format("Overlay video", "mp4", "video/mp4", _write_overlay),
    "cvat": Format("CVAT for video 1.1", "xml", "application/xml", _write_cvat),
    "tiff": Format("TIFF of labels (napari)", "tif", "image/tiff", _write_tiff),
}
