"""Several opinions of the same images: a committee of classifiers, on maps of one pixel.

Members are models trained apart, or one model that drops features as it did while it learned. A member of dropout is a
seed: the same model and seed have the same opinions, whatever was drawn before.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from shared.console import Step
from shared.geometry import Image
from shared.ways import CommitteeMeasure
from trainer.acquisition.build import build_committee_source
from trainer.experiment.learner import part_of
from trainer.learning.classification.nets import Classifier
from trainer.learning.classification.predicting import features_of, logits_of
from trainer.selection.numbers import Floats, Ints

_KEPT_OUT: Final = "its members' opinions are already given"


def of_ensemble(
    models: Sequence[Classifier], images: Image, chosen: Ints, *, threads_used: int, step: Step
) -> list[Tensor]:
    """Return each model's probabilities ``(m, classes)`` for ``(m,)`` chosen images."""
    return [
        torch.softmax(
            logits_of(
                model, images, chosen, threads_used=threads_used, step=part_of(step, number=number, parts=len(models))
            ),
            dim=1,
        )
        for number, model in enumerate(models)
    ]


def of_dropout(
    model: Classifier, members: int, images: Image, chosen: Ints, *, seed: int, threads_used: int, step: Step
) -> Iterator[Tensor]:
    """Yield each member's probabilities ``(m, classes)``; what lies below the features is the same for all and seen once."""
    features = features_of(model, images, chosen, threads_used=threads_used, step=step)
    kept = 1.0 - model.dropout.p
    for member in range(members):
        own = int(np.random.SeedSequence([seed, member]).generate_state(1)[0])
        drawn = torch.rand(features.shape, generator=torch.Generator().manual_seed(own)) < kept
        with torch.inference_mode():
            seen = (features * drawn / kept).to(model.last.weight.device)
            yield torch.softmax(model.last(seen).float(), dim=1).cpu()


def disagreement(
    members: Iterable[Tensor],
    measure: CommitteeMeasure,
    *,
    classes: int,
    weights: Sequence[float] | None,
) -> Floats:
    """Return ``(m,)`` in [0, 1]: how unsure the members are together, or how far they disagree."""
    source = build_committee_source(measure, _Given(members, classes), weights=weights)
    with torch.inference_mode():
        values, _ = source(torch.zeros(0))
    scores: Floats = (values.flatten() / source.most).clamp(0.0, 1.0).double().numpy()
    return scores


class _Given(nn.Module):
    """A committee whose members have spoken."""

    kept_out = _KEPT_OUT

    def __init__(self, members: Iterable[Tensor], classes: int) -> None:
        super().__init__()
        self._members = members
        self.classes = classes

    def forward(self, _pixels: Tensor) -> Iterator[Tensor]:
        return (member[:, :, None, None] for member in self._members)
