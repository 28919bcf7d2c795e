"""Tasks: one after the other, failing alone, cancelled."""

import threading
import time

from liir.errors import InputError
from liir.page.work import Queue, Task


def test_order_failure_and_cancelling():
    queue, seen, gate = Queue("test"), [], threading.Event()

    def fail(task):
        gate.wait(5)
        raise InputError("no such thing")

    def endless(task):
        while True:
            task.tell(1, 2)
            time.sleep(0.005)

    tasks = [Task("one", "p", fail), Task("two", "p", lambda task: seen.append(task.number))]
    tasks += [Task("three", "p", endless), Task("four", "q", endless)]
    for task in tasks:
        queue.add(task)
    tasks[3].cancel()
    gate.set()
    end = time.monotonic() + 10
    while tasks[2].done == 0 and time.monotonic() < end:
        time.sleep(0.01)
    tasks[2].cancel()
    while any(task.active for task in tasks) and time.monotonic() < end:
        time.sleep(0.01)
    assert [task.status for task in tasks] == ["failed", "done", "cancelled", "cancelled"]
    assert tasks[0].describe()["error"] == "no such thing"
    assert seen == [tasks[1].number]
    queue.stop()
