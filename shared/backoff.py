"""How long to wait before the next try."""

import random


def backoff_s(tries: int, rng: random.Random, *, first_s: float, most_s: float) -> float:
    """Double the wait with every try up to ``most_s``, a quarter more or less.

    Without the chance in it, nodes that lost the same broker would all come back in the same second.
    """
    # The exponent is bounded because a float is.
    wait = min(most_s, first_s * 2.0 ** min(max(tries - 1, 0), 32))
    return wait * rng.uniform(0.75, 1.25)
