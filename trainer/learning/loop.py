"""The training loop: one model, one snapshot, a fixed number of steps at most.

The same seed, model and snapshot give the same weights on the same machine class, also when the training was killed
and went on from a checkpoint. Several processes train one model where torchrun started them; the same holds of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from shared.clock import SystemClock
from shared.config import LearningTable
from shared.console import Step
from shared.geometry import Image
from trainer.learning.checkpoints import CheckpointFolder, Checkpoints, Found, Judgement, Manifest, fingerprint
from trainer.learning.crew import Crew, here
from trainer.learning.guard import CHECK_EVERY, Guard
from trainer.learning.heads import HeadedNetwork
from trainer.learning.judging import Judging
from trainer.learning.log import TrainingLog
from trainer.learning.model import TaskModel, threads
from trainer.learning.samples import Samples
from trainer.learning.state import Training
from trainer.learning.steps import Steps, begin
from trainer.learning.weights import pack, to_bytes, unpack

#: How many points a recorded loss curve has at most.
CURVE_POINTS: Final = 100


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a training did; ``finished`` is False when it was stopped and its weights are of no use."""

    losses: tuple[float, ...]
    seconds: float
    steps: int
    finished: bool
    #: Minibatches without a label; they taught nothing.
    skipped: int = 0
    #: The step of the checkpoint it went on from; 0 from the beginning.
    resumed_from: int = 0
    #: Score and step of the weights that stay, where it could end before its last step.
    best: tuple[float, int] | None = None
    #: Steps, and how good the weights were after each on labels that are not learned from.
    judged: tuple[tuple[int, Judgement], ...] = ()
    #: What a person should know of.
    warnings: tuple[str, ...] = ()


def train(
    model: TaskModel,
    crops: Image,
    masks: NDArray[np.uint8],
    settings: LearningTable,
    *,
    classes: int,
    seed: int,
    step: Step,
    stop: Callable[[], bool] | None = None,
    checkpoints: Checkpoints | None = None,
    judging: Judging | None = None,
    log: Path | None = None,
) -> TrainReport:
    """Train a model in place, from the weights it has.

    Args:
        model: Moved to the device it learns on.
        crops: ``(n, h, w, c)``.
        masks: ``(n, h, w)``, 255 where nothing is supervised.
        settings: Steps, minibatch, learning rate, threads.
        classes: How many.
        seed: Of the order and variation of samples.
        step: Told the progress.
        stop: Asked every few steps; True ends the training unfinished.
        checkpoints: Where to write down how it stands, and to go on from if the same training was broken off.
        judging: Tells how good the weights are on the way; with a patience it ends the training, and the best ones stay.
        log: Where its log is written.
    """
    samples = Samples(crops, masks, classes=classes)
    crew = here()
    with threads(settings.threads), _deterministic(seed):
        training = begin(model, samples, settings, seed=seed)
        folder = (
            None
            if checkpoints is None
            else _folder(checkpoints, training, samples, settings, seed=seed, judging=judging, crew=crew)
        )
        damaged = _resume(training, folder, crew)
        resumed_from = training.done
        run = _Run(
            training,
            settings,
            Steps(training, samples, settings, crew),
            crew,
            Guard(training, learning_rate=settings.learning_rate),
            TrainingLog(log, settings),
            folder,
            checkpoints.every if checkpoints is not None else 0,
            judging,
        )
        finished = run.to_its_end(step, stop)
        model.eval()
    return TrainReport(
        _curve(training.losses),
        training.seconds,
        training.done,
        finished,
        skipped=training.skipped,
        resumed_from=resumed_from,
        best=None if training.best is None else (training.best.score, training.best.step),
        judged=tuple(training.judged),
        warnings=(*samples.unseen, *damaged, *_skipped(training), *run.log.warnings),
    )


