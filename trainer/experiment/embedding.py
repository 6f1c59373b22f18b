"""The embeddings of a segmentation study's units: by SimCLR, by an encoder that learned nothing or the task, or of pixels.

Embeddings are of units without their context, and stay fixed over the rounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.console import Step
from trainer.experiment.learner import Labelled
from trainer.experiment.pictures import padded
from trainer.experiment.pixel_space import pixel_rows
from trainer.experiment.recipe import SpaceSource
from trainer.experiment.segmenting import SegmentationLearner
from trainer.learning.checkpoints import Checkpoints
from trainer.learning.model import threads
from trainer.representation.sources import task_source, untrained_source
from trainer.representation.space import embed, train_space
from trainer.selection.numbers import Vectors


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationEmbedder:
    """Embeds units; a task encoder learns from the start set and no other label."""

    learner: SegmentationLearner
    space: SpaceSource

    @property
    def key(self) -> tuple[object, ...]:
        # How far patches are padded, and over how many threads sums go, is the learner's.
        mine = self.space.decisive(), self.learner.grain, self.learner.learning.threads
        return (
            (*mine, self.learner.learning.decisive(), self.learner.acquisition) if self.space.source == "task" else mine
        )

    def embed(
        self, units: Sequence[int], *, start: tuple[int, ...], seed: int, step: Step, keep: Path | None = None
    ) -> Vectors:
        # Sums over more threads have other last bits.
        with threads(self.learner.learning.threads):
            return self._embedded(units, start=start, seed=seed, step=step, keep=keep)

    def _embedded(
        self, units: Sequence[int], *, start: tuple[int, ...], seed: int, step: Step, keep: Path | None
    ) -> Vectors:
        pictures, learner = self.learner.pictures, self.learner
        patches = padded(pictures.crops(units, margin_px=0), grain=learner.grain)
        match self.space.source:
            case "simclr":
                used, kept = learner.learning.threads, checkpoints_in(keep, self.space)
                space, _ = train_space(patches, self.space, seed=seed, step=step, threads_used=used, checkpoints=kept)
                return embed(space, patches)
            case "untrained":
                return untrained_source(self.space, patches, seed=seed).embed(patches)
            case "pixels":
                return pixel_rows(patches)
            case "task":
                fitted = learner.fit(Labelled(start, 0), seed=seed, step=step, keep=keep)
                return task_source(fitted.model, patches).embed(patches)


def checkpoints_in(folder: Path | None, space: SpaceSource) -> Checkpoints | None:
    """Say where and how often the training of a space is kept; None where it is not."""
    every = space.checkpoint_every
    return Checkpoints(folder, every=every) if folder is not None and every else None
