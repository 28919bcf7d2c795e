"""What torchrun tells each process that it starts, in the environment. Without torch: instant."""

import os


def size() -> int:
    """Processes that were started together, on all machines; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process was started alone, or as the first of several."""
    return size() == 1 or os.environ.get("RANK", "0") == "0"


def local_size() -> int:
    """Those of them on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if size() > 1 else 1


def local_rank() -> int:
    """This process's number on this machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0")) if size() > 1 else 0
