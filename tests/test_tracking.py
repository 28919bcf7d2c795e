"""The tracker's promises, with a small untrained network: they hold for any features."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from liir.annotations import Annotation
from liir.encoder import Encoder, Model, folded
from liir.errors import InputError
from liir.presets import ModelConfig, Preset, TrackingConfig
from liir.tracking import Tracker, track
from liir.video import Frame, Video

SIZE = (40, 56)
CONFIG = TrackingConfig(size=0, radius=4, topk=5, guide_radius=0)  # noise has no edges to go by
ONE_TO_ONE = replace(CONFIG, topk=1, feedback="hard")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    preset = Preset(name="tiny", model=ModelConfig(width=0.125), tracking=CONFIG)
    encoder = folded(Encoder(preset.model))
    return Model(encoder, preset, torch.device("cpu"), torch.float32, "tiny")


def clip(frames, seed=0, step=4):
    """A blotchy texture that moves right by `step` pixels a frame."""
    rng = np.random.default_rng(seed)
    wide = rng.integers(0, 256, (SIZE[0] // 2, (SIZE[1] + step * frames) // 2, 3), dtype=np.uint8)
    wide = wide.repeat(2, axis=0).repeat(2, axis=1)
    return np.stack([wide[:, step * (frames - t) :][:, : SIZE[1]] for t in range(frames)])


def boxes(*places, size=SIZE):
    """Labels with a box for each (id, top, left)."""
    labels = np.zeros(size, dtype=np.uint8)
    for number, top, left in places:
        labels[top : top + 16, left : left + 16] = number
    return labels


def run(model, video, annotations, config=CONFIG, **options):
    return list(track(model, video, annotations, config=config, **options))


def test_the_annotated_frame_is_given_back_exactly(model):
    labels = boxes((7, 3, 5), (200, 21, 30))
    labels[0, :3] = 255
    result = run(model, clip(2), {0: labels})[0]
    assert np.array_equal(result.labels, np.where(labels == 255, 0, labels))
    assert result.ids == (7, 200)
    assert result.objects == {7: 1.0, 200: 1.0}


def test_identical_frames_keep_hard_labels(model):
    """Top-1 cosine: every cell's best match is itself, so nothing may move."""
    still = np.repeat(clip(1), 8, axis=0)
    labels = boxes((1, 8, 8), (2, 20, 32))
    results = run(model, still, {0: labels}, ONE_TO_ONE)
    for result in results[2:]:
        assert np.array_equal(result.labels, results[1].labels)
    assert (results[1].labels == labels).mean() > 0.9  # hard labels end on cells, not on pixels


def test_a_moving_texture_is_followed(model):
    results = run(model, clip(7), {0: boxes((3, 12, 8))}, ONE_TO_ONE)
    rows, columns = np.nonzero(results[-1].labels == 3)
    # Six frames of four pixels on from (12..27, 8..23); hard labels sit on cells.
    assert abs(np.median(rows) - 19.5) < 3
    assert abs(np.median(columns) - (15.5 + 24)) < 3
    assert 150 < len(rows) < 350


def test_labels_end_where_colours_do(model):
    """A box with edges between cells is read back to the pixel; cells alone miss its edges."""
    still = np.full((4, *SIZE, 3), (90, 120, 60), np.uint8)
    still[:, 10:27, 14:39] = (140, 100, 80)
    mask = (still[0, ..., 0] == 140).astype(np.uint8)
    wrong = [
        (
            run(model, still, {0: mask}, replace(CONFIG, guide_radius=radius))[-1].labels != mask
        ).sum()
        for radius in (0, 3)
    ]
    assert wrong[1] < wrong[0] / 4


def test_steps_equal_track(model):
    video, labels = clip(6), boxes((1, 4, 4))
    tracker = Tracker(model, CONFIG)
    steps = [tracker.step(video[t], labels if t == 0 else None) for t in range(6)]
    for one, other in zip(steps, run(model, video, {0: labels}), strict=True):
        assert np.array_equal(one.labels, other.labels)
        assert torch.equal(one.scores, other.scores)


