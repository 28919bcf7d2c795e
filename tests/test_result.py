"""What is left of shares when some labels are left out."""

import torch

from liir.result import without


def test_the_others_share_what_is_left():
    scores = torch.tensor([[0.2, 0.0], [0.6, 1.0], [0.2, 0.0]])[:, None]
    left = without(scores, [1])
    assert torch.allclose(left[:, 0], torch.tensor([[0.5, 1.0], [0.0, 0.0], [0.5, 0.0]]))
    assert torch.allclose(without(scores, []), scores)
