"""`liir serve`: the page and its interface, on this computer unless told otherwise."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from liir.errors import InputError
from liir.page.api import build_router, refused
from liir.page.models import Models
from liir.page.project import FILE, StaleError
from liir.page.security import Guard, is_loopback
from liir.page.studio import BusyError, MissingError, Studio
from liir.pictures import IMAGE_SUFFIXES
from liir.video import VIDEO_SUFFIXES

_log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
UPLOAD = 4 << 30
"""Bytes of a video that may be uploaded, unless told otherwise."""


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
        host: Name or number.
        port: 0 takes a free one.
        token: What everybody must show; None where only this computer can connect.
    """

    host: str
    port: int
    token: str | None

    def url(self, project: str | None = None) -> str:
        """What to open in a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        query = f"?token={self.token}" if self.token else ""
        return f"http://{host}:{self.port}/{query}{f'#{project}' if project else ''}"


def create_app(studio: Studio, version: str, upload: int = UPLOAD) -> FastAPI:
    """The application, without its guard: `liir.page.security.Guard` goes around it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        studio.close()

    app = FastAPI(
        title="liir",
        version=version,
        summary="Annotate a frame, watch the labels travel, correct, export.",
        docs_url=None,  # FastAPI's pages load scripts from elsewhere; /api.html is our own
        redoc_url=None,
        lifespan=lifespan,
    )
    for kind in (InputError, MissingError, BusyError, StaleError):
        app.add_exception_handler(kind, refused)
    app.include_router(build_router(studio, version, upload))

    @app.get("/", include_in_schema=False)
    def index() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.mount("/", StaticFiles(directory=STATIC), name="static")
    return app


def open_sources(studio: Studio, source: Path | None) -> str | None:
    """Makes projects of what the command line names; the one to show first.

    Args:
        studio: Where to.
        source: A video, a folder of images or of videos, or a project; None for nothing.

    Raises:
        InputError: It is none of these, or none of its videos can be read.
    """
    if source is None:
        return None
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; check the path")
    if (source / FILE).is_file():
        return source.resolve().name
    if source.is_file():
        return studio.from_disk(source)
    files = sorted(path for path in source.iterdir() if path.name[0] != ".")
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    if videos:
        numbers, broken = [], []
        for path in videos:
            try:
                numbers.append(studio.from_disk(path))
            except InputError as error:  # the others open all the same
                broken.append(str(error))
                _log.warning("%s: left out", error)
        if not numbers:
            raise InputError(broken[0])
        return numbers[0]
    if any(path.suffix.lower() in IMAGE_SUFFIXES for path in files):
        return studio.from_disk(source)
    raise InputError(f"{source}: holds neither videos nor images")


def serve(
    source: Path | None,
    projects: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    models: Sequence[str] = (),
    device: str = "auto",
    token: str | None = None,
    upload: int = UPLOAD,
    browser: bool = True,
    version: str = "",
    told: Callable[[str], None] = lambda _: None,
) -> None:
    """Serves the page until interrupted.

    Args:
        source: What to open, see `open_sources`.
        projects: Where projects lie.
        host: Where to listen: this computer alone, unless it is another address.
        port: Where to listen.
        models: Weights to offer beside the bundled ones.
        device: As in `liir.load`.
        token: What those who connect from elsewhere must show; one is made up if none is given.
        upload: Bytes of an upload, at most.
        browser: Whether to open the page in one.
        version: liir's.
        told: Called with the page's address once it can be opened.

    Raises:
        InputError: The address is taken, or a source, folder or model cannot be used.
    """
    if source is not None and (source / FILE).is_file():
        projects = source.resolve().parent
    studio = Studio(projects, Models(models, device=device))
    try:
        first = open_sources(studio, source)
        if not is_loopback(host) and token is None:
            token = secrets.token_urlsafe(24)
        app = Guard(create_app(studio, version, upload), token=token, upload=upload)
        config = uvicorn.Config(
            app, host=host, port=port, log_level="warning", server_header=False, access_log=False,
            timeout_graceful_shutdown=3, proxy_headers=False,
        )  # fmt: skip
        listener = _bound(host, port)
        address = Address(host, listener.getsockname()[1], token)
        told(address.url(first))
        if browser:
            threading.Timer(0.5, _show, (address.url(first),)).start()
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        studio.close()


def _show(url: str) -> None:
    """Opens the page, if there is a browser with a window."""
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return
    if not isinstance(found, webbrowser.GenericBrowser):  # such as one in the terminal
        found.open(url)


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        InputError: It cannot.
    """
    try:
        family = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family)
    except OSError as error:
        raise InputError(f"{host}: no such address ({error.strerror})") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{host}, port {port}: cannot listen there ({reason}); give another --port"
        ) from None
    return listener
