"""Of several draws the likeliest: a batch between a fair draw and the mode.

A draw of a k-DPP is far from the batch with the largest determinant: most batches are middling, so most draws are. The
likeliest of ``m`` has ``P(S) = F(S)^m - F(before S)^m``, where ``F`` adds up the law over batches by their volume.
"""

import numpy as np
import scipy.linalg

from trainer.selection.kernels.kernel import Explaining, Kernel
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
        # The labelled are taken apart once, not for every draw.
        explaining = kernel.explaining(known) if len(known) else None
        volumes = [log_volume(kernel, batch, explaining) for batch in batches]
    return batches[int(np.argmax(volumes))]


def log_volume(kernel: Kernel, batch: Ints, explaining: Explaining | None) -> float:
    """Return ``log det`` of a batch's kernel less what labelled patches explain; minus infinity where it is flat."""
    matrix = kernel.among(batch)
    if explaining is not None:
        explained = explaining(batch)
        matrix -= explained @ explained.T
    try:
        factor = scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        return -np.inf
    return 2.0 * float(np.log(np.diag(factor)).sum())
