"""What comes into view goes with what it moves with; what a person labelled stays."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from liir.annotations import Annotation
from liir.common_fate import _fit, _likelihoods, go_along, still_unseen
from liir.encoder import Model
from liir.matching import Matches, match, normalise
from liir.presets import TrackingConfig, small
from liir.tracking import Tracker

HEIGHT, WIDTH, CHANNELS = 16, 48, 32
CONFIG = TrackingConfig(radius=6, topk=1, size=0, common_fate=0.1)
WALL = 12
TOP, TALL, LONG = 4, 8, 20
START, SPEED = 4, 3
FRONT = 4
LATER = 3  # steps, and columns that the body has come:
LEFT = START + SPEED * LATER
HIDDEN = WALL - START  # columns of the body behind the wall


def texture(seed, height=HEIGHT, width=WIDTH):
    """Unit features (C, h, w), a different one for every cell."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(CHANNELS, height, width, generator=generator), dim=0)


def scene(step, speed=SPEED):
    """A long body comes out from behind a wall on the left, which its hidden end looks a little
    like. Features, and where it is seen.
    """
    ground, body = texture(0), texture(1, TALL, LONG)
    wall = ground[:, TOP : TOP + TALL, WALL - HIDDEN // 2 : WALL].repeat_interleave(2, 2)
    body[:, :, :HIDDEN] = normalise(wall + 0.6 * texture(2, TALL, HIDDEN), "cosine")
    left = START + speed * step
    shown = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    for column in range(max(left, WALL), left + LONG):
        ground[:, TOP : TOP + TALL, column] = body[:, :, column - left]
        shown[TOP : TOP + TALL, column] = True
    return ground, shown


class Scenes(Model):
    """Sees the scene of the step and speed that the picture's pixels tell."""

    def encode(self, rgb):
        step, speed, _ = (int(channel[0, 0]) for channel in rgb)
        return scene(step, speed)[0]


def started(config=CONFIG):
    """A tracker of scenes."""
    model = Scenes(torch.nn.Identity(), small(), torch.device("cpu"), torch.float32, "scenes")
    return Tracker(model, config)


def picture(step, speed=SPEED):
    """Of a scene."""
    return np.broadcast_to(np.uint8([step, speed, 0]), (4 * HEIGHT, 4 * WIDTH, 3))


def annotation(labels):
    """Of cells (h, w)."""
    return Annotation(labels.numpy().repeat(4, 0).repeat(4, 1).astype(np.uint8))


def tracked(steps, labels=None, config=CONFIG, speed=SPEED):
    """Scores (K, h, w) of each step; the first one's cells (h, w) are labelled."""
    given = annotation(scene(0)[1] if labels is None else labels)
    tracker = started(config)
    return [
        tracker.step(picture(step, speed), given if step == 0 else None).scores
        for step in range(steps)
    ]


@pytest.mark.parametrize(("chance", "follows"), [(0.0, False), (0.1, True)])
def test_another_side_of_an_object_goes_with_it(chance, follows):
    scores = tracked(9, config=dataclasses.replace(CONFIG, common_fate=chance))[-1]
    _, shown = scene(8)
    left = START + SPEED * 8
    body = scores[1][TOP : TOP + TALL, left : left + LONG]
    assert bool((body[:, HIDDEN + 1 :] > 0.5).all())
    came = (body[:, 1:HIDDEN] > 0.5).float().mean()
    assert float(came) > 0.8 if follows else float(came) < 0.1
    # The ground between wall and body was behind it, and is not it.
    assert float((scores[1][~shown] > 0.5).float().mean()) < 0.02


def test_what_a_person_called_background_stays_it():
    """A shadow, say, in front of the body: it moves with it, and was there from the beginning."""
    labels = scene(0)[1].int()
    front = START + LONG - 4
    labels[:, front:] = 0
    scores = tracked(9, labels)[-1]
    shadow = slice(front + SPEED * 8, front + 4 + SPEED * 8)
    assert float(scores[1][TOP : TOP + TALL, shadow].max()) < 0.5
    assert float(scores[1][TOP : TOP + TALL, shadow.start - 4 : shadow.start].min()) > 0.5


def test_where_nothing_moves_labels_stay():
    """However long it lasts: chances do not add up."""
    tracker, scores = started(), []
    for step in range(30):
        given = annotation(scene(0)[1]) if step == 0 else None
        scores.append(tracker.step(picture(min(step, 1)), given).scores)  # comes out, and stops
    left = slice(WALL, START + SPEED + HIDDEN)
    assert float(scores[3][1][TOP : TOP + TALL, left].max()) < 0.3
    torch.testing.assert_close(scores[-1], scores[3], atol=0.01, rtol=0)


def test_the_order_of_the_objects_changes_nothing():
    labels = scene(0)[1].int()
    labels[:8] *= 2
    plain = tracked(8, labels)[-1]
    swapped = tracked(8, torch.tensor([0, 2, 1])[labels.long()])[-1]
    torch.testing.assert_close(swapped[[0, 2, 1]], plain, atol=1e-5, rtol=0)


def gone(labels, unseen, mirror=False, others=0):
    """Labels of the scene at a step, with what moved since the one before.

    Two references stand before that one, which every query of the first `others` prefers.
    """
    now, before = (scene(step)[0] for step in (LATER, LATER - 1))
    there = torch.arange(HEIGHT * WIDTH)
    if mirror:
        now, before = now.flip(2), before.flip(2)
        there = there.view(HEIGHT, WIDTH).flip(1).flatten()
    last = match(now, before[None], radius=CONFIG.radius, topk=1, temperature=CONFIG.temperature)
    cells = last.cells + 2 * len(there)
    cells[:others] = there[:others, None]
    matches = Matches(last.values, cells, last.lse)
    found = go_along(matches, 2, labels[there], unseen[there], (HEIGHT, WIDTH), CONFIG)
    return found[there]


def half_known():
    """Labels of the body and of the rest, and the body's left part unseen."""
    body = scene(LATER)[1].flatten().float()
    unseen = body * (torch.arange(HEIGHT * WIDTH) % WIDTH < LEFT + HIDDEN)
    known = body - unseen
    return torch.stack((1 - known, known), dim=1), unseen


def test_mirrored_frames_have_mirrored_labels():
    labels, unseen = half_known()
    plain = gone(labels, unseen)
    assert float((plain - labels).abs().max()) > 0.3
    torch.testing.assert_close(gone(labels, unseen, mirror=True), plain, atol=1e-4, rtol=0)


def test_what_has_just_come_says_nothing_yet():
    """It was nowhere in the last frame, whatever is most like it there."""
    labels, unseen = half_known()
    just = torch.arange(HEIGHT * WIDTH) % WIDTH < LEFT + 2
    unseen = unseen * just
    labels[(unseen == 0) & scene(LATER)[1].flatten()] = torch.tensor([0.0, 1.0])
    found = gone(labels, unseen)[unseen == 1, 1]
    torch.testing.assert_close(found, torch.full_like(found, 0.1 / 1.1), atol=0.01, rtol=0)


def test_one_frame_says_so_much_and_only_of_what_is_nearby():
    labels, unseen = half_known()
    found = gone(labels, unseen)[:, 1].view(HEIGHT, WIDTH)[TOP : TOP + TALL]
    first = LEFT + HIDDEN  # column that is known
    likely = CONFIG.common_fate * np.exp(2.0)
    beside = found[:, first - 3 : first]
    assert 0.3 < float(beside.max()) <= likely / (1 + likely) + 1e-6
    assert float(found[:, : first - 3].max()) == 0


def test_motions_are_those_of_what_was_seen():
    """Still ground that was taken for the body, unseen, does not say how the body moves."""
    labels, unseen = half_known()
    wrong = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    wrong[TOP : TOP + TALL], wrong[:, :WALL] = False, False
    wrong = wrong.flatten()
    labels[wrong] = torch.tensor([0.0, 1.0])
    assert float(wrong.sum()) > 1.5 * float(labels[~wrong, 1].sum())
    unseen[wrong] = 1
    body = (unseen == 1) & ~wrong
    assert float(gone(labels, unseen)[body, 1].max()) > 0.3


def test_a_motion_is_that_of_most_cells():
    generator = torch.Generator().manual_seed(0)
    line = torch.rand(3, 300, generator=generator) * 2 - 1
    line[2] = 1
    true = torch.tensor([[2.0, 0.5, -4.0], [-1.0, 3.0, 1.0]])
    steps = true @ line
    steps[:, ::4] = 12 * torch.rand(2, 75, generator=generator)
    fit = _fit(line, steps, torch.ones(300))
    assert fit is not None
    torch.testing.assert_close(fit[0], true, atol=0.15, rtol=0)
    assert float(fit[1]) == 1


def test_a_straight_line_of_cells_has_a_motion():
    line = torch.stack((torch.linspace(-1, 1, 40), torch.full((40,), 0.25), torch.ones(40)))
    fit = _fit(line, torch.tensor([[3.0], [1.0]]).expand(2, 40), torch.ones(40))
    assert fit is not None
    torch.testing.assert_close(
        fit[0] @ line, torch.tensor([[3.0], [1.0]]).expand(2, 40), atol=0.1, rtol=0
    )


def test_how_far_cells_are_off_is_the_median():
    generator = torch.Generator().manual_seed(0)
    line = torch.cat((torch.rand(2, 4000, generator=generator) * 2 - 1, torch.ones(1, 4000)))
    fit = _fit(line, 5 * torch.randn(2, 4000, generator=generator), torch.ones(4000))
    assert fit is not None
    median = 5 * np.sqrt(2 * np.log(2))  # Rayleigh's
    assert float(fit[1]) == pytest.approx(median, rel=0.05)


def test_of_several_keys_the_best_in_the_latest_reference_counts():
    """Whatever stands before it from other references, and behind it."""
    labels, unseen = half_known()
    now, before = (scene(step)[0] for step in (LATER, LATER - 1))
    last = match(now, before[None], radius=CONFIG.radius, topk=2, temperature=CONFIG.temperature)
    other = torch.zeros_like(last.cells[:, :1])
    cells = torch.cat((other, last.cells + 2 * HEIGHT * WIDTH), dim=1)
    values = torch.cat((last.values[:, :1] + 1, last.values), dim=1)
    found = go_along(Matches(values, cells, last.lse), 2, labels, unseen, (HEIGHT, WIDTH), CONFIG)
    torch.testing.assert_close(found, gone(labels, unseen), atol=0.02, rtol=0)


def test_whoever_knows_better_knows_that_reference_better():
    """What has just come is known well to an earlier frame, and that says nothing of the last."""
    labels, unseen = half_known()
    unseen = unseen * (torch.arange(HEIGHT * WIDTH) % WIDTH < LEFT + 2)
    labels[(unseen == 0) & scene(LATER)[1].flatten()] = torch.tensor([0.0, 1.0])
    now, before = (scene(step)[0] for step in (LATER, LATER - 1))
    last = match(now, before[None], radius=CONFIG.radius, topk=1, temperature=CONFIG.temperature)
    cells = torch.cat((torch.arange(len(unseen))[:, None], last.cells + 2 * len(unseen)), dim=1)
    values = torch.cat((last.values + 20 * unseen[:, None], last.values), dim=1)
    found = go_along(Matches(values, cells, last.lse), 2, labels, unseen, (HEIGHT, WIDTH), CONFIG)
    torch.testing.assert_close(found, gone(labels, unseen), atol=0.02, rtol=0)


def test_what_is_half_unseen_goes_half_the_way():
    labels, unseen = half_known()
    whole, half = gone(labels, unseen), gone(labels, unseen / 2)
    torch.testing.assert_close(half - labels, (whole - labels) / 2, atol=0.02, rtol=0)


def test_cells_without_a_key_there_are_nobodys_rivals():
    """The first cell of all stays where it is, and the body does not."""
    labels, _ = half_known()
    unseen = torch.zeros(len(labels))
    unseen[0], labels[0] = 1, 0.5
    now, before = (scene(step)[0] for step in (LATER, LATER - 1))
    last = match(now, before[None], radius=CONFIG.radius, topk=1, temperature=CONFIG.temperature)
    cells = last.cells + len(labels)
    cells[-1], last.values[-1] = len(labels) - 1, last.values[-1] + 5  # of the first reference
    matches = Matches(last.values, cells, last.lse)
    found = go_along(matches, 1, labels, unseen, (HEIGHT, WIDTH), CONFIG)
    assert float(found[0, 1]) < 0.2


def test_what_matches_earlier_frames_alone_says_nothing():
    labels, unseen = half_known()
    rows = (TOP + TALL // 2) * WIDTH
    found = gone(labels, unseen, others=rows)[:, 1].view(HEIGHT, WIDTH)
    beside = slice(LEFT + HIDDEN - 3, LEFT + HIDDEN)
    assert float(found[TOP + 1, beside].max()) < 0.1  # two rows away from what does
    assert float(found[TOP + TALL - 2, beside].max()) > 0.3


def test_totals_stay_and_what_was_seen_is_left_alone():
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(HEIGHT * WIDTH, 3, generator=generator)
    labels[:, 2] = 0  # is nowhere
    labels /= labels.sum(1, keepdim=True)
    unseen = (torch.rand(HEIGHT * WIDTH, generator=generator) < 0.5).float()
    found = gone(labels, unseen)
    torch.testing.assert_close(found.sum(1), torch.ones(HEIGHT * WIDTH))
    assert torch.equal(found[unseen == 0], labels[unseen == 0])
    assert float(found[:, 2].abs().max()) == 0
    assert not torch.allclose(found[unseen == 1], labels[unseen == 1], atol=0.05)


def test_of_a_few_cells_no_motion_is_known():
    """Then it is as likely as before that something is theirs."""
    labels, unseen = half_known()
    few = labels[:, 1].nonzero()[::8, 0]
    assert 0 < len(few) < 30
    scarce = torch.zeros_like(labels)
    scarce[few, 1] = 1
    scarce[:, 0] = 1 - scarce[:, 1]
    assert float(gone(scarce, unseen)[unseen == 1, 1].max()) < 0.1
    assert float(gone(labels, unseen)[unseen == 1, 1].max()) > 0.3


def test_labels_of_a_few_cells_have_nothing_against_them():
    """Whatever the others move like, and in whichever order they stand."""
    size, (still, moves) = (20, 30), (0, 1)
    now = torch.arange(600)
    right = (now % 30 >= 15).float()
    labels = torch.stack((1 - right, right, torch.zeros(600)), dim=1)
    few = torch.tensor([3, 4, 33, 34])
    labels[few] = torch.tensor([0.0, 0.0, 1.0])
    before = torch.where(right == 1, (now - 4).clamp_min(0), now)
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        found = _likelihoods(before, labels[:, order].T, now, size)
        assert float(found[order.index(2)].abs().max()) == 0
        assert float(found.max()) == 0
        assert float(found.min()) == -2  # nats
        assert bool((found[order.index(still), right == 1] == -2).all())
        assert bool((found[order.index(moves), right == 0] == -2).all())


def carried(similarity, before, new):
    """What is unseen of cells like cells 0, 1 and 3 of a reference."""
    values = torch.full((3, 2), similarity) / CONFIG.temperature
    values[:, 1] = -torch.inf  # a window of one key
    matches = Matches(values, torch.tensor([[0, 0], [1, 0], [3, 0]]), values[:, 0])
    return still_unseen(matches, torch.tensor(before), torch.tensor(new), CONFIG)


def test_what_is_unseen_is_carried_on():
    found = carried(1.0, [0.0, 0.5, 0.0, 1.0], [0.25, 0.5, 0.01])
    torch.testing.assert_close(found, torch.tensor([0.25, 0.75, 1.0]))


def test_what_resembles_nothing_is_unseen():
    before = [0.0, 0.5, 0.0, 1.0]
    found = carried(CONFIG.seen_above - 0.05, before, [0.0, 0.6, 0.0])
    torch.testing.assert_close(found, torch.tensor([0.5, 0.8, 1.0]))
    assert float(carried(0.6, before, [0.0, 0.0, 0.0]).min()) == 1
    # Exactly, or it would add up.
    assert carried(CONFIG.seen_above, before, [0.0, 0.0, 0.0]).tolist() == [0, 0.5, 1]


class Turns(Scenes):
    """The front of the body looks otherwise from step 4 on: a little like the ground under it."""

    def encode(self, rgb):
        step = int(rgb[0][0, 0])
        seen, _ = scene(step)
        if step >= 4:
            under = slice(START + SPEED * 4 + LONG - FRONT, START + SPEED * 4 + LONG)
            look = texture(0)[:, TOP : TOP + TALL, under] + texture(3, TALL, FRONT)
            front = slice(START + SPEED * step + LONG - FRONT, START + SPEED * step + LONG)
            seen[:, TOP : TOP + TALL, front] = F.normalize(look, dim=0)
        return seen


@pytest.mark.parametrize("above", [0.0, CONFIG.seen_above])
def test_what_looks_like_nothing_seen_before_goes_along(above):
    model = Turns(torch.nn.Identity(), small(), torch.device("cpu"), torch.float32, "turns")
    tracker = Tracker(model, dataclasses.replace(CONFIG, seen_above=above))
    for step in range(8):
        given = annotation(scene(0)[1]) if step == 0 else None
        scores = tracker.step(picture(step), given).scores
    right = START + SPEED * 7 + LONG
    front = scores[1][TOP : TOP + TALL, right - FRONT : right]
    assert float(front.mean()) > 0.8 if above else float(front.max()) < 0.1


def test_an_annotation_shows_everything():
    """But for one of points alone."""
    given = {step: annotation(scene(step)[1]) for step in (0, 4)}
    given[3] = Annotation(points={"front": (100.0, 30.0)})
    tracker = started()
    for step in range(5):
        tracker.step(picture(step), given.get(step))
        unseen = tracker.state()["memory"]["kept"][-1]["unseen"]
        if step in (0, 4):
            assert unseen is None
        else:
            assert float(unseen.max()) > 0.9


def test_a_tracker_that_is_restored_goes_on_alike():
    tracker, other = started(), started()
    for step in range(5):
        tracker.step(picture(step), annotation(scene(0)[1]) if step == 0 else None)
    other.restore(tracker.state())
    for step in range(5, 8):
        expected = tracker.step(picture(step)).scores
        assert torch.equal(other.step(picture(step)).scores, expected)
