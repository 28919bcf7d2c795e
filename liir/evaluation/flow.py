"""Optical flow as a baseline: labels are carried from frame to frame by OpenCV's DIS flow."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liir.annotations import VOID
from liir.errors import InputError
from liir.evaluation.layouts import Sequence
from liir.evaluation.stored import Predicted
from liir.video import open_video

Plane = NDArray[np.float32]


def warped(sequence: Sequence) -> Iterator[Predicted]:
    """Predictions by dense inverse search (Kroeger et al., ECCV 2016), preset "medium".

    Labels are fetched from the frame before along the flow from this frame to it, as shares that
    are interpolated between pixels and fed back as they are; points go along the flow from the
    frame before. Nothing but the frame before is remembered.

    Raises:
        InputError: OpenCV is not installed.
    """
    try:
        cv2: Any = import_module("cv2")  # its stubs lack the flow
    except ImportError as error:
        raise InputError(
            f"optical flow needs OpenCV ({error}); pip install 'liir[flow]'"
        ) from error
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    video = open_video(sequence.folder)
    height, width = video.size
    pixels: Any = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    shares: dict[int, Plane] = {}
    points: dict[str, tuple[float, float]] = {}
    before: NDArray[np.uint8] | None = None
    for frame in video.frames(sequence.start, len(sequence.stems)):
        grey = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY)
        if before is not None and shares:
            back = flow.calc(grey, before, None)
            x, y = pixels[0] + back[..., 0], pixels[1] + back[..., 1]
            for number, plane in shares.items():
                shares[number] = cv2.remap(
                    plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
                )
        if before is not None and points:
            on = flow.calc(before, grey, None)
            points = {name: _moved(on, x, y) for name, (x, y) in points.items()}
        given = sequence.annotations.get(frame.index)
        if given is not None:
            points |= given.points
            if given.labels is not None:
                free = ~np.isin(given.labels, (*given.ids, VOID))
                shares = {number: plane * free for number, plane in shares.items()}
                for number in given.ids:
                    shares[number] = (given.labels == number).astype(np.float32)
        before = grey
        shown = {name: (x, y, 1.0) for name, (x, y) in points.items()}
        yield Predicted(frame.index, _strongest(shares, (height, width)), shown)


def _moved(flow: NDArray[np.float32], x: float, y: float) -> tuple[float, float]:
    """A point carried along the flow (H, W, 2) of its pixel, and kept inside of the frame."""
    height, width = flow.shape[:2]
    right, down = flow[min(int(y), height - 1), min(int(x), width - 1)]
    return min(max(x + float(right), 0.0), width - 1e-3), min(
        max(y + float(down), 0.0), height - 1e-3
    )


def _strongest(shares: dict[int, Plane], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) the label of the largest share; what no object has is the background's."""
    labels = np.zeros(size, np.uint8)
    best = np.ones(size, np.float32)
    for plane in shares.values():
        best -= plane
    for number, plane in shares.items():
        labels[plane > best] = number
        np.maximum(best, plane, out=best)
    return labels
