"""What comes into view is told from what was there, and goes to the background."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from liir.annotations import Annotation
from liir.encoder import Model
from liir.matching import match, normalise
from liir.newcomers import newcomers, yield_to_background
from liir.presets import TrackingConfig, small
from liir.tracking import Tracker

HEIGHT, WIDTH, CHANNELS = 12, 24, 32
CONFIG = TrackingConfig(radius=6)


def texture(seed, height=HEIGHT, width=WIDTH):
    """Unit features (C, h, w), a different one for every cell."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(CHANNELS, height, width, generator=generator), dim=0)


def scene(left):
    """A 6x6 object at column `left`; the ground under its first place looks a little like it."""
    ground, body = texture(0), texture(1, 6, 6)
    ground[:, 3:9, 12:18] = normalise(body + 0.6 * texture(2, 6, 6), "cosine")
    ground[:, 3:9, left : left + 6] = body
    labels = torch.zeros(HEIGHT, WIDTH)
    labels[3:9, left : left + 6] = 1
    return ground, labels


def found(query, keys, config=CONFIG):
    # Of random textures the second best key is as good as none: nobody else wants it.
    matches = match(query, keys[None], radius=config.radius, topk=1, temperature=config.temperature)
    return newcomers(matches, (query.shape[1], query.shape[2]), config)


def test_only_what_was_uncovered_is_new():
    before, after = scene(12)[0], scene(6)[0]
    new = found(after, before).view(HEIGHT, WIDTH)
    uncovered = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    uncovered[3:9, 12:18] = True
    assert bool((new[uncovered] > 0.5).all())
    assert float(new[uncovered].mean()) > 0.9
    assert bool((new[~uncovered] < 0.1).all())


def test_nothing_is_new_in_a_frame_that_repeats():
    assert float(found(texture(0), texture(0)).abs().max()) < 1e-6


def test_what_grows_is_not_new():
    # Four cells show what one showed: each is next to the best.
    before = texture(0)
    enlarged = before[:, 3:9, 6:18].repeat_interleave(2, 1).repeat_interleave(2, 2)
    noisy = normalise(enlarged + 0.05 * texture(3), "cosine")
    grown = found(noisy, before, dataclasses.replace(CONFIG, radius=24))
    assert float(grown.max()) < 0.1


def test_newcomers_commute_with_mirrors():
    before, after = scene(12)[0], scene(6)[0]
    plain = found(after, before).view(HEIGHT, WIDTH)
    mirrored = found(after.flip(2), before.flip(2)).view(HEIGHT, WIDTH)
    torch.testing.assert_close(mirrored.flip(1), plain)


def test_the_margin_is_a_similarity():
    # The uncovered ground is about 0.14 behind: a wide margin forgives it.
    before, after = scene(12)[0], scene(6)[0]
    lenient = found(after, before, dataclasses.replace(CONFIG, rival_margin=0.6))
    assert float(lenient.max()) < 0.5


def test_shares_still_sum_to_one_and_background_nearby_takes_them():
    labels = torch.rand(HEIGHT * WIDTH, 3).softmax(1)
    new = torch.rand(HEIGHT * WIDTH)
    given = yield_to_background(labels, new, (HEIGHT, WIDTH))
    torch.testing.assert_close(given.sum(1), torch.ones(HEIGHT * WIDTH))
    assert bool((given[:, 0] >= labels[:, 0]).all())


def test_without_background_nearby_nothing_changes():
    labels = torch.zeros(HEIGHT, WIDTH, 3)
    labels[..., 1] = 1.0
    labels[:, 20:] = torch.tensor([1.0, 0.0, 0.0])
    given = yield_to_background(labels.flatten(0, 1), torch.ones(HEIGHT * WIDTH), (HEIGHT, WIDTH))
    kept = given.view(HEIGHT, WIDTH, 3)[:, :17]
    assert torch.equal(kept, labels[:, :17])
    assert bool((given.view(HEIGHT, WIDTH, 3)[:, 17:, 0] == 1).all())


@pytest.mark.parametrize(("margin", "stays"), [(0.0, True), (0.06, False)])
def test_a_tracker_leaves_uncovered_ground_to_the_background(margin, stays):
    class Scenes(Model):
        def encode(self, rgb):
            return scene(int(rgb[0, 0, 0]))[0]

    model = Scenes(torch.nn.Identity(), small(), torch.device("cpu"), torch.float32, "scenes")
    config = dataclasses.replace(CONFIG, rival_margin=margin, size=0, topk=1)
    tracker = Tracker(model, config)
    labels = scene(12)[1].numpy().repeat(4, 0).repeat(4, 1).astype(np.uint8)
    tracker.step(np.full((4 * HEIGHT, 4 * WIDTH, 3), 12, np.uint8), Annotation(labels))
    second = tracker.step(np.full((4 * HEIGHT, 4 * WIDTH, 3), 6, np.uint8)).labels
    assert bool((second[14:34, 26:46] == 1).all())  # where it went
    assert bool((second[14:34, 52:66] == 1).any()) == stays
