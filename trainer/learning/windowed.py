"""Logits inside a window: what a network would say there, computed no further than it has to be.

A tile's margin is there to be seen, not to be judged: the encoder looks at all of it, a decoder needs it no further than
its convolutions reach. A block of the library's U-Net doubles its input and convolves it twice with 3 x 3, so two places
around the window are enough at every level: what the edge of a cut spoils is cut away before the next block. With a margin
of an eighth of the tile that leaves the last levels little more than half of their pixels.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from torch import Tensor, nn
from torch.nn import functional

from trainer.learning.compact import CompactNet, Window

if TYPE_CHECKING:
    from segmentation_models_pytorch import Unet

#: Places around the window that a block's two convolutions, and the one that writes the logits, look at.
_HALO: Final = 2


def logits_within(network: nn.Module, pixels: Tensor, window: Window) -> Tensor:
    """Return ``network(pixels)`` inside a window, ``(n, k, bottom - top, right - left)``."""
    if isinstance(network, CompactNet):
        inside: Tensor = network(pixels, window)
        return inside
    unet = _unet(network)
    if unet is None:
        return _cut(network(pixels), window, of=(0, 0))
    decoded, corner = _decode(unet, pixels, window)
    return _cut(unet.segmentation_head(decoded), window, of=corner)


def every_second(network: nn.Module, pixels: Tensor, window: Window) -> Tensor:
    """Return every second row and column of them; the window begins at even ones.

    Where the last layer is one convolution, only those are computed: it runs with stride 2. Anything else is computed
    whole and thinned.
    """
    if isinstance(network, CompactNet):
        return network.every_second(pixels, window)
    last = _last_convolution(network)
    if last is None:
        return logits_within(network, pixels, window)[:, :, ::2, ::2]
    unet = _unet(network)
    if unet is None:
        features = network.get_submodule("encoder")(pixels)
        decoded, corner = network.get_submodule("decoder")(features), (0, 0)
    else:
        decoded, corner = _decode(unet, pixels, window)
    thinned = functional.conv2d(decoded, last.weight, last.bias, stride=2, padding=last.padding)
    top, bottom, left, right = window
    return _cut(
        thinned, (top // 2, (bottom + 1) // 2, left // 2, (right + 1) // 2), of=(corner[0] // 2, corner[1] // 2)
    )


def _last_convolution(network: nn.Module) -> nn.Conv2d | None:
    """Return the convolution that writes a library network's logits at full resolution; None where there is more to it."""
    from segmentation_models_pytorch.base import SegmentationModel  # noqa: PLC0415  # as slow to load as torch itself

    if not isinstance(network, SegmentationModel) or network.classification_head is not None:
        return None
    last, *after = network.segmentation_head
    plain = all(
        isinstance(part, nn.Identity) or isinstance(getattr(part, "activation", None), nn.Identity) for part in after
    )
    return last if isinstance(last, nn.Conv2d) and plain else None


def _unet(network: nn.Module) -> "Unet | None":
    """Return the network if its decoder can be cut: evaluated, raised to the nearest, without attention over whole maps."""
    from segmentation_models_pytorch import Unet  # noqa: PLC0415  # as above

    # While training, the batch's own statistics go through the layers: they must not depend on what is cut away.
    if type(network) is not Unet or network.training or network.classification_head is not None:
        return None
    plain = all(
        block.interpolation_mode == "nearest"
        and isinstance(block.attention1.attention, nn.Identity)
        and isinstance(block.attention2.attention, nn.Identity)
        for block in network.decoder.blocks
    )
    return network if plain else None


def _decode(unet: "Unet", pixels: Tensor, window: Window) -> tuple[Tensor, tuple[int, int]]:
    """Return the decoded features of a window and a little around it, and the row and column where they begin."""
    features: list[Tensor] = unet.encoder(pixels)
    if not _are_halved(features):
        decoded: Tensor = unet.decoder(features)
        return decoded, (0, 0)
    level = len(features) - 1
    decoded, corner = unet.decoder.center(features[level]), (0, 0)
    for block in unet.decoder.blocks:
        wanted = _around(window, level, features[level])
        decoded = _cut(decoded, wanted, of=corner)
        level -= 1
        top, bottom, left, right = (2 * side for side in wanted)
        # The finest level is the pixels themselves: there the encoder has nothing to add.
        skip = features[level][:, :, top:bottom, left:right] if level else None
        decoded, corner = block(decoded, bottom - top, right - left, skip_connection=skip), (top, left)
    wanted = _around(window, 0, features[0])
    return _cut(decoded, wanted, of=corner), (wanted[0], wanted[2])


def _are_halved(features: Sequence[Tensor]) -> bool:
    """Say whether each level has half the rows and columns of the one before, as not every encoder's have."""
    height, width = features[0].shape[2:]
    return all(tuple(feature.shape[2:]) == (height >> level, width >> level) for level, feature in enumerate(features))


def _around(window: Window, level: int, feature: Tensor) -> Window:
    """Return the places of a level that a window of the tile touches, and those around it that it depends on."""
    top, bottom, left, right = window
    height, width = feature.shape[2:]
    last = (1 << level) - 1
    return (
        max(0, (top >> level) - _HALO),
        min(height, ((bottom + last) >> level) + _HALO),
        max(0, (left >> level) - _HALO),
        min(width, ((right + last) >> level) + _HALO),
    )


def _cut(values: Tensor, window: Window, *, of: tuple[int, int]) -> Tensor:
    """Cut a window out of a map that begins at the row and column ``of``."""
    top, bottom, left, right = window
    return values[:, :, top - of[0] : bottom - of[0], left - of[1] : right - of[1]]
