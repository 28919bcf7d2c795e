"""The page's HTTP interface. Everything that it says is JSON, but for pictures and exports.

Refusals: 404 it is not there, 409 something is under way, 412 somebody else was faster, 422 the
request cannot be met, for a reason that its `detail` gives.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Header, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse, JSONResponse
from starlette.background import BackgroundTask

from liir.errors import InputError
from liir.grid import Grid
from liir.inputs import naming
from liir.page import adaptation, exports, imports, wire
from liir.page.describe import describe_frame, describe_project, describe_server
from liir.page.marks import Marks, Place
from liir.page.media import safe_name
from liir.page.plans import Settings
from liir.page.propagation import model_of
from liir.page.scribble import grow
from liir.page.studio import MissingError, Studio

Id = str
Kind = Literal["masks", "coco", "yolo", "points", "overlay", "cvat", "tiff"]
Files = Annotated[list[UploadFile], File(description="one video, or the images of one")]
_REFUSED: dict[int | str, dict[str, Any]] = {
    status: {"model": wire.Problem, "description": text}
    for status, text in (
        (400, "The request cannot be understood."),
        (404, "It is not there."),
        (409, "Something is under way that must end first."),
        (412, "The frame was changed elsewhere."),
        (413, "It is too large."),
        (422, "It cannot be done, for the reason given."),
    )
}
_CHUNK = 1 << 20


def build_router(studio: Studio, version: str, upload: int) -> APIRouter:
    """All routes, on the projects of a studio."""
    router = APIRouter(prefix="/api", responses=_REFUSED)
    _add_server(router, studio, version, upload)
    _add_projects(router, studio)
    _add_frames(router, studio)
    _add_lists(router, studio)
    _add_tasks(router, studio)
    _add_adapting(router, studio)
    _add_exchange(router, studio)
    return router


def _add_server(router: APIRouter, studio: Studio, version: str, upload: int) -> None:
    @router.get("/server", tags=["server"], summary="Version and models")
    def read_server() -> dict[str, Any]:
        return describe_server(studio, version, upload)

    @router.get("/tasks", tags=["tasks"], summary="What is or was under way")
    def list_tasks() -> list[dict[str, Any]]:
        return [task.describe() for task in studio.tasks()]

    @router.delete("/tasks/{number}", tags=["tasks"], summary="Cancel")
    def cancel_task(number: int) -> dict[str, Any]:
        return studio.cancel(number).describe()


def _add_projects(router: APIRouter, studio: Studio) -> None:
    @router.get("/projects", tags=["projects"], summary="All projects, the latest first")
    def list_projects() -> list[dict[str, Any]]:
        return studio.overview()

    @router.post("/projects", tags=["projects"], summary="A project of a video, or of images")
    def create_project(files: Files) -> dict[str, Any]:
        named = [(safe_name(file.filename or ""), file) for file in files]
        first = named[0][0] if named else ""
        if not first:
            raise InputError("the file has no name")

        def bring(folder: Path) -> Path:
            target = folder if len(named) == 1 else folder / "images"
            target.mkdir(exist_ok=True)
            for name, file in named:
                path = target / (name or "unnamed")
                if path.exists():
                    raise InputError(f"two files are called {name}: rename one")
                _store(file, path)
            return target / first if len(named) == 1 else target

        name = first.rpartition(".")[0] or first
        return describe_project(studio, studio.create(bring, name))

    @router.get("/projects/{project}", tags=["projects"], summary="All of it but its pictures")
    def read_project(
        project: Id, response: Response, if_none_match: Annotated[str | None, Header()] = None
    ) -> Any:
        tasks = [(t.number, t.status, t.done, t.note) for t in studio.tasks(project)]
        told = f'"{studio.project(project).revision}-{hash(tuple(tasks)) & 0xFFFFFFFF:x}"'
        if if_none_match == told:
            return Response(status_code=304, headers={"etag": told})
        response.headers["etag"] = told
        return describe_project(studio, project)

    @router.patch("/projects/{project}", tags=["projects"], summary="Rename, or change settings")
    def change_project(project: Id, change: wire.ProjectChange) -> dict[str, Any]:
        opened = studio.project(project)
        with opened.lock:
            if change.name is not None:
                opened.name = change.name
            if change.settings is not None:
                settings = Settings(**change.settings.model_dump())
                with naming("settings"):
                    known = [*studio.models.names, "adapted"]
                    if settings.model is not None and settings.model not in known:
                        raise InputError(f"there is no model {settings.model!r}")
                    if settings.size is not None and 0 < settings.size < 32:
                        raise InputError("a size is 32 pixels or more, or 0 for the video's own")
                opened.settings = settings
            opened.revision += 1
            opened.save()
        return describe_project(studio, project)

    @router.delete("/projects/{project}", tags=["projects"], summary="Delete, files and all")
    def delete_project(project: Id) -> dict[str, Any]:
        studio.delete(project)
        return {}

    @router.get("/projects/{project}/media", tags=["projects"], summary="The video, for a player")
    def read_media(project: Id) -> FileResponse:
        opened = studio.project(project)
        if opened.proxy.is_file() and not opened.proxy.is_symlink():
            return FileResponse(opened.proxy, media_type="video/mp4")
        if not opened.clip.direct:
            raise MissingError("the video for browsers is still being made")
        return FileResponse(opened.video_path)

    @router.post("/projects/{project}/proxy", tags=["projects"], summary="Have such a video made")
    def make_proxy(project: Id) -> dict[str, Any]:
        studio.make_proxy(studio.project(project))
        return {}


def _add_frames(router: APIRouter, studio: Studio) -> None:
    base = "/projects/{project}/frames/{frame}"

    @router.get(f"{base}/picture", tags=["frames"], summary="The frame itself, as JPEG")
    def read_picture(project: Id, frame: wire.Index) -> Response:
        opened = studio.project(project)
        opened.check_frame(frame)
        path = opened.video_path
        data = studio.stills.frame(opened.video(), path, frame)
        return Response(data, media_type="image/jpeg")

    @router.get(base, tags=["frames"], summary="Labels and points of a frame")
    def read_frame(project: Id, frame: wire.Index) -> dict[str, Any]:
        return describe_frame(studio.project(project), frame)

    @router.put(f"{base}/labels", tags=["frames"], summary="Set the label image")
    def paint(project: Id, frame: wire.Index, form: wire.Painting) -> dict[str, Any]:
        opened = studio.project(project)
        labels = wire.unpack(form.labels, opened.size)
        return _marks(opened.paint(frame, labels, form.version))

    @router.put(f"{base}/points", tags=["frames"], summary="Set points, or take them away")
    def place(project: Id, frame: wire.Index, form: wire.Placing) -> dict[str, Any]:
        places = {
            n: None if p is None else Place(p.x, p.y, p.visible) for n, p in form.places.items()
        }
        return _marks(studio.project(project).place(frame, places, form.version))

    @router.delete(base, tags=["frames"], summary="Forget what was drawn on a frame")
    def clear(project: Id, frame: wire.Index) -> dict[str, Any]:
        opened = studio.project(project)
        with opened.lock:
            opened.check_frame(frame)
            opened.change(opened.state.marked(frame, Marks()))
        return describe_frame(opened, frame)

    @router.post(f"{base}/grow", tags=["frames"], summary="Grow regions from strokes")
    def grow_strokes(project: Id, frame: wire.Index, form: wire.Growing) -> dict[str, Any]:
        opened = studio.project(project)
        strokes = wire.unpack(form.strokes, opened.size)
        opened.check_frame(frame)
        if not strokes.any():
            raise InputError("scribble on an object first")
        model = model_of(opened, studio.models)
        picture = opened.video().frame(frame)
        size = opened.settings.size
        size = model.preset.tracking.size if size is None else size
        grid = Grid(*opened.size, size, wire.CPU)
        features = studio.features.of(model, picture, grid, opened.folder)
        return {"labels": wire.pack(grow(features, strokes, grid, form.reach))}


def _add_lists(router: APIRouter, studio: Studio) -> None:
    base = "/projects/{project}"

    @router.post(f"{base}/objects", tags=["objects"], summary="Add an object")
    def add_thing(project: Id, form: wire.NewThing) -> dict[str, Any]:
        opened = studio.project(project)
        with opened.lock:
            state, thing = opened.state.with_thing(form.name or "")
            opened.change(state)
        return {**describe_project(studio, project), "added": thing.id}

    @router.patch(f"{base}/objects/{{number}}", tags=["objects"], summary="Rename, colour, hide")
    def change_thing(project: Id, number: int, form: wire.ThingChange) -> dict[str, Any]:
        opened = studio.project(project)
        with opened.lock:
            if number not in opened.state.ids:
                raise MissingError(f"there is no object {number}")
            told = form.model_dump(exclude_none=True)
            things = [t if t.id != number else replace(t, **told) for t in opened.state.things]
            opened.change(replace(opened.state, things=tuple(things)), keep=set(told) != {"hidden"})
        return describe_project(studio, project)

    @router.delete(f"{base}/objects/{{number}}", tags=["objects"], summary="Delete an object")
    def delete_thing(project: Id, number: int) -> dict[str, Any]:
        opened = studio.project(project)
        with opened.lock:
            opened.change(opened.state.without_thing(number))
        return describe_project(studio, project)

    @router.post(f"{base}/objects/{{number}}/merge", tags=["objects"], summary="Merge two objects")
    def merge_things(project: Id, number: int, form: wire.Merging) -> dict[str, Any]:
        opened = studio.project(project)
        with opened.lock:
            opened.change(opened.state.without_thing(number, form.into))
        return describe_project(studio, project)

    @router.post(f"{base}/points", tags=["points"], summary="Add a keypoint")
    def add_point(project: Id, form: wire.NewPoint) -> dict[str, Any]:
        opened = studio.project(project)
        with opened.lock:
            opened.change(opened.state.with_point(form.name.strip() or form.name))
        return describe_project(studio, project)

    @router.patch(f"{base}/points", tags=["points"], summary="Rename, colour or hide a keypoint")
    def change_point(project: Id, form: wire.PointChange) -> dict[str, Any]:
        opened = studio.project(project)
        with opened.lock:
            state = opened.state.renamed_point(form.name, form.rename or form.name)
            told = form.model_dump(exclude_none=True, exclude={"name", "rename"})
            name = form.rename or form.name
            points = [p if p.name != name else replace(p, **told) for p in state.points]
            opened.change(replace(state, points=tuple(points)), keep=set(told) != {"hidden"})
        return describe_project(studio, project)

    @router.delete(f"{base}/points", tags=["points"], summary="Delete a keypoint")
    def delete_point(project: Id, name: Annotated[str, Query(max_length=100)]) -> dict[str, Any]:
        opened = studio.project(project)
        with opened.lock:
            opened.change(opened.state.renamed_point(name, None))
        return describe_project(studio, project)

    @router.post(f"{base}/undo", tags=["objects"], summary="Undo the last action")
    def undo(project: Id) -> dict[str, Any]:
        studio.project(project).step(-1)
        return describe_project(studio, project)

    @router.post(f"{base}/redo", tags=["objects"], summary="Do again what was undone")
    def redo(project: Id) -> dict[str, Any]:
        studio.project(project).step(1)
        return describe_project(studio, project)


def _add_tasks(router: APIRouter, studio: Studio) -> None:
    base = "/projects/{project}"

    @router.post(f"{base}/propagate", tags=["tasks"], summary="Label frames")
    def start(project: Id, form: wire.Running) -> dict[str, Any]:
        return studio.propagate(project, form.mode, form.frame, form.last).describe()

    @router.post(f"{base}/resume", tags=["tasks"], summary="Go on with an interrupted run")
    def resume(project: Id) -> dict[str, Any]:
        return studio.resume(project).describe()

    @router.post(f"{base}/settle", tags=["tasks"], summary="Keep what such a run has labelled")
    def settle(project: Id) -> dict[str, Any]:
        studio.settle(project)
        return describe_project(studio, project)


def _add_adapting(router: APIRouter, studio: Studio) -> None:
    base = "/projects/{project}/adapt"

    @router.post(base, tags=["adapting"], summary="Adapt the features to this video")
    def start(project: Id, form: wire.Adapting) -> dict[str, Any]:
        return adaptation.start(studio, project, form.minutes).describe()

    @router.get(f"{base}/{{frame}}", tags=["adapting"], summary="Labels before and after")
    def compare(project: Id, frame: wire.Index) -> dict[str, Any]:
        before, after = adaptation.compare(studio.project(project), frame)
        return {"before": wire.pack(before), "after": wire.pack(after)}

    @router.post(f"{base}/keep", tags=["adapting"], summary="Keep one of the two")
    def keep(project: Id, form: wire.Keeping) -> dict[str, Any]:
        adaptation.keep(studio, project, form.which)
        return describe_project(studio, project)


def _add_exchange(router: APIRouter, studio: Studio) -> None:
    base = "/projects/{project}"

    @router.get(f"{base}/export/{{kind}}", tags=["exchange"], summary="The labels as a file")
    def export(project: Id, kind: Kind) -> FileResponse:
        opened, form = studio.project(project), exports.FORMATS[kind]
        place = Path(tempfile.mkdtemp(prefix="liir-export-"))
        path = place / f"{project}-{kind}.{form.suffix}"
        try:
            exports.write_export(opened, kind, path)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        gone = BackgroundTask(shutil.rmtree, place, ignore_errors=True)
        return FileResponse(path, media_type=form.media, filename=path.name, background=gone)

    @router.post(f"{base}/import", tags=["exchange"], summary="Annotations from a file")
    def bring(
        project: Id,
        file: Annotated[UploadFile, File()],
        frame: Annotated[wire.Index, Query()] = 0,
    ) -> dict[str, Any]:
        opened = studio.project(project)
        opened.check_frame(frame)
        name = safe_name(file.filename or "")
        with tempfile.TemporaryDirectory(prefix="liir-import-") as place:
            path = Path(place) / (name or "unnamed")
            _store(file, path)
            with _short(place):
                found, names = imports.read_file(path, opened, frame)
        frames = imports.take_in(opened, found, names)
        return {**describe_project(studio, project), "imported": frames}


@contextmanager
def _short(place: str) -> Iterator[None]:
    """Takes the name of a temporary folder out of a message."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(f"{place}/", "")) from None


def _marks(marks: Marks) -> dict[str, Any]:
    return {"version": marks.version, "objects": sorted(marks.ids)}


def _store(file: UploadFile, path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(file.file, target, _CHUNK)


def refused(request: Request, error: Exception) -> JSONResponse:
    """The answer to a request that cannot be met."""
    status = {"MissingError": 404, "BusyError": 409, "StaleError": 412}
    return JSONResponse({"detail": str(error)}, status.get(type(error).__name__, 422))
