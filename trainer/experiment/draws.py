"""The chance of a study: every generator follows from the seed, what it is for and the round, and from nothing else."""

import numpy as np

from shared.identity import sha256_hex


def rng_of(seed: int, what: str, number: int) -> np.random.Generator:
    """Return the generator for one purpose (an arm's name, the start) in one round."""
    return np.random.default_rng(_sequence(seed, what, number))


def fit_seed(seed: int, number: int) -> int:
    """Return what a training of a round starts from: the same for all arms, so that they share its noise."""
    return int(_sequence(seed, "fit", number).generate_state(1)[0])


def member_seeds(seed: int, members: int) -> tuple[int, ...]:
    """Return what each of a round's models starts from; a single one starts from the round's own seed."""
    if members == 1:
        return (seed,)
    return tuple(int(np.random.SeedSequence([seed, member]).generate_state(1)[0]) for member in range(members))


def space_seed(seed: int) -> int:
    """Return what the embeddings of a seed are learned from: no training of a round shares its noise."""
    return int(_sequence(seed, "space", 0).generate_state(1)[0])


def random_start(seed: int, *, count: int, first: int) -> tuple[int, ...]:
    """Draw the start set that all arms share, by lot."""
    return tuple(rng_of(seed, "start", 0).permutation(count)[:first].tolist())


def _sequence(seed: int, what: str, number: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, int(sha256_hex(what.encode())[:16], 16), number])
