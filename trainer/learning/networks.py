"""Networks by name: the one door to segmentation-models-pytorch, which is loaded when a network of its is asked for.

``compact-32-64`` is our own compact network, its widths in the name; every other encoder name is
segmentation-models-pytorch's (``resnet34``, ``tu-<timm name>``). Nothing is downloaded: all weights start at random.
"""

import re
import warnings
from itertools import pairwise
from typing import Final

from torch import Tensor, nn

from shared.config import LearningTable
from shared.errors import ConfigError
from trainer.learning.compact import CompactEncoder, CompactNet

#: Architectures whose decoder is described by ``decoder_channels``, and those that bring their own.
_WITH_CHANNELS: Final = ("unet", "unetplusplus", "manet")
_WITHOUT_CHANNELS: Final = ("deeplabv3plus", "fpn", "linknet")
ARCHITECTURES: Final = ("compact", *sorted(_WITH_CHANNELS + _WITHOUT_CHANNELS))
_COMPACT: Final = re.compile(r"compact(?:-[0-9]{1,4}){1,4}")


def build_network(settings: LearningTable, *, classes: int, channels: int) -> nn.Module:
    """Build the network that turns ``(n, channels, h, w)`` into logits ``(n, classes, h, w)``."""
    architecture = settings.architecture
    if architecture not in ARCHITECTURES:
        raise ConfigError(
            f'learning.architecture is "{architecture}"; known architectures are {", ".join(ARCHITECTURES)}'
        )
    widths = compact_widths(settings.encoder)
    if (architecture == "compact") != (widths is not None):
        raise ConfigError(
            f'learning.architecture "{architecture}" with encoder "{settings.encoder}"; compact goes with compact-<width>-<width>… and only with it'
        )
    if widths is not None:
        return CompactNet(channels=channels, classes=classes, widths=widths)
    options: dict[str, object] = {}
    if architecture in _WITH_CHANNELS:
        options = {
            "decoder_channels": settings.decoder_channels,
            "encoder_depth": len(settings.decoder_channels),
        }
    import segmentation_models_pytorch as smp  # noqa: PLC0415  # takes as long to load as torch itself

    with _door("learning.encoder", settings.encoder):
        network = smp.create_model(
            architecture,
            encoder_name=settings.encoder,
            encoder_weights=None,
            in_channels=channels,
            classes=classes,
            **options,
        )
    assert isinstance(network, nn.Module)
    return network


def build_encoder(name: str, *, channels: int) -> tuple[nn.Module, int]:
    """Build an encoder that turns ``(n, channels, h, w)`` into pooled features, and say how many."""
    widths = compact_widths(name, key="space.encoder")
    if widths is not None:
        return _Pooled(CompactEncoder(channels=channels, widths=widths)), widths[-1]
    import segmentation_models_pytorch as smp  # noqa: PLC0415  # as above

    with _door("space.encoder", name):
        encoder = smp.encoders.get_encoder(name, in_channels=channels, depth=5, weights=None)
    return _Pooled(encoder), int(encoder.out_channels[-1])


def compact_widths(name: str, *, key: str = "learning.encoder") -> tuple[int, ...] | None:
    """Read the widths out of a compact encoder's name; None when it names another. ``key`` is who named it."""
    if not name.startswith("compact"):
        return None
    widths = tuple(int(part) for part in name.split("-")[1:]) if _COMPACT.fullmatch(name) else (0,)
    if widths[0] < 4 or not all(low <= high for low, high in pairwise(widths)):
        raise ConfigError(
            f'{key} "{name[:60]}"; expected compact-<width>-<width>… with one to four widths from 4 that do not fall'
        )
    return widths


class _Pooled(nn.Module):
    """The mean of an encoder's deepest features over an image."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> Tensor:
        deepest: Tensor = self.encoder(pixels)[-1]
        return deepest.mean(dim=(2, 3))


class _door:  # noqa: N801  # reads as a with-statement
    """Turn what the library says of a name it does not know into a ``ConfigError``."""

    def __init__(self, key: str, name: str) -> None:
        self._key, self._name = key, name
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> None:
        self._warnings.__enter__()
        # The library warns of its own deprecated prefixes; the name is the operator's and still works.
        warnings.filterwarnings("ignore", message="`timm-` encoders are deprecated", category=DeprecationWarning)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._warnings.__exit__(None, None, None)
        if isinstance(error, (KeyError, RuntimeError, ValueError, NotImplementedError)):
            text = str(error).strip("'\"").splitlines()[0][:120]
            raise ConfigError(f'{self._key} "{self._name[:60]}": {text}') from None