@dataclass(slots=True)
class _Run:
    """What the steps of one training work with."""

    training: Training
    settings: LearningTable
    steps: Steps
    crew: Crew
    guard: Guard
    log: TrainingLog
    folder: CheckpointFolder | None
    every: int
    judging: Judging | None

    def to_its_end(self, step: Step, stop: Callable[[], bool] | None) -> bool:
        """Take all steps that are left, and say whether it was not stopped."""
        training, steps, clock = self.training, self.settings.steps, SystemClock()
        began = clock.monotonic() - training.seconds
        while training.done < steps:
            if training.done % CHECK_EVERY == 0:
                self.guard.look()
                if self.crew.agree(word=stop is not None and stop()):
                    self._keep()
                    return False
            self.steps.take()
            step(training.done, steps)
            training.seconds = clock.monotonic() - began
            if not self._goes_on():
                break
            if self.every and training.done % self.every == 0:
                self._keep()
        self.guard.look()
        if training.best is not None:
            training.model.load_state_dict(training.best.weights)
        self.log.write(training)
        training.seconds = clock.monotonic() - began
        return True

    def _goes_on(self) -> bool:
        """Judge the weights where it is their turn; the leader says whether training goes on."""
        training = self.training
        if self.judging is None or not self.judging.due(training.done, steps=self.settings.steps):
            return True
        self.guard.look()
        goes_on = self.crew.agree(word=self.crew.leads and self.judging.goes_on(training))
        self.log.write(training)
        return goes_on

    def _keep(self) -> None:
        """Write down where the training stands."""
        if self.folder is not None:
            self.guard.look()
            self.folder.write(self.training.manifest(), self.training.tensors())


def _folder(
    checkpoints: Checkpoints,
    training: Training,
    samples: Samples,
    settings: LearningTable,
    *,
    seed: int,
    judging: Judging | None,
    crew: Crew,
) -> CheckpointFolder:
    """Name a training's folder by all that decides its weights: the checkpoint of any other is none of its own."""
    network = training.model.network
    beta = network.beta if isinstance(network, HeadedNetwork) else 0.0
    judged: tuple[int | str, ...] = (0, 0)
    if judging is not None and judging.patience:
        judged = (judging.every, judging.patience, judging.labels)
    device = str(next(training.model.parameters()).device)
    said = msgspec.json.encode(
        [settings, seed, beta, judged, device, crew.size, samples.crops.shape, samples.masks.shape]
    )
    each = (
        np.ascontiguousarray(array).data for pair in zip(samples.crops, samples.masks, strict=True) for array in pair
    )
    return CheckpointFolder(checkpoints, training=fingerprint(said, to_bytes(training.model), *each))


def _resume(training: Training, folder: CheckpointFolder | None, crew: Crew) -> tuple[str, ...]:
    """Go on from the newest good checkpoint of the leader, if there is one, and say which were damaged."""
    found = Found(None, {}, ()) if folder is None else folder.newest()
    manifest, tensors = found.manifest, found.tensors
    if crew.size > 1 and (said := crew.send(b"" if manifest is None else msgspec.json.encode(manifest))):
        manifest = msgspec.json.decode(said, type=Manifest)
        tensors = unpack(crew.send(pack(tensors)), what="checkpoint of the leader")
    if manifest is not None:
        training.restore(manifest, tensors)
    return tuple(f"{text}; training went on from step {training.done}" for text in found.damaged)


def _skipped(training: Training) -> tuple[str, ...]:
    if not training.skipped:
        return ()
    return (f"training: {training.skipped} of {training.done} minibatches held no label and were skipped",)


def _curve(losses: torch.Tensor) -> tuple[float, ...]:
    if not len(losses):
        return ()
    values = losses.cpu().numpy()
    return tuple(float(part.mean()) for part in np.array_split(values, min(CURVE_POINTS, len(values))))


class _deterministic:  # noqa: N801  # reads as a with-statement
    """Fix what torch draws by itself (dropout) inside, and leave the process's generator as it was."""

    def __init__(self, seed: int) -> None:
        self._fork = torch.random.fork_rng(devices=[])
        self._seed = seed

    def __enter__(self) -> None:
        self._fork.__enter__()
        torch.manual_seed(self._seed)

    def __exit__(self, *error: object) -> None:
        self._fork.__exit__(None, None, None)
