"""How a classifier is built and trained."""

from typing import Annotated

from msgspec import Meta

from shared.kinds import Count, Positive, Share, Table


class ClassifierTable(Table, frozen=True):
    """A network by name, and Adam over epochs.

    The defaults are the Waterloo thesis' (section 3.1): a dense net of 512 neurons, 20 epochs. Minibatch and learning
    rate it does not tell; these are the customary ones for Adam.
    """

    #: ``dense-<width>``, or a ResNet of timm.
    network: str = "dense-512"
    epochs: Count = 20
    #: From 4: then no minibatch is left with one image, which batch normalisation could not use.
    minibatch: Annotated[int, Meta(ge=4, le=1_000_000)] = 32
    learning_rate: Positive = 1e-3
    #: Shares of the epochs after which the learning rate falls to a tenth.
    milestones: tuple[Share, ...] = ()
    #: The share of the features that the last layer does without while it learns, and each member of mc-dropout too.
    dropout: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.0
    #: Images are mirrored left to right at random.
    mirror: bool = False
    #: Images are moved by up to this many pixels at random, black comes in from the side.
    shift_px: Annotated[int, Meta(ge=0, le=1024)] = 0
    threads: Annotated[int, Meta(ge=0, le=256)] = 1
