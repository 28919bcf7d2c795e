"""How joints are called in figures, and coloured: left, right and middle, where names tell."""

from __future__ import annotations

import re

from liir.show.takes import Clip, joints

SIDES = {"left": 1, "right": 2, "middle": 3}
"""Row of `colours` for each side."""
_HUES = 8  # that all eyes tell apart

# Names for BADJA's numbers, by the SMALJointCatalog of its code; 1 is at the body, 3 the paw.
_BADJA = {
    "8": "right front 1",
    "9": "right front 2",
    "10": "right front 3",
    "12": "left front 1",
    "13": "left front 2",
    "14": "left front 3",
    "15": "neck",
    "18": "right hind 1",
    "19": "right hind 2",
    "20": "right hind 3",
    "22": "left hind 1",
    "23": "left hind 2",
    "24": "left hind 3",
    "25": "tail 1",
    "28": "tail 2",
    "31": "tail 3",
    "32": "jaw",
    "33": "nose",
    "34": "chin",
    "35": "right ear",
    "36": "left ear",
}


def called(clip: Clip) -> dict[str, str]:
    """What is written beside each joint: R-shoulder for right-shoulder."""
    return {name: _short(words) for name, words in _words(clip).items()}


def painted(clip: Clip) -> dict[str, int]:
    """Row of `colours` for each joint, as it is called.

    That of its side; where no names tell sides apart, one after the other.
    """
    if legend(clip):
        return {_short(words): SIDES[side(words)] for words in _words(clip).values()}
    return {name: 1 + place % _HUES for place, name in enumerate(called(clip).values())}


def legend(clip: Clip) -> dict[str, int]:
    """The sides and their rows of `colours`, if there are joints of both."""
    found = {side(words) for words in _words(clip).values()}
    return SIDES if {"left", "right"} <= found else {}


def side(name: str) -> str:
    """Left, right or middle, by the words of a name."""
    words = _split(name)
    return next((each for each in ("left", "right") if each in words), "middle")


def _words(clip: Clip) -> dict[str, str]:
    # No other set has masks beside joints: it takes an animal's size from them.
    known = _BADJA if clip.masks else {}
    return {name: known.get(name, name) for name in joints(clip)}


def _short(name: str) -> str:
    which = side(name)
    if which == "middle":
        return name
    return f"{which[0].upper()}-{' '.join(word for word in _split(name) if word != which)}"


def _split(name: str) -> list[str]:
    return re.split(r"[\W_]+", name.lower())
