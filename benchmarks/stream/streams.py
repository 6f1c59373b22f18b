"""The streams: what a camera sees with the truth beside it, scored and embedded as a node would.

A small network is trained for seconds on the frames of another camera (or other images of the set), and a SimCLR
space on its patches without labels. Neither sees a frame of the stream.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from benchmarks.stream.rivals import Seen
from shared.config import SpaceTable
from shared.files import read_bounded
from shared.geometry import PatchGrid
from shared.images import decode_image, decode_mask
from shared.steel_line import SteelLine
from trainer.learning.compact import CompactNet
from trainer.learning.model import normalised
from trainer.representation.space import SpaceModule, embed, train_space
from trainer.selection.kernels.similarity import choose_tau

PATCH_PX: Final = 64
_GRID: Final = PatchGrid(tile_px=128, patch_px=PATCH_PX, margin_px=32, cell_px=16)
_CELL_PX: Final = 16
#: A patch holds a class from this many of its pixels on.
_LEAST_PX: Final = 12
_WIDTHS: Final = (16, 32)
_MOST_BYTES: Final = 1 << 24

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is seen and learned."""

    frames: int = 800
    learned_from: int = 60
    steps: int = 200
    space_steps: int = 120


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """A stream with its truth: for each frame the classes in each patch, ``(n, classes)``."""

    classes: tuple[str, ...]
    frames: list[Seen]
    truth: list[NDArray[np.bool_]]
    rehearsal: list[Seen]
    tau: float


def steel(seed: int, effort: Effort) -> Stream:
    """The simulated line; the network and the space learn from another camera of it."""
    line, other = (
        SteelLine(seed, f"bench/node/{camera}", height_px=256, width_px=256, scale=0.5) for camera in ("top", "side")
    )
    spread = range(0, 37 * effort.learned_from, 37)
    learned = [(frame.image, frame.mask) for frame in (other.frame(number) for number in spread)]
    # Another stretch of the other camera for the rivals' thresholds, so that it follows frame by frame.
    stretch = [other.frame(10_000 + number).image for number in range(effort.learned_from)]
    frames = ((frame.image, frame.mask) for frame in (line.frame(number) for number in range(effort.frames)))
    return _stream(("background", *line.classes), learned, stretch, frames, seed=seed, effort=effort)


def images(directory: Path, seed: int, effort: Effort) -> Stream:
    """A labelled image set, shuffled; names tell the class, so they decide nothing."""
    names = sorted(path.stem for path in (directory / "masks").glob("*.png"))
    order = np.random.default_rng(seed).permutation(len(names))
    files = {path.stem: path for path in (directory / "images").iterdir()}

    def read(at: int) -> tuple[Image, Image]:
        data = read_bounded(files[names[at]], limit=_MOST_BYTES)
        mask = decode_mask(read_bounded(directory / "masks" / f"{names[at]}.png", limit=_MOST_BYTES), what=names[at])
        image = decode_image(data, what=names[at], channels=1)[..., 0]
        rows, cols = (-side % PATCH_PX for side in image.shape)
        # Past the frame the image is continued by reflection and nothing is there to be found.
        return np.pad(image, ((0, rows), (0, cols)), mode="reflect"), np.pad(mask, ((0, rows), (0, cols)))

    learned = [read(at) for at in order[: effort.learned_from]]
    rehearsed, rest = np.split(
        order[effort.learned_from :][: effort.learned_from + effort.frames], [effort.learned_from]
    )
    count = max(int(mask.max()) for _, mask in learned) + 1
    classes = tuple(f"class {value}" for value in range(count))
    stretch = [read(at)[0] for at in rehearsed]
    return _stream(classes, learned, stretch, map(read, rest), seed=seed, effort=effort)


def _stream(
    classes: tuple[str, ...],
    learned: list[tuple[Image, Image]],
    stretch: list[Image],
    frames: "Iterator[tuple[Image, Image]]",
    *,
    seed: int,
    effort: Effort,
) -> Stream:
    network = _network([image for image, _ in learned], [mask for _, mask in learned], len(classes), effort, seed=seed)
    patches = np.concatenate([_patches(image) for image, _ in learned])
    settings = SpaceTable(encoder="compact-16-32", steps=effort.space_steps, minibatch=64)
    space, _ = train_space(patches, settings, seed=seed, step=_silent, threads_used=1)
    tau = choose_tau(embed(space, patches), 200, np.random.default_rng(seed))
    seen: list[Seen] = []
    truth: list[NDArray[np.bool_]] = []
    for image, mask in frames:
        seen.append(_look(image, network, space))
        truth.append(_classes_in(mask, len(classes)))
    return Stream(classes, seen, truth, [_look(image, network, space) for image in stretch], tau)


def _silent(done: int, total: int) -> None:
    """Say nothing of the progress."""


def _network(images_: list[Image], masks: list[Image], classes: int, effort: Effort, *, seed: int) -> CompactNet:
    torch.manual_seed(seed)
    network = CompactNet(channels=1, classes=classes, widths=_WIDTHS)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    weights = torch.full((classes,), 5.0)
    weights[0] = 1.0
    rng = np.random.default_rng(seed)
    side = 128
    for step in range(effort.steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1.0 - step / effort.steps)
        crops, labels = [], []
        for _ in range(12):
            at = int(rng.integers(len(images_)))
            top, left = (int(rng.integers(size - side + 1)) for size in images_[at].shape)
            here = np.s_[top : top + side, left : left + side]
            turn = slice(None, None, -1 if rng.random() < 0.5 else 1)
            crops.append(images_[at][here][:, turn])
            labels.append(masks[at][here][:, turn])
        pixels = torch.from_numpy(np.stack(crops))[:, None]
        logits = network(normalised(pixels))
        loss = functional.cross_entropy(logits, torch.from_numpy(np.stack(labels)).long(), weight=weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def _look(image: Image, network: CompactNet, space: SpaceModule) -> Seen:
    with torch.inference_mode():
        logits = network(normalised(torch.from_numpy(image)[None, None]))
        logp = functional.log_softmax(logits, dim=1)
        entropy = -(logp.exp() * logp).sum(dim=1, keepdim=True) / np.log(logits.shape[1])
        # The highest cell of each patch, as the top share of so few cells is.
        cells = functional.avg_pool2d(entropy, _CELL_PX)
        scores = functional.max_pool2d(cells, PATCH_PX // _CELL_PX)[0, 0].numpy().ravel()
    patches = _patches(image)
    small = patches[..., 0].reshape(len(patches), PATCH_PX // 4, 4, PATCH_PX // 4, 4).mean(axis=(2, 4))
    return Seen(scores.astype(np.float64), embed(space, patches), small.astype(np.float32))


def _patches(image: Image) -> Image:
    frame = image[..., None]
    return np.stack([_GRID.patch(frame, patch) for patch in _GRID.patches(*image.shape)])


def _classes_in(mask: Image, classes: int) -> NDArray[np.bool_]:
    """Say which classes but the background lie in each patch: ``(n, classes - 1)``."""
    rows, cols = (size // PATCH_PX for size in mask.shape)
    tiles = mask.reshape(rows, PATCH_PX, cols, PATCH_PX).transpose(0, 2, 1, 3).reshape(rows * cols, -1)
    return np.stack([(tiles == value).sum(axis=1) >= _LEAST_PX for value in range(1, classes)], axis=1)
