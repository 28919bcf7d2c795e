"""Signals: a run ends between two steps, and what it has started does not end before it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that the step under way is finished first."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    old = {
        number: signal.signal(number, lambda *_: stopped.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stopped
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextmanager
def interrupted_by_term() -> Iterator[None]:
    """SIGTERM is a Ctrl-C: for work that is given up at once, but tidies up behind itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


@contextmanager
def ignored_interrupt() -> Iterator[None]:
    """Processes started here are deaf to Ctrl-C from their first moment on.

    Not to SIGTERM, with which torch and multiprocessing end those that outlive their use.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, old)
