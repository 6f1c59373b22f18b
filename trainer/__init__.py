"""The centre: pool, selection, labelling, learning, release building, web."""

import shared  # noqa: F401  # before any file here imports onnxruntime, which it silences