def test_permuted_objects_give_permuted_labels(model):
    video = clip(5)
    one = run(model, video, {0: boxes((1, 2, 2), (9, 20, 30))})[-1]
    other = run(model, video, {0: boxes((9, 2, 2), (1, 20, 30))})[-1]
    swap = np.zeros(256, dtype=np.uint8)
    swap[[1, 9]] = 9, 1
    assert np.array_equal(swap[one.labels], other.labels)


def test_scores_sum_to_one_and_confidence_is_a_share(model):
    result = run(model, clip(4), {0: boxes((1, 2, 2), (2, 20, 30))})[-1]
    assert torch.allclose(result.scores.sum(0), torch.ones(result.grid.cells), atol=1e-5)
    assert result.confidence.dtype == np.float32
    assert 0 <= result.confidence.min() <= result.confidence.max() <= 1
    total = sum(result.probability(i) for i in result.ids)
    assert total.max() <= 1 + 1e-4
    with pytest.raises(InputError, match="no object 5"):
        result.probability(5)


def test_whole_window_softmax_and_topk_over_all_agree(model):
    video, labels = clip(4), boxes((1, 2, 2))
    points = Annotation(labels, points={"p": (20.0, 20.0)})
    config = replace(CONFIG, topk=10_000, rival_margin=0.0, lasting_margin=0)
    everything = run(model, video, {0: points}, config)[-1]
    softmax = run(model, video, {0: points}, replace(CONFIG, topk=None))[-1]
    assert torch.allclose(everything.scores, softmax.scores, atol=1e-5)
    assert everything.points["p"] == pytest.approx(softmax.points["p"], abs=1e-3)


@pytest.mark.parametrize("topk", [None, 5])
@pytest.mark.parametrize("form", ["mass", "published"])
def test_compactness_carries_masks_and_points(model, topk, form):
    """A still scene, every match confident: labels stay, and nothing grows from frame to frame."""
    still = np.repeat(clip(1), 12, axis=0)
    labels = boxes((1, 8, 8), (2, 20, 32))
    given = Annotation(labels, points={"p": (20.5, 12.5), "q": (44.5, 30.5)})
    config = replace(CONFIG, topk=topk, gaussians=2, compact_form=form, compact_threshold=0.0)
    tracker = Tracker(model, replace(config, temperature=0.01))
    last = [tracker.step(image, None if i else given) for i, image in enumerate(still)][-1]
    assert (last.labels == labels).mean() > 0.8
    assert torch.allclose(last.scores.sum(0), torch.ones(last.grid.cells), atol=1e-4)
    for name, place in given.points.items():
        assert last.points[name][:2] == pytest.approx(place, abs=2.5)
        assert 0.3 < last.points[name][2] <= 1.0
    assert max(float(r.values.max()) for r in tracker.memory.references(12)) < 1 + 1e-4


def test_probability_of_an_annotated_frame_is_the_annotation(model):
    labels = boxes((1, 3, 5), (2, 21, 30))
    result = run(model, clip(2), {0: labels})[0]
    for number in (1, 2):
        assert np.array_equal(result.probability(number), (labels == number).astype(np.float32))


def test_views_are_read_and_buffers_copied(model):
    """As OpenCV gives them: a channel-reversed view of a buffer that the next frame overwrites."""
    tracker = Tracker(model, CONFIG)
    buffer = clip(1)[0].copy()
    first = tracker.step(buffer[:, :, ::-1], boxes((1, 2, 2)))
    before = first.rgb.copy()
    buffer[:] = 0
    assert np.array_equal(first.rgb, before)
    tracker.step(buffer[::-1])


def test_an_annotated_frame_that_does_not_come_is_an_error_at_once(model):
    class Damaged(Video):
        """Frame 2 cannot be decoded."""

        def _read(self, start, stop):
            for index, rgb in enumerate(clip(5)):
                if index >= start and index != 2:
                    yield Frame(index, index / 25, rgb)

    video = Damaged("damaged", SIZE, 25.0)
    results = track(model, video, {0: boxes((1, 2, 2)), 2: boxes((1, 3, 3))}, config=CONFIG)
    assert [next(results).index, next(results).index] == [0, 1]
    with pytest.raises(InputError, match="frame 2"):
        next(results)


