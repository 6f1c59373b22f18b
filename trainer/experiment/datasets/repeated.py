"""The repeated-image pool (C7): one image of the training split stands in it as often as all images together.

Labelling it once more brings nothing: a strategy that learns from what it has leaves the copies alone (Chen, section 3.3.2).
"""

from dataclasses import replace
from types import MappingProxyType

from shared.identity import sha256_hex
from trainer.experiment.datasets.dataset import DataSet


def repeated_set(data: DataSet) -> DataSet:
    """Add as many copies of the training split's first image as it has images; copies come last."""
    train = data.splits["train"]
    digits = len(train[0])
    copies = [sha256_hex(f"{train[0]}/copy/{number}".encode())[:digits] for number in range(len(train))]
    return replace(
        data,
        splits=MappingProxyType({**data.splits, "train": (*train, *copies)}),
        items=MappingProxyType({**data.items, **dict.fromkeys(copies, data.items[train[0]])}),
    )
