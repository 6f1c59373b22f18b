"""Parity: an exported graph must say what the torch module says, on real inputs and at every batch size it may meet.

The one door to onnxruntime's sessions in the trainer; its quantizer is ``precision.py``'s.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from shared.errors import ConfigError, ReleaseError
from shared.geometry import Image
from shared.precision import Precision

#: The largest absolute difference allowed, by precision and output. ``above`` counts pixels against a threshold, so a few
#: may fall on either side; ``mask`` is the share of pixels whose class may differ, those where two classes are about
#: equally likely. In float32 both sides compute the same in another order: scores of a trained compact network differed by
#: 1.3e-7.
TOLERANCES: Final[Mapping[Precision, Mapping[str, float]]] = {
    "fp32": {"score": 1e-4, "mean": 1e-4, "above": 5e-3, "mask": 1e-3, "embedding": 1e-4},
    "fp16": {"score": 5e-3, "mean": 5e-3, "above": 1e-2, "mask": 5e-3},
    "int8": {"score": 3e-2, "mean": 3e-2, "above": 5e-2, "mask": 5e-2},
}
_ERRORS: Final = (
    ort.capi.onnxruntime_pybind11_state.Fail,
    ort.capi.onnxruntime_pybind11_state.InvalidArgument,
    ort.capi.onnxruntime_pybind11_state.InvalidGraph,
    ort.capi.onnxruntime_pybind11_state.InvalidProtobuf,
    ort.capi.onnxruntime_pybind11_state.NotImplemented,
    ort.capi.onnxruntime_pybind11_state.RuntimeException,
)
_PROVIDERS: Final[Mapping[str, str]] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

Outputs = dict[str, NDArray[np.generic]]


def run_graph(data: bytes, inputs: Image, *, what: str) -> Outputs:
    """Run a graph on the CPU and return its outputs by name."""
    return open_graph(data, what=what)(inputs)


def open_graph(
    data: bytes, *, what: str, provider: Literal["cpu", "cuda"] = "cpu", threads: int = 0
) -> Callable[[Image], Outputs]:
    """Load a graph, to be run as often as wanted; another provider than the one asked for is refused."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False
    options.intra_op_num_threads = threads
    name = _PROVIDERS[provider]
    if name not in ort.get_available_providers():
        raise ConfigError(
            f'{what}: provider "{provider}" is not in this machine\'s onnxruntime; it has {", ".join(ort.get_available_providers())}'
        )
    try:
        session = ort.InferenceSession(data, options, providers=[name])
    except _ERRORS as error:
        raise _refusal(what, error) from None
    if session.get_providers()[0] != name:
        raise ConfigError(f'{what}: provider "{provider}" was asked for, {session.get_providers()[0]} is what runs')
    source, names = session.get_inputs()[0].name, [output.name for output in session.get_outputs()]

    def run(inputs: Image) -> Outputs:
        try:
            found = session.run(None, {source: np.ascontiguousarray(inputs)})
        except _ERRORS as error:
            raise _refusal(what, error) from None
        return dict(zip(names, found, strict=True))

    return run


def _refusal(what: str, error: Exception) -> ReleaseError:
    return ReleaseError(f"{what}: does not run: {str(error).splitlines()[0][:160]}; it is not released")


def check_parity(
    module: nn.Module, data: bytes, inputs: Image, *, what: str, precision: Precision = "fp32"
) -> dict[str, float]:
    """Compare a module with its graph on ``inputs``, whole and one by one; return the largest difference by output.

    ``rank`` is how the scores of the patches correlate by rank, where they are not all the same. A difference above
    ``TOLERANCES``, or an output that is not finite, is a ``ReleaseError``.
    """
    device = next(module.parameters()).device
    module.to("cpu").eval()
    with torch.inference_mode():
        found = module(torch.from_numpy(inputs))
    module.to(device)
    expected = [value.numpy() for value in (found if isinstance(found, tuple) else (found,))]
    whole = run_graph(data, inputs, what=what)
    single = run_graph(data, inputs[:1], what=what)
    if len(expected) != len(whole):
        raise ReleaseError(f"{what}: {len(whole)} outputs, the module has {len(expected)}; it is not released")
    worst: dict[str, float] = {}
    for (name, value), wanted in zip(whole.items(), expected, strict=True):
        worst[name] = max(
            _difference(name, value, wanted, what=what), _difference(name, single[name], wanted[:1], what=what)
        )
        limit = TOLERANCES[precision][name]
        if not worst[name] <= limit:
            raise ReleaseError(
                f"{what}: {name} differs by {worst[name]:.2g} between torch and onnxruntime, allowed is {limit:.2g}; it is not released"
            )
    if "score" in whole:
        # The module's outputs stand in the order of the graph's.
        worst |= _rank(whole["score"], expected[list(whole).index("score")])
    return worst


def _rank(found: NDArray[np.generic], expected: NDArray[np.generic]) -> dict[str, float]:
    one, two = (values.astype(np.float64).reshape(-1) for values in (found, expected))
    if min(np.unique(one).size, np.unique(two).size) < 3:
        return {}
    return {"rank": float(spearmanr(one, two).statistic)}


def _difference(name: str, value: NDArray[np.generic], wanted: NDArray[np.generic], *, what: str) -> float:
    if value.shape != wanted.shape or value.dtype != wanted.dtype:
        raise ReleaseError(
            f"{what}: {name} is {value.dtype} {value.shape}, expected {wanted.dtype} {wanted.shape}; it is not released"
        )
    if name == "mask":
        return float((value != wanted).mean())
    found, expected = value.astype(np.float64), wanted.astype(np.float64)
    if not (np.isfinite(found).all() and np.isfinite(expected).all()):
        raise ReleaseError(f"{what}: {name} is not finite; it is not released")
    return float(np.abs(found - expected).max(initial=0.0))
