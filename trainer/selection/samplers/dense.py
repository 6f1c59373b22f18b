"""The exact k-DPP of a dense kernel: ``P(S) = det(L_S) / sum over |T| = k of det(L_T)``.

One eigendecomposition, then as many draws as wanted. Eigenvectors are chosen by the law of independent coins given
their sum; the coins are tilted so that the sum is ``k`` on average, which changes nothing in that law and keeps all
numbers near one, whatever the scale of the kernel. Then the projection they span is drawn from item by item.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.linalg
from scipy.special import expit

from shared.errors import StateError
from trainer.selection.kernels import Floats, Ints
from trainer.selection.pinned import one_thread


@dataclass(frozen=True, slots=True)
class DenseKdpp:
    """A kernel taken apart: ``values (r,)`` above zero and their ``vectors (n, r)``."""

    values: Floats
    vectors: Floats

    @classmethod
    def of(cls, kernel: Floats) -> Self:
        """Take a symmetric positive semi-definite ``(n, n)`` kernel apart; the kernel's memory is used up."""
        with one_thread():
            values, vectors = scipy.linalg.eigh(kernel, overwrite_a=True, check_finite=False, driver="evd")
        real = values > len(values) * np.finfo(np.float64).eps * max(float(values[-1]), 0.0)
        return cls(values[real], vectors[:, real])

    @property
    def rank(self) -> int:
        """The most items that one draw can hold."""
        return len(self.values)

    def sized(self, k: int) -> "SizedKdpp":
        """Fix how many items each draw holds."""
        if not 1 <= k <= self.rank:
            raise StateError(
                f"k-DPP: a batch of {k} from a kernel of rank {self.rank}; the patches cannot be told apart, ask for fewer"
            )
        coins = _coins(self.values, k)
        return SizedKdpp(self.vectors, coins, _sums(coins, k), k)


@dataclass(frozen=True, slots=True)
class SizedKdpp:
    """The law of draws of ``k`` items: tilted coins ``(r,)`` and the table of their sums ``(r + 1, k + 1)``."""

    vectors: Floats
    coins: Floats
    sums: Floats
    k: int

    def draw(self, rng: np.random.Generator) -> Ints:
        """Draw ``k`` items, in the order they were drawn."""
        with one_thread():
            return _draw_projection(self.vectors[:, self._draw_coins(rng)], rng)

    def inclusion(self) -> Floats:
        """Return each item's probability to be drawn, ``(n,)``; they sum to ``k``."""
        with one_thread():
            return np.clip(self.vectors**2 @ self._coin_marginals(), 0.0, 1.0)

    def _draw_coins(self, rng: np.random.Generator) -> Ints:
        """Throw the coins given that ``k`` of them show heads, and return which."""
        luck = rng.random(len(self.coins))
        chosen = []
        left = self.k
        for index in range(len(self.coins) - 1, -1, -1):
            if left == 0:
                break
            if luck[index] * self.sums[index + 1, left] < self.coins[index] * self.sums[index, left - 1]:
                chosen.append(index)
                left -= 1
        return np.array(chosen, dtype=np.intp)

    def _coin_marginals(self) -> Floats:
        """Return each coin's probability of heads given that ``k`` show heads, ``(r,)``."""
        # P(the coins after this one show j heads), for the coin at hand.
        after = np.zeros(self.k + 1)
        after[0] = 1.0
        marginals = np.empty(len(self.coins))
        for index in range(len(self.coins) - 1, -1, -1):
            coin = self.coins[index]
            marginals[index] = coin * (self.sums[index, : self.k] @ after[: self.k][::-1])
            shifted = after * (1.0 - coin)
            shifted[1:] += after[:-1] * coin
            after = shifted
        marginals /= self.sums[-1, self.k]
        return marginals


def _coins(values: Floats, k: int) -> Floats:
    """Tilt the values into probabilities ``z v / (1 + z v)`` that sum to ``k``."""
    if k == len(values):
        return np.ones(k)
    logs = np.log(values)
    low, high = -logs.max() - 50.0, -logs.min() + 50.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(logs + middle).sum() < k else (low, middle)
    probabilities: Floats = expit(logs + (low + high) / 2)
    return probabilities


def _sums(coins: Floats, k: int) -> Floats:
    """Tabulate ``P(the first i coins show j heads)``, ``(r + 1, k + 1)``."""
    table = np.zeros((len(coins) + 1, k + 1))
    table[0, 0] = 1.0
    for index, heads in enumerate(coins):
        table[index + 1] = table[index] * (1.0 - heads)
        table[index + 1, 1:] += table[index, :-1] * heads
    return table


def _draw_projection(basis: Floats, rng: np.random.Generator) -> Ints:
    """Draw from the projection that an orthonormal ``(n, k)`` basis spans: always exactly ``k`` items."""
    n, k = basis.shape
    drawn = np.empty(k, dtype=np.intp)
    directions = np.empty((n, k))
    left = np.einsum("ij,ij->i", basis, basis)
    for turn in range(k):
        left[drawn[:turn]] = 0.0
        np.clip(left, 0.0, None, out=left)
        cumulative = np.cumsum(left)
        item = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        drawn[turn] = item
        direction = basis @ basis[item] - directions[:, :turn] @ directions[item, :turn]
        direction /= np.sqrt(left[item])
        directions[:, turn] = direction
        left -= direction**2
    return drawn