def test_many_objects(model):
    labels = np.arange(254, dtype=np.uint8).reshape(2, 127) + 1
    labels = np.kron(labels, np.ones((20, 2), dtype=np.uint8))
    video = np.random.default_rng(0).integers(0, 256, (3, 40, 254, 3), dtype=np.uint8)
    results = run(model, video, {0: labels})
    assert results[-1].ids == tuple(range(1, 255))
    assert np.array_equal(results[0].labels, labels)


class TestLaterAnnotations:
    def test_new_object_joins_and_the_old_one_stays(self, model):
        still = np.repeat(clip(1), 14, axis=0)
        first, later = boxes((1, 2, 2)), boxes((5, 20, 32))
        results = run(model, still, {0: first, 6: later})
        assert results[5].ids == (1,)
        assert results[6].ids == (1, 5)
        assert np.array_equal(results[6].labels == 5, later == 5)
        last = results[-1].labels
        # Frame 0 shows object 5 as background and stays in memory: it must not vote it down.
        assert (last[later == 5] == 5).mean() > 0.85
        assert (last[first == 1] == 1).mean() > 0.85

    def test_a_correction_holds_from_there_on(self, model):
        """The scene changes at frame 6: what is tracked on is wrong until it is corrected."""
        scenes = np.concatenate([np.repeat(clip(1, seed=s), 8, axis=0) for s in (0, 1)])
        right = boxes((1, 20, 32))
        results = run(model, scenes, {0: boxes((1, 2, 2)), 12: right})
        assert np.array_equal(results[12].labels, right)
        for result in results[13:]:
            found = result.labels == 1
            assert (found & (right == 1)).sum() / (found | (right == 1)).sum() > 0.5

    def test_an_object_said_to_be_gone_is_gone(self, model):
        still = np.repeat(clip(1), 4, axis=0)
        nothing = Annotation(np.zeros(SIZE, dtype=np.uint8), ids=(1,))
        results = run(model, still, {0: boxes((1, 2, 2), (2, 20, 30)), 2: nothing})
        assert not (results[2].labels == 1).any()
        assert (results[2].labels == 2).any()
        assert results[2].objects[1] == 0.0

    def test_an_object_that_comes_back_keeps_its_id(self, model):
        """It is said to be gone at frame 3 and is found again by the first frame's help."""
        still = np.repeat(clip(1), 4, axis=0)
        video = np.concatenate([still, np.zeros((6, *SIZE, 3), np.uint8), still])
        mask = boxes((42, 10, 10))
        gone = Annotation(np.zeros(SIZE, dtype=np.uint8), ids=(42,))
        results = run(model, video, {0: mask, 4: gone})
        assert not any((r.labels == 42).any() for r in results[4:9])
        back = results[-1].labels == 42
        assert (back & (mask == 42)).sum() > 60

    def test_points_given_later_leave_objects_alone(self, model):
        still = np.repeat(clip(1), 10, axis=0)
        mask = boxes((1, 8, 8))
        plain = run(model, still, {0: mask})
        with_points = run(model, still, {0: mask, 5: Annotation(points={"p": (40.0, 20.0)})})
        for one, other in zip(plain[:6], with_points[:6], strict=True):
            assert np.array_equal(one.labels, other.labels)
        assert (plain[-1].labels == with_points[-1].labels).mean() > 0.98
        assert with_points[-1].visible("p")
        with pytest.raises(InputError, match="no point 'q'"):
            with_points[-1].visible("q")


