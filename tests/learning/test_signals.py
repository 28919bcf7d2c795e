"""Processes that hear of signals, and some that do not."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from liir.learning.signals import ignored_interrupt, stop_on_signals


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Ctrl-C as Python hears it, also where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_raises_the_flag_and_nothing_else() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    for number in (signal.SIGINT, signal.SIGTERM):
        with stop_on_signals() as stopped:
            assert not stopped.is_set()
            os.kill(os.getpid(), number)
            assert stopped.is_set()
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_threads_leave_signals_alone() -> None:
    def run() -> None:
        with stop_on_signals() as stopped, ignored_interrupt():
            found.append((stopped.is_set(), signal.getsignal(signal.SIGINT)))

    found: list[object] = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [(False, signal.default_int_handler)]


def test_processes_are_deaf_from_the_start() -> None:
    code = "import signal as s; print(*(s.getsignal(n).name for n in (s.SIGINT, s.SIGTERM)))"
    with ignored_interrupt():
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.communicate()[0] == "SIG_IGN SIG_DFL\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
