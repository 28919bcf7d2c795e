"""Threads that work in the background without getting in the way of those that compute."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch


def background_thread(name: str) -> ThreadPoolExecutor:
    """An executor of one thread in which torch keeps to one core.

    Every thread that computes with torch has a team of threads of its own. Those of two such teams
    outnumber the cores, and then they no longer wait for each other awake: to send one to sleep and
    wake it costs more than most of what they share.
    """

    def limit() -> int:
        torch.set_num_threads(1)  # of this thread, and of those to come
        return torch.get_num_threads()  # a thread takes its number over when it is first asked

    threads = torch.get_num_threads()
    executor = ThreadPoolExecutor(1, name)
    executor.submit(limit).result()
    torch.set_num_threads(threads)
    return executor
