"""Signals: a run ends between two steps, and what it has started does not end before it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any


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


def interrupted_by_term() -> AbstractContextManager[None]:
    """SIGTERM is a Ctrl-C: for work that is given up at once, but tidies up behind itself."""
    return _handled(signal.SIGTERM, signal.default_int_handler)


def ignored_interrupt() -> AbstractContextManager[None]:
    """Processes started here are deaf to Ctrl-C from their first moment on.

    Not to SIGTERM, with which torch and multiprocessing end those that outlive their use.
    """
    return _handled(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _handled(number: signal.Signals, handler: Any) -> Iterator[None]:
    """A signal handled otherwise for a while; as it was in other threads than the main one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, old)
