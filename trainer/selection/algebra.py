"""The few dense operations that dominate a draw, behind one seam: numpy on a processor, torch on a GPU.

Both work in double precision, so that which of them ran changes a law by rounding only.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import numpy as np

from trainer.selection.numbers import Floats, Vectors
from trainer.selection.pinned import one_thread

#: Eigenvalues ascending, ``(m,)``, and their eigenvectors in columns, ``(m, m)``.
Spectrum: TypeAlias = tuple[Floats, Floats]

#: The driver of the only GPUs that torch is built for here.
_DRIVER: Final = Path("/proc/driver/nvidia/version")


class Algebra(Protocol):
    """Where matrices are taken apart and multiplied; every answer is a double-precision array in memory."""

    @property
    def name(self) -> str:
        """What to call it in a note."""

    @property
    def at_once(self) -> int:
        """How many small matrices it likes to be given together."""

    def eigh(self, matrices: Sequence[Floats]) -> list[Spectrum]:
        """Take symmetric matrices apart, whatever the size of each."""

    def gram(self, parts: Iterable[Floats | Vectors]) -> Floats:
        """Return ``sum of P^T P``, ``(c, c)``, over parts ``(r, c)`` of at least one tall matrix; scale rows to weigh them."""

    def product(self, left: Floats | Vectors, right: Floats | Vectors) -> Floats:
        """Return ``left @ right``."""


class NumpyAlgebra:
    """One thread of the processor, so that the same matrices always give the same answer."""

    name = "numpy"
    at_once = 1

    def eigh(self, matrices: Sequence[Floats]) -> list[Spectrum]:
        with one_thread():
            # Numpy's call lets other threads run meanwhile, scipy's does not; both reach the same LAPACK routine.
            return [_numpy_spectrum(matrix) for matrix in matrices]

    def gram(self, parts: Iterable[Floats | Vectors]) -> Floats:
        total: Floats | None = None
        with one_thread():
            for part in parts:
                exact = part.astype(np.float64, copy=False)
                # A product with its own transpose costs half of a general one.
                own: Floats = exact.T @ exact
                total = own if total is None else np.add(total, own, out=total)
        assert total is not None
        return total

    def product(self, left: Floats | Vectors, right: Floats | Vectors) -> Floats:
        with one_thread():
            result: Floats = left.astype(np.float64, copy=False) @ right.astype(np.float64, copy=False)
        return result


def best_algebra() -> Algebra:
    """Return torch on a GPU where there is one, else numpy; without a driver torch is not even imported."""
    if "torch" not in sys.modules and not _DRIVER.exists():
        return NumpyAlgebra()
    import torch  # noqa: PLC0415  # takes seconds to import, a selection without a GPU must not pay them

    if not torch.cuda.is_available():
        return NumpyAlgebra()
    from trainer.selection.torch_algebra import TorchAlgebra  # noqa: PLC0415  # as above

    return TorchAlgebra("cuda")


def _numpy_spectrum(matrix: Floats) -> Spectrum:
    values, vectors = np.linalg.eigh(matrix)
    return values, vectors
