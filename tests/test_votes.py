"""How references vote, also those that do not know every label."""

import torch

from liir.matching import Matches
from liir.memory import Reference
from liir.votes import vote


def reference(values, known, step=0):
    values = torch.tensor(values)
    return Reference(step, torch.zeros(1, 1, len(values)), values, torch.tensor(known), False)


def matches(cells, weights):
    values = torch.tensor(weights).log()
    return Matches(values, torch.tensor(cells), values.logsumexp(1)).tally


def test_votes_are_weighted_means():
    memory = [
        reference([[1.0, 0.0], [0.0, 1.0]], [True, True]),
        reference([[0.5, 0.5], [1.0, 0.0]], [True, True]),
    ]
    found = vote(matches([[0, 1, 2]], [[0.2, 0.5, 0.3]]), memory, objects=2)
    assert torch.allclose(found, torch.tensor([[0.35, 0.65]]))


def test_a_new_object_is_not_voted_down_by_frames_that_do_not_know_it():
    old = reference([[1.0, 0.0]], [True, False])
    new = reference([[0.2, 0.8]], [True, True])
    found = vote(matches([[0, 1]], [[0.5, 0.5]]), [old, new], objects=2)
    assert torch.allclose(found, torch.tensor([[0.2, 0.8]]))


def test_what_old_frames_know_still_counts_against_the_new_object():
    old = reference([[0.0, 1.0, 0.0]], [True, True, False])
    new = reference([[0.0, 0.0, 1.0]], [True, True, True])
    found = vote(matches([[0, 1]], [[0.75, 0.25]]), [old, new], objects=3)
    assert torch.allclose(found, torch.tensor([[0.0, 0.75, 0.25]]))


def test_background_without_evidence_stays_background():
    old = reference([[1.0, 0.0]], [True, False])
    found = vote(matches([[0]], [[1.0]]), [old], objects=2)
    assert torch.allclose(found, torch.tensor([[1.0, 0.0]]))


def test_void_votes_for_nothing():
    memory = [reference([[0.0, 0.0], [0.0, 1.0]], [True, True])]
    found = vote(matches([[0, 1], [0, 0]], [[0.9, 0.1], [0.5, 0.5]]), memory, objects=2)
    assert torch.allclose(found, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))


def test_points_are_not_shared_out():
    memory = [reference([[1.0, 0.6, 0.9]], [True, True, True])]
    found = vote(matches([[0]], [[1.0]]), memory, objects=1)
    assert torch.allclose(found, torch.tensor([[1.0, 0.6, 0.9]]))


def test_points_unknown_to_a_reference_are_scaled_up():
    memory = [
        reference([[1.0, 0.0]], [True, False]),
        reference([[1.0, 0.8]], [True, True]),
    ]
    found = vote(matches([[0, 1]], [[0.5, 0.5]]), memory, objects=1)
    assert torch.allclose(found, torch.tensor([[1.0, 0.8]]))
