"""Weights on disk: safetensors and a JSON record beside them, no pickle. The one door to safetensors.

The record is written last and names the hash of the weights: a folder without it is no run, and weights that do
not match it are refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import safetensors
import safetensors.torch
import torch
from msgspec import Struct
from torch import Tensor, nn

from shared.config import LearningTable
from shared.errors import InputError, ReleaseError
from shared.files import read_bounded, write_durably
from shared.identity import sha256_hex
from shared.release import MAX_FILE_BYTES, verify
from trainer.learning.calibration import Calibration
from trainer.learning.model import TaskModel, build_model

WEIGHTS_NAME: Final = "weights.safetensors"
RECORD_NAME: Final = "run.json"
_RECORD_LIMIT: Final = 16 << 20


class RunRecord(Struct, frozen=True, kw_only=True):
    """What one training was: enough to build its model again and to say where it came from."""

    run: str
    line: str
    round: int
    snapshot: str
    samples: int
    seed: int
    classes: tuple[str, ...]
    channels: int
    learning: LearningTable
    losses: tuple[float, ...] = ()
    seconds: float = 0.0
    #: The run whose weights training began with.
    started_from: str | None = None
    #: Light heads over one trunk, 0 for a network with its own, and the weight of their regulariser.
    heads: int = 0
    beta: float = 0.0
    #: What the logits are divided by, and how that was found on the reference set; None where it held no label.
    temperature: float = 1.0
    calibration: Calibration | None = None
    #: The snapshot of the reference set that it was judged and calibrated on; empty in records from before it was kept.
    reference: str = ""
    #: The step that the weights are of, and how many were taken; the log beside the record holds the curves.
    step: int = 0
    steps: int = 0
    weights_sha256: str = ""


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Write named tensors, from whatever device they are on."""
    # A view would drag its whole storage along, and two names may not share one.
    data: bytes = safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    return data


def unpack(data: bytes, *, what: str) -> dict[str, Tensor]:
    """Read named tensors, on the CPU."""
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise ReleaseError(f"{what}: not safetensors: {str(error)[:120]}; the weights are not used") from None
    return tensors


def to_bytes(module: nn.Module) -> bytes:
    """Write a module's weights and buffers."""
    return pack(module.state_dict())


def from_bytes(module: nn.Module, data: bytes, *, what: str) -> None:
    """Fill a module with weights that fit it exactly."""
    fill(module, unpack(data, what=what), what=what)


def fill(module: nn.Module, state: Mapping[str, Tensor], *, what: str) -> None:
    """Fill a module with tensors that fit it exactly."""
    wanted = {name: (value.shape, value.dtype) for name, value in module.state_dict().items()}
    found = {name: (value.shape, value.dtype) for name, value in state.items()}
    # torch would fill what fits before it complains of the rest.
    if wrong := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        raise ReleaseError(
            f"{what}: {len(wrong)} of {len(wanted)} weights differ in name or shape, the first is {wrong[0]}; the weights do not fit this model"
        )
    module.load_state_dict(dict(state))


def save_run(directory: Path, model: TaskModel, record: RunRecord) -> RunRecord:
    """Write a run's folder durably, the record last, and return the record with the weights' hash."""
    data = to_bytes(model)
    record = msgspec.structs.replace(record, weights_sha256=sha256_hex(data))
    write_durably(directory / WEIGHTS_NAME, data)
    write_durably(directory / RECORD_NAME, msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    return record


def has_run(directory: Path) -> bool:
    """Say whether a run is complete."""
    return (directory / RECORD_NAME).is_file()


def read_record(directory: Path) -> RunRecord:
    """Read a run's record."""
    path = directory / RECORD_NAME
    data = read_bounded(path, limit=_RECORD_LIMIT)
    try:
        return msgspec.json.decode(data, type=RunRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; the run cannot be used") from None


def load_run(directory: Path) -> tuple[TaskModel, RunRecord]:
    """Build a run's model, on the CPU and ready to predict."""
    record = read_record(directory)
    path = directory / WEIGHTS_NAME
    data = verify(read_bounded(path, limit=MAX_FILE_BYTES), sha256=record.weights_sha256, what=str(path))
    model = build_model(
        record.learning,
        classes=len(record.classes),
        channels=record.channels,
        seed=record.seed,
        heads=record.heads,
        beta=record.beta,
    )
    model.temperature = record.temperature
    from_bytes(model, data, what=str(path))
    return model.eval(), record


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Start ``target`` from ``source``; both must be built alike."""
    with torch.no_grad():
        target.load_state_dict(source.state_dict())
