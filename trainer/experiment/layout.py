"""UMAP: embeddings laid out in the plane. The one door to umap-learn."""

import warnings

import numpy as np
from numpy.typing import NDArray


def flatten(embeddings: NDArray[np.float32], *, seed: int) -> NDArray[np.float32]:
    """Lay ``(n, d)`` unit vectors out as ``(n, 2)``; the same vectors and seed give the same picture."""
    n = len(embeddings)
    if n < 5:
        # Too few for a neighbourhood graph: a row of points says as much.
        return np.stack([np.arange(n), np.zeros(n)], axis=1).astype(np.float32)
    with warnings.catch_warnings():
        # Its numerics are its own affair; ours are checked by what comes out.
        warnings.simplefilter("ignore")
        from umap import UMAP  # noqa: PLC0415  # the import compiles for seconds, and warns

        layout = UMAP(
            n_neighbors=min(15, n - 1),
            min_dist=0.1,
            metric="cosine",
            random_state=seed,
            n_jobs=1,
            init="spectral" if n > 50 else "random",
        ).fit_transform(embeddings)
    return np.asarray(layout, dtype=np.float32)
