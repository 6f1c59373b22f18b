"""Checkpoints: where a training stands, on disk, so that a killed one goes on to the very same weights.

A checkpoint is a safetensors file and a JSON manifest, written last, that names its hash. The two newest stay: the
older goes only after the newer is durable, and serves when the newer turns out damaged. Each training has a folder of
its own, named by what it learns from, so a training with other labels or settings neither takes nor deletes them.
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from torch import Tensor

from shared.errors import ConfigError, InputError, ReleaseError
from shared.files import read_bounded, write_durably
from shared.identity import sha256_hex
from shared.release import verify
from trainer.learning.weights import pack, unpack

#: How many checkpoints of a training stay.
KEPT: Final = 2
_MANIFEST_LIMIT: Final = 1 << 20
#: Weights, two moments of each, and the best weights so far.
_STATE_LIMIT: Final = 16 << 30


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where a training's checkpoints stand and every how many steps one is written."""

    folder: Path
    every: int

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"checkpoints: one every {self.every} steps; expected at least 1")

    def clear(self) -> None:
        """Delete all checkpoints of the folder; for when the run itself is kept."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Judgement(Struct, frozen=True, kw_only=True):
    """How good weights were on labels that were not learned from; None where no label says so."""

    miou: float | None
    #: IoU by class.
    per_class: tuple[float | None, ...]
    #: The expected calibration error.
    ece: float | None


class Manifest(Struct, frozen=True, kw_only=True):
    """What a checkpoint is; ``sha256`` is that of the file beside it."""

    step: int
    #: The hash of all that decides the training: settings, seed, samples, first weights.
    training: str = ""
    sha256: str = ""
    #: The hash of the manifest without it: a changed number would go unseen.
    seal: str = ""
    seconds: float = 0.0
    skipped: int = 0
    best_score: float | None = None
    best_step: int = 0
    #: Steps, and what was found at each.
    judged: tuple[tuple[int, Judgement], ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The newest good checkpoint, and what was set aside on the way to it."""

    manifest: Manifest | None
    tensors: dict[str, Tensor]
    damaged: tuple[str, ...]


class CheckpointFolder:
    """The checkpoints of one training."""

    def __init__(self, checkpoints: Checkpoints, *, training: str) -> None:
        self.path = checkpoints.folder / training[:16]
        self._training = training

    def write(self, manifest: Manifest, tensors: dict[str, Tensor]) -> None:
        """Write a checkpoint durably, then delete those it makes superfluous."""
        data = pack(tensors)
        manifest = msgspec.structs.replace(manifest, training=self._training, sha256=sha256_hex(data))
        manifest = msgspec.structs.replace(manifest, seal=_seal(manifest))
        name = f"step-{manifest.step:08d}"
        try:
            write_durably(self.path / f"{name}.safetensors", data)
            write_durably(self.path / f"{name}.json", msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
            self._drop_older()
        except OSError as error:
            kept = self._steps()
            raise InputError(
                f"checkpoint {self.path / name}: {error.strerror}; training ends, the checkpoint of step {kept[-1] if kept else 0} stays: make room and start again"
            ) from None

    def newest(self) -> Found:
        """Read the newest checkpoint that is whole; a damaged one is set aside and the one before it is taken."""
        damaged: list[str] = []
        for step in reversed(self._steps()):
            name = self.path / f"step-{step:08d}"
            try:
                manifest = self._manifest(name.with_suffix(".json"))
                path = name.with_suffix(".safetensors")
                data = verify(read_bounded(path, limit=_STATE_LIMIT), sha256=manifest.sha256, what=str(path))
                return Found(manifest, unpack(data, what=str(path)), tuple(damaged))
            except (InputError, ReleaseError) as error:
                for suffix in (".json", ".safetensors"):
                    file = name.with_suffix(suffix)
                    if file.exists():
                        file.replace(file.with_name(f"{file.name}.damaged"))
                damaged.append(f"{error}; {name.name} is set aside as {name.name}.*.damaged")
        return Found(None, {}, tuple(damaged))

    def _manifest(self, path: Path) -> Manifest:
        try:
            manifest = msgspec.json.decode(read_bounded(path, limit=_MANIFEST_LIMIT), type=Manifest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: {error}") from None
        seal = _seal(manifest)
        if manifest.seal != seal or manifest.training != self._training:
            raise InputError(
                f"{path}: seal {manifest.seal[:12]}… of training {manifest.training[:12]}…, expected {seal[:12]}… of {self._training[:12]}…; it is not used"
            )
        return manifest

    def _steps(self) -> list[int]:
        """Return the steps of all checkpoints whose manifest was written."""
        return sorted(int(file.stem.removeprefix("step-")) for file in self.path.glob("step-" + 8 * "[0-9]" + ".json"))

    def _drop_older(self) -> None:
        keep = {f"step-{step:08d}" for step in self._steps()[-KEPT:]}
        # Manifests first: what is killed in between leaves weights without one, which count for nothing.
        for suffix in (".json", ".safetensors"):
            for file in self.path.glob(f"step-*{suffix}"):
                if file.stem not in keep:
                    file.unlink(missing_ok=True)


def _seal(manifest: Manifest) -> str:
    return sha256_hex(msgspec.json.encode(msgspec.structs.replace(manifest, seal="")))


def fingerprint(*parts: bytes | memoryview) -> str:
    """Hash what decides a training, each part by itself so that none can stand for another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()
