"""Where a training stands between two steps, as named tensors and a manifest: all that its later steps depend on."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer.learning.checkpoints import Judgement, Manifest
from trainer.learning.data import Order
from trainer.learning.model import TaskModel
from trainer.learning.weights import fill


@dataclass(slots=True)
class Best:
    """The best weights so far by the score they were judged with."""

    score: float
    step: int
    weights: dict[str, Tensor]


@dataclass(slots=True)
class Training:
    """A training between two steps."""

    model: TaskModel
    optimizer: torch.optim.Optimizer
    order: Order
    #: Room for the loss of every step. A tensor for each would stay between the large ones that come and go, and no hole
    #: would fit again: a process grew by megabytes a step.
    room: Tensor
    done: int = 0
    #: Minibatches without a label.
    skipped: int = 0
    seconds: float = 0.0
    #: The step of each loss; a step that is skipped has none.
    steps: list[int] = field(default_factory=list)
    judged: list[tuple[int, Judgement]] = field(default_factory=list)
    best: Best | None = None

    @property
    def losses(self) -> Tensor:
        """The losses so far, on the device."""
        return self.room[: len(self.steps)]

    def tell(self, loss: Tensor) -> None:
        """Note the loss of the step that was taken, without waiting for the device."""
        self.room[len(self.steps)] = loss.detach()
        self.steps.append(self.done)

    def tensors(self) -> dict[str, Tensor]:
        """Name every tensor that later steps depend on."""
        device = next(self.model.parameters()).device
        found = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        found |= {f"optimizer.{index}.{name}": value for index, name, value in self._moments()}
        found["order"] = self.order.left
        found["generator"] = self.order.generator.get_state()
        # Dropout draws from torch's own generator.
        found["torch"] = torch.get_rng_state()
        if device.type == "cuda":
            found["cuda"] = torch.cuda.get_rng_state(device)
        found["losses"] = self.losses
        found["steps"] = torch.tensor(self.steps, dtype=torch.int32)
        if self.best is not None:
            found |= {f"best.{name}": value for name, value in self.best.weights.items()}
        return found

    def manifest(self) -> Manifest:
        """Say what a checkpoint of this state is."""
        best = self.best
        return Manifest(
            step=self.done,
            seconds=self.seconds,
            skipped=self.skipped,
            best_score=None if best is None else best.score,
            best_step=0 if best is None else best.step,
            judged=tuple(self.judged),
        )

    def restore(self, manifest: Manifest, tensors: dict[str, Tensor]) -> None:
        """Stand where a checkpoint of the same training stood."""
        device = next(self.model.parameters()).device
        fill(self.model, _under(tensors, "model."), what=f"checkpoint of step {manifest.step}")
        self._restore_moments(_under(tensors, "optimizer."))
        self.order.left = tensors["order"]
        self.order.generator.set_state(tensors["generator"])
        torch.set_rng_state(tensors["torch"])
        if "cuda" in tensors and device.type == "cuda":
            torch.cuda.set_rng_state(tensors["cuda"], device)
        self.steps = tensors["steps"].tolist()
        self.room[: len(self.steps)] = tensors["losses"].to(device)
        self.judged = list(manifest.judged)
        self.done, self.skipped, self.seconds = manifest.step, manifest.skipped, manifest.seconds
        if manifest.best_score is not None:
            self.best = Best(manifest.best_score, manifest.best_step, _under(tensors, "best."))

    def _moments(self) -> Iterator[tuple[int, str, Tensor]]:
        for index, moments in self.optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                yield index, name, value

    def _restore_moments(self, saved: dict[str, Tensor]) -> None:
        parameters = [each for group in self.optimizer.param_groups for each in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in saved.items():
            number, name = key.split(".", maxsplit=1)
            index = int(number)
            like = parameters[index]
            if value.shape == like.shape:
                # In the memory layout of its parameter: another one takes other paths through the CPU, to other last bits.
                value = torch.empty_like(like, dtype=value.dtype).copy_(value)  # noqa: PLW2901  # the same value
            state.setdefault(index, {})[name] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})


def copied(model: TaskModel) -> dict[str, Tensor]:
    """Copy a model's weights and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
