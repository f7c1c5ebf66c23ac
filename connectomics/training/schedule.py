"""The learning rate as a function of progress, and progress as the larger share of steps or minutes."""

import math


def progress(step: int, steps: int, minutes: float, max_minutes: float | None) -> float:
    """How much of the run is done, 0 to 1: by steps, or by time where that is further on.

    Examples
    --------
    >>> progress(10, 100, 3.0, None), progress(10, 100, 3.0, 6.0)
    (0.1, 0.5)
    """
    done = step / steps
    if max_minutes is not None:
        done = max(done, minutes / max_minutes)
    return min(1.0, done)


def rate(done: float, warmup: float) -> float:
    """Share of the largest learning rate after `done` (0 to 1) of the run: a rise, then half a cosine.

    Examples
    --------
    >>> rate(0.5, 0.0)
    0.5
    """
    if done < warmup:
        return min(1.0, max(done, 1e-3) / warmup)
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))