class TestBackwards:
    def test_frames_before_the_first_annotation_are_labelled(self, model):
        video = clip(9)
        results = run(model, video, {4: boxes((1, 12, 28))}, ONE_TO_ONE)
        assert [r.index for r in results] == list(range(9))
        for result, frame in zip(results, video, strict=True):
            assert np.array_equal(result.rgb, frame)
        columns = np.nonzero(results[0].labels == 1)[1]
        assert abs(np.median(columns) - (35.5 - 16)) < 5

    def test_equals_tracking_the_reversed_video(self, model):
        video, labels = clip(7), boxes((1, 12, 16), (4, 2, 30))
        given = Annotation(labels, points={"nose": (30.0, 20.0)})
        backwards = run(model, video, {6: given})
        forwards = run(model, video[::-1], {0: given})
        for one, other in zip(backwards, reversed(forwards), strict=True):
            assert torch.allclose(one.scores, other.scores, atol=1e-3)  # spooled as halves
            assert one.points["nose"] == pytest.approx(other.points["nose"])

    def test_an_iterator_cannot(self, model):
        with pytest.raises(InputError, match="backwards"):
            run(model, iter(clip(5)), {3: boxes((1, 2, 2))})


def test_an_iterator_can_go_forwards(model):
    results = run(model, iter(clip(5)), {0: boxes((1, 2, 2))})
    assert len(results) == 5


def test_start_and_stop(model):
    whole = run(model, clip(8), {2: boxes((1, 2, 2))}, stop=6)
    assert [r.index for r in whole] == [0, 1, 2, 3, 4, 5]
    part = run(model, clip(8), {2: boxes((1, 2, 2))}, start=2, stop=6)
    assert [r.index for r in part] == [2, 3, 4, 5]
    assert np.array_equal(part[-1].labels, whole[-1].labels)


def test_points_alone_and_with_masks(model):
    still = np.repeat(clip(1), 6, axis=0)
    alone = run(model, still, {0: Annotation(points={"a": (20.5, 12.5), "b": (44.5, 30.5)})})
    for result in alone:
        assert not result.labels.any()
        assert result.points["a"][:2] == pytest.approx((20.5, 12.5), abs=1.0)
        assert result.points["b"][:2] == pytest.approx((44.5, 30.5), abs=1.0)
    both = run(model, still, {0: Annotation(boxes((1, 2, 2)), points={"a": (20.5, 12.5)})})
    assert both[-1].points["a"][:2] == pytest.approx(alone[-1].points["a"][:2])
    assert (both[-1].labels == 1).any()


def test_nothing_before_the_first_annotation(model):
    tracker = Tracker(model, CONFIG)
    video = clip(3)
    assert not tracker.step(video[0]).labels.any()
    assert tracker.step(video[1], boxes((1, 2, 2))).labels.any()
    assert tracker.step(video[2]).labels.any()


def test_memory_is_flat(model):
    tracker = Tracker(model, CONFIG)
    video = clip(1)
    sizes = []
    for t, frame in enumerate(itertools.repeat(video[0], 60)):
        tracker.step(frame, boxes((1, 2, 2)) if t == 0 else None)
        sizes.append(tracker.memory.bytes)
    assert sizes[10:] == [sizes[10]] * 50


@pytest.mark.parametrize(
    ("annotations", "options", "message"),
    [
        ({}, {}, "nothing is annotated"),
        ({9: boxes((1, 2, 2))}, {}, "frame 9"),
        ({0: boxes((1, 2, 2), size=(40, 60))}, {}, "60x40.*56x40|40.*60"),
        ({0: boxes((1, 2, 2))}, {"start": 2}, "frame 0"),
    ],
)
def test_bad_input(model, annotations, options, message):
    with pytest.raises(InputError, match=message):
        run(model, clip(4), annotations, **options)


@pytest.mark.parametrize(
    "image", [np.zeros((40, 56), np.uint8), np.zeros((40, 56, 3)), np.zeros((40, 58, 3), np.uint8)]
)
def test_bad_images(model, image):
    tracker = Tracker(model, CONFIG)
    tracker.step(clip(1)[0], boxes((1, 2, 2)))
    with pytest.raises(InputError, match="frame 1"):
        tracker.step(image)


def test_devices_agree(model, device):
    copied = copy.deepcopy(model.encoder).to(device)
    moved = Model(copied, model.preset, device, torch.float32, "tiny")
    result = run(moved, clip(3), {0: boxes((1, 2, 2))})[-1]
    expected = run(model, clip(3), {0: boxes((1, 2, 2))})[-1]
    assert (result.labels == expected.labels).mean() > 0.99
