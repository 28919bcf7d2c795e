"""How fast a run learns, step by step."""

import math

from liir.presets import TrainingConfig


def learning_rate(step: int, steps: int | None, config: TrainingConfig) -> float:
    """Linear warm-up, then a cosine to zero (Loshchilov and Hutter, 2017).

    Args:
        step: Steps done.
        steps: Steps in all; None means: not yet known, still warming up or at the peak.
        config: Peak and warm-up.

    Returns:
        The rate of the next step.
    """
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if steps is None or steps <= config.warmup:
        return config.learning_rate
    done = min(1.0, (step - config.warmup) / (steps - config.warmup))
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
