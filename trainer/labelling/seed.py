"""Labelled images that a line starts from: cut into patches, stored as candidates that came with their labels.

The folder holds ``images/`` and ``masks/`` with the same names; a mask is an index PNG, 255 where nothing is
known. Ids follow from the line and the image, so seeding twice changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from shared.config import LineConfig
from shared.console import Step
from shared.errors import InputError
from shared.files import read_bounded
from shared.geometry import Image
from shared.identity import CandidateId, sha256_hex
from shared.images import decode_image, decode_mask, encode_image
from shared.messages import Candidate
from trainer.labelling.folder import check_values
from trainer.labelling.masks import IGNORE, Mask, truth_mask
from trainer.pool.pool import Arrival, Pick, Pool, Returned
from trainer.pool.records import SEED_NODE

CAMERA: Final = "folder"
SOURCE: Final = "seed"
_MAX_IMAGE_BYTES: Final = 256 << 20
_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class SeedReport:
    """What a folder of labelled images brought."""

    images: int
    patches: int
    corrected: int
    unchanged: int


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    image: Path
    mask: Path


def seed_folder(
    pool: Pool, line: LineConfig, directory: Path, *, dry_run: bool = False, step: Step | None = None
) -> SeedReport:
    """Take a folder of labelled images into the pool: all of it in one transaction, or nothing."""
    pairs, problems = _pairs(directory)
    for pair in pairs:
        try:
            _read(pair, line)
        except InputError as error:
            problems += error.problems
    if not pairs and not problems:
        problems.append(f"{directory / 'images'}: no image; expected images/ and masks/ with the same names")
    if problems:
        raise InputError(
            "\n".join([*problems, f"{directory}: {len(problems)} faults; nothing was taken"]), problems=tuple(problems)
        )
    tally = {"patches": 0, "corrected": 0, "unchanged": 0}
    with pool.write():
        known = set(pool.ids(line.line, state=None, reason=SOURCE))
        for frame, pair in enumerate(pairs):
            for arrival, mask in _cut(pair, line, frame=frame, now=pool.clock.now()):
                tally[_take(pool, arrival, mask, known, dry_run=dry_run)] += 1
                known.add(arrival.candidate.id)
            if step is not None:
                step(frame + 1, len(pairs))
    return SeedReport(images=len(pairs), **tally)


def _take(pool: Pool, arrival: Arrival, mask: Mask, known: set[str], *, dry_run: bool) -> str:
    """Store one labelled patch if it brings anything, and say what it was."""
    name = arrival.candidate.id
    is_new = name not in known
    if is_new and not dry_run:
        pool.add([arrival])
        pool.hand_over(arrival.line, 0, [Pick(name, "seed", {})])
    if not is_new and all(np.array_equal(old, mask) for _, old in pool.masks([name])):
        return "unchanged"
    if not dry_run:
        pool.label([Returned(name, mask, SOURCE)])
    return "patches" if is_new else "corrected"


def _pairs(directory: Path) -> tuple[list[_Pair], list[str]]:
    images = {
        path.stem: path
        for path in sorted((directory / "images").glob("*"))
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
    }
    masks = {path.stem: path for path in sorted((directory / "masks").glob("*.png")) if not path.name.startswith(".")}
    problems = [f"{images[name]}: no mask {name}.png beside it" for name in sorted(images.keys() - masks.keys())]
    problems += [f"{masks[name]}: no image of this name" for name in sorted(masks.keys() - images.keys())]
    return [_Pair(images[name], masks[name]) for name in sorted(images.keys() & masks.keys())], problems


def _read(pair: _Pair, line: LineConfig) -> tuple[bytes, Image, Mask]:
    data = read_bounded(pair.image, limit=_MAX_IMAGE_BYTES)
    image = decode_image(data, what=str(pair.image), channels=line.grid.channels)
    mask = decode_mask(read_bounded(pair.mask, limit=_MAX_IMAGE_BYTES), what=str(pair.mask))
    if mask.shape != image.shape[:2]:
        raise InputError(
            f"{pair.mask}: {mask.shape[0]} x {mask.shape[1]} pixels, its image is {image.shape[0]} x {image.shape[1]}"
        )
    check_values(mask, line, what=str(pair.mask))
    return data, image, mask


def _cut(pair: _Pair, line: LineConfig, *, frame: int, now: float) -> Iterator[tuple[Arrival, Mask]]:
    data, image, frame_mask = _read(pair, line)
    # A hash of line and image stands where a node's boot id would: the same image gives the same ids on its line,
    # and others on another line.
    boot = sha256_hex(line.line.encode() + b"/" + data)[:8]
    for number, patch in enumerate(line.grid.patches(*frame_mask.shape)):
        mask = truth_mask(line.grid, frame_mask, patch)
        if (mask == IGNORE).all():
            continue
        crop = encode_image(line.grid.crop(image, patch), form=line.crop.format, quality=line.crop.quality)
        candidate = Candidate(
            id=str(CandidateId.make(node=SEED_NODE, boot=boot, seq=number, crop=crop)),
            camera=CAMERA,
            frame=frame,
            captured_at=now,
            row=patch.row,
            col=patch.col,
            inside=line.grid.inside(patch, *frame_mask.shape),
            release=None,
            score=None,
            reason=SOURCE,
            gain=None,
            space=None,
            embedding=None,
            crop_format=line.crop.format,
            crop=crop,
        )
        yield Arrival(line=line.line, node=SEED_NODE, candidate=candidate, received_at=now), mask
