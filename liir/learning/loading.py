"""Batches decoded ahead, in processes of their own; no wait for one is deaf to a signal."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Generator, Iterator

import torch
from torch.utils.data import DataLoader

from liir.errors import InputError
from liir.learning.clips import Batch, Pairs, Runs
from liir.learning.signals import ignored_interrupt

_PATIENCE = 1.0
"""Seconds for which a wait does not look up."""


def load(pairs: Pairs, workers: int, start: int) -> Generator[Batch | None, None, None]:
    """The batches from step `start` on, without end, decoded ahead in `workers` processes.

    Yields:
        A batch; None where it is not there after a second, for whoever waits to think it over.

    Raises:
        InputError: Data that cannot be had, as one line.
        RuntimeError: A process died; its message has "DataLoader worker" in it.
    """
    run, done = divmod(start, pairs.config.reuse)
    loader = DataLoader(
        Runs(pairs),
        batch_size=None,
        sampler=range(run, 1 << 40),
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        timeout=_PATIENCE if workers else 0,
        worker_init_fn=_ends_at_once,
        # A fork would copy the locks of threads (decoders, progress bars) that it does not copy.
        multiprocessing_context="spawn" if workers else None,
        # Otherwise the loader draws from the global generator, once more on each resume.
        generator=torch.Generator(),
    )
    try:
        with ignored_interrupt():
            runs = iter(loader)
        while True:
            try:
                batches = next(runs)
            except RuntimeError as error:
                if "DataLoader timed out" not in str(error):
                    raise
                yield None
                continue
            yield from batches[done:]
            done = 0
    except InputError as error:  # that of a process comes with its traceback
        name = f"{type(error).__name__}: "
        raise InputError(str(error).strip().split(name)[-1]) from None
    except (ConnectionError, FileNotFoundError, EOFError) as error:
        # Of a process that died with a batch half handed over; torch tells of it a moment later,
        # by a signal whose handler raises, and had better do so here.
        time.sleep(1.0)
        raise RuntimeError("DataLoader worker is gone") from error


def _ends_at_once(_: int) -> None:
    """A process that is done ends without tearing Python down around its threads.

    One of them may be handing over a batch: sent away within torch, it would abort the process
    ("terminate called without an active exception"), which then passes for one that died.
    """
    atexit.register(os._exit, 0)


def following(batches: Iterator[Batch | None], stopped: threading.Event) -> Batch | None:
    """The next batch of `load`; None once the run is to stop, even if a decoder hangs."""
    batch = None
    try:
        while batch is None and not stopped.is_set():
            batch = next(batches)
    except RuntimeError:
        if not stopped.is_set():  # the SIGTERM of a job scheduler ends processes, too
            raise
    return batch
