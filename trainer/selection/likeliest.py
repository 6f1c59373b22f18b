"""Of several draws the likeliest: a batch between a fair draw and the mode.

A draw of a k-DPP is far from the batch with the largest determinant: most batches are middling, so most draws are. The
likeliest of ``m`` has ``P(S) = F(S)^m - F(before S)^m``, where ``F`` adds up the law over batches by their volume.
"""

import numpy as np
import scipy.linalg

from trainer.selection.kernels.kernel import Kernel
from trainer.selection.numbers import Ints
from trainer.selection.pinned import one_thread
from trainer.selection.samplers.conditioning import nearest_known
from trainer.selection.samplers.dense import DENSE_LIMIT
from trainer.selection.samplers.law import Law


def draw_likeliest(law: Law, kernel: Kernel, draws: int, rng: np.random.Generator) -> Ints:
    """Draw so many batches and keep the one with the largest volume under the kernel; the first of several."""
    batches = [law.draw(rng) for _ in range(draws)]
    if draws == 1:
        return batches[0]
    known, _ = nearest_known(kernel, most=DENSE_LIMIT)
    with one_thread():
        volumes = [log_volume(kernel, batch, known) for batch in batches]
    return batches[int(np.argmax(volumes))]


def log_volume(kernel: Kernel, batch: Ints, known: Ints) -> float:
    """Return ``log det`` of a batch's kernel given the labelled patches ``known``; minus infinity where it is flat."""
    matrix = kernel.among(batch)
    if len(known):
        explained = kernel.explained(batch, known)
        matrix -= explained @ explained.T
    try:
        factor = scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        return -np.inf
    return 2.0 * float(np.log(np.diag(factor)).sum())
