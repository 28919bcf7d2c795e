"""The verbs for one's own footage: `liir adapt` and `liir serve`; a part of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional, arg

from liir import __version__
from liir.errors import InputError
from liir.terminal import bar, check_file, set_threads

Name = Annotated[str, arg(metavar="NAME")]
Count = Annotated[int | None, arg(metavar="N")]


def adapt(
    folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="VIDEO|FOLDER...")],
    /,
    *,
    out: Annotated[Path, arg(metavar="FILE")],
    weights: Annotated[str, arg(name="from", metavar="NAME")] = "small",
    minutes: Annotated[float | None, arg(metavar="M")] = None,
    steps: Count = None,
    share: Annotated[float | None, arg(metavar="S")] = None,
    device: Name = "auto",
    workers: Count = None,
) -> int:
    """Make features better for your own footage, without a label.

    $ liir adapt dog.mp4 --from small --minutes 5 --out dog.safetensors
    $ liir track dog.mp4 --annotation 0=dog.png --model dog.safetensors --out labelled

    Training goes on from the given weights, slowly, so that little is forgotten. Grey footage is
    learned from by its brightness.

    Args:
        folders: Videos, folders of videos, folders of frames.
        out: The weights to write, a safetensors file.
        weights: Where to begin: a bundled model, or a safetensors file.
        minutes: Time to train for; 5 if neither this nor --steps is given.
        steps: Length in steps instead.
        share: How much of what is learned to keep, up to 1; if not given 0.25, and 0.5 of grey
            footage. More for footage that is unlike any other, less where labels get worse.
        device: auto, cpu, cuda, cuda:1, mps, ...
        workers: Processes that decode video; 0 decodes in this one.
    """
    if not folders:
        raise InputError("nothing to adapt to: name a video or a folder")
    check_file(out)
    from liir.learning import adapting, trainer

    with bar("step") as show:

        def progress(state: trainer.Progress) -> None:
            show(state.step, state.steps, 0, f"loss {state.loss:.3f}")

        minutes = 5.0 if minutes is None and steps is None else minutes
        options: dict[str, Any] = {"minutes": minutes, "steps": steps, "progress": progress}
        options |= {"share": share, "device": device, "workers": workers}
        made = adapting.adapt(folders, weights, out, **options)
    print(f"weights  {made}")
    return 0


def serve(
    source: Annotated[Positional[Path | None], arg(metavar="VIDEO|FOLDER")] = None,
    /,
    *,
    projects: Annotated[Path, arg(metavar="DIR")] = Path("~/liir-projects"),
    host: Name = "127.0.0.1",
    port: Annotated[int, arg(metavar="N")] = 8000,
    model: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], arg(metavar="NAME")] = (),
    device: Name = "auto",
    threads: Count = None,
    token: Annotated[str | None, arg(metavar="TEXT")] = None,
    upload: Annotated[int, arg(metavar="MB")] = 4096,
    no_browser: bool = False,
) -> int:
    """Annotate, propagate, correct and export in the browser.

    $ liir serve
    $ liir serve dog.mp4

    Only this computer can open the page, unless --host is another address: then it asks for the
    token that is in the address printed. All is saved as you go; Ctrl-C ends the server.

    Args:
        source: What to open: a video, a folder of images or of videos, or a project's folder.
        projects: Folder of the projects.
        host: Where to listen; 0.0.0.0 is every network of this computer.
        port: Where to listen; 0 takes a free one.
        model: Weights to offer beside the bundled ones, and to begin with.
        device: auto, cpu, cuda, cuda:1, mps, ...
        threads: Threads to compute with.
        token: The token, instead of one that is made up.
        upload: Largest upload.
        no_browser: Open no browser.
    """
    set_threads(threads)
    try:
        from liir.page import server
    except ModuleNotFoundError as error:
        raise InputError(
            f"the page needs {error.name}: install it with pip install 'liir[page]'"
        ) from None
    options: dict[str, Any] = {"device": device, "token": token, "upload": upload * 1_000_000}
    options |= {"host": host, "port": port, "models": model, "browser": not no_browser}
    server.serve(
        source,
        projects.expanduser(),
        version=__version__,
        told=lambda url: print(f"open {url}   (Ctrl-C ends)", flush=True),
        **options,
    )
    return 0
