"""Named random streams.

A stream is chosen by what it is for, never by what was drawn before it: the same words give the same numbers on every
machine and in any order. Python's ``hash`` is salted per process and numpy's global generator has a past, so neither
is used.
"""

import hashlib

import numpy as np


def stream(*words: int | str) -> np.random.Generator:
    """Open the random stream that these words name."""
    # The unit separator cannot be confused with a digit, so ("a", 12) and ("a", 1, 2) are different streams.
    name = "\x1f".join(f"{type(word).__name__}:{word}" for word in words)
    digest = hashlib.blake2b(name.encode(), digest_size=16, person=b"steel_line").digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
