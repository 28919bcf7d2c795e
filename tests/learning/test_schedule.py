"""The learning rate: up, down, without a jump."""

from itertools import pairwise

import pytest

from liir.learning import trainer
from liir.learning.schedule import learning_rate
from liir.presets import TrainingConfig


def test_rate_warms_up_and_falls_to_zero() -> None:
    config = TrainingConfig(warmup=10, learning_rate=0.5)
    rates = [learning_rate(step, 100, config) for step in range(101)]
    assert rates[:10] == pytest.approx([0.05 * (i + 1) for i in range(10)])
    assert rates[10] == 0.5 == max(rates)
    assert rates[55] == pytest.approx(0.25)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert all(a > b >= 0 for a, b in pairwise(rates[10:]))
    assert max(abs(a - b) for a, b in pairwise(rates)) <= 0.05 + 1e-9


def test_rate_does_not_jump_when_the_length_becomes_known() -> None:
    config = TrainingConfig(warmup=50)
    assert config.warmup >= trainer.TIMED_STEPS
    for step in range(51):
        assert learning_rate(step, None, config) == learning_rate(step, 1000, config)
    assert learning_rate(0, 3, TrainingConfig(warmup=0)) == config.learning_rate
    assert learning_rate(50, 50, config) == config.learning_rate  # all of it was warming up
