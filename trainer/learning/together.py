"""Several processes at one training: the first is told what to learn, the others are sent it and learn along.

A command that trains is started once per process by torchrun and wrapped in :func:`crewed`; nothing else changes. The
others need neither the site's files nor the pool: weights, crops and masks are sent to them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from shared.config import LearningTable
from shared.errors import StateError
from shared.geometry import Image
from trainer.learning.checkpoints import Judgement
from trainer.learning.crew import Crew, gathered, here
from trainer.learning.heads import HeadedNetwork
from trainer.learning.judging import Judging
from trainer.learning.loop import train
from trainer.learning.model import TaskModel, build_model
from trainer.learning.weights import from_bytes, to_bytes


class Lesson(Struct, frozen=True, kw_only=True):
    """What is sent ahead of weights, crops and masks."""

    settings: LearningTable
    classes: int
    channels: int
    seed: int
    heads: int
    beta: float
    #: Of the crops.
    shape: tuple[int, int, int, int]
    #: Every how many steps the first process judges, and with what patience; None never.
    judged: tuple[int, int] | None


@contextmanager
def crewed() -> Iterator[bool]:
    """Gather the processes that torchrun started, and say whether this one leads: only then it goes on.

    The others learn along in here until the leader is done. Without torchrun a process leads itself.
    """
    with gathered() as crew:
        if not crew.leads:
            try:
                _learn_along(crew)
            except RuntimeError as error:
                # What the leader met stands in its own words.
                raise StateError(
                    f"torchrun: process {crew.rank}: {str(error).splitlines()[0][:200]}; the training ends, see what process 0 said"
                ) from None
            yield False
            return
        yield True
        crew.send(b"")


def tell_lesson(
    model: TaskModel,
    crops: Image,
    masks: NDArray[np.uint8],
    settings: LearningTable,
    *,
    seed: int,
    judging: Judging | None,
) -> None:
    """Send the others what they learn; where there are none, nothing happens."""
    crew = here()
    if crew.size == 1:
        return
    network = model.network
    lesson = Lesson(
        settings=settings,
        classes=model.classes,
        channels=model.channels,
        seed=seed,
        heads=len(network.heads) if isinstance(network, HeadedNetwork) else 0,
        beta=network.beta if isinstance(network, HeadedNetwork) else 0.0,
        shape=(crops.shape[0], crops.shape[1], crops.shape[2], crops.shape[3]),
        judged=None if judging is None else (judging.every, judging.patience),
    )
    crew.send(msgspec.json.encode(lesson))
    crew.send(to_bytes(model))
    crew.send_array(np.ascontiguousarray(crops))
    crew.send_array(np.ascontiguousarray(masks))


def _learn_along(crew: Crew) -> None:
    """Learn what the leader says, lesson after lesson; what was learned stays with the leader."""
    while said := crew.send(b""):
        lesson = msgspec.json.decode(said, type=Lesson)
        model = build_model(
            lesson.settings,
            classes=lesson.classes,
            channels=lesson.channels,
            seed=lesson.seed,
            heads=lesson.heads,
            beta=lesson.beta,
        )
        from_bytes(model, crew.send(b""), what="weights of the leader")
        crops = crew.send_array(np.empty(lesson.shape, dtype=np.uint8))
        masks = crew.send_array(np.empty(lesson.shape[:3], dtype=np.uint8))
        train(
            model,
            crops,
            masks,
            lesson.settings,
            classes=lesson.classes,
            seed=lesson.seed,
            step=lambda _done, _total: None,
            judging=None if lesson.judged is None else Judging(_unheard, *lesson.judged),
        )


def _unheard(model: TaskModel) -> Judgement:
    raise AssertionError(f"{model}: only the leader judges")
