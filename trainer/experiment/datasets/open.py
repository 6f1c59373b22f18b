"""Data sets by name: which loader reads ``DIR/NAME``, and what to say when it is not there."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.errors import ConfigError, InputError
from trainer.experiment.datasets.archive import SUFFIX, unpacked
from trainer.experiment.datasets.bdd100k import load_bdd100k
from trainer.experiment.datasets.caltech101 import load_caltech101
from trainer.experiment.datasets.cifar10 import load_cifar10
from trainer.experiment.datasets.cityscapes import load_cityscapes
from trainer.experiment.datasets.dataset import DataSet, Request
from trainer.experiment.datasets.folder import load_folder
from trainer.experiment.datasets.idx import load_idx
from trainer.experiment.datasets.steel_line import load_steel_line


@dataclass(frozen=True, slots=True)
class KnownSet:
    """A set that experiments know by name, and where its owners publish it."""

    load: Callable[[Path, Request], DataSet]
    published: str


KNOWN: Final[dict[str, KnownSet]] = {
    "bdd100k": KnownSet(
        load_bdd100k,
        "the Berkeley DeepDrive site, after registration: the 10K images and the semantic segmentation labels",
    ),
    "caltech101": KnownSet(load_caltech101, "Caltech's research data repository: 101_ObjectCategories"),
    "camvid": KnownSet(load_folder, "the SegNet tutorial's repository: the folder CamVid, 480 x 360, 11 classes"),
    "cifar10": KnownSet(load_cifar10, "the University of Toronto's CIFAR page: the binary version"),
    "cityscapes": KnownSet(
        load_cityscapes,
        "the Cityscapes site, after registration: leftImg8bit_trainvaltest and gtFine_trainvaltest",
    ),
    "crackforest": KnownSet(load_folder, "the CrackForest repository of its authors (Shi et al. 2016)"),
    "fashion_mnist": KnownSet(load_idx, "Zalando Research's fashion-mnist repository: the four idx files, unpacked"),
    "neu899": KnownSet(
        load_folder, "Northeastern University's surface defects, as NEU_Seg and SD-saliency-900; de-duplicated to 899"
    ),
}


#: The set that is simulated: it needs no folder.
STEEL_LINE: Final = "steel_line"


def open_dataset(directory: Path | None, request: Request, *, work: Path) -> DataSet:
    """Open the set ``directory/NAME``, or unpack ``directory/NAME.tar.xz`` into ``work`` first.

    A name that is not known opens too if such a folder of images and masks is there.
    """
    name = request.name
    if name == STEEL_LINE:
        return load_steel_line(request)
    if directory is None:
        raise ConfigError(f'data set "{name}": no folder of data sets was named; give it with --data DIR')
    place, archive = directory / name, directory / f"{name}{SUFFIX}"
    if not name or name != Path(name).name or name.startswith("."):
        raise ConfigError(
            f'data set "{name}": not the plain name of a folder; known sets are {", ".join((*KNOWN, STEEL_LINE))}'
        )
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder; give the folder of the data sets with --data DIR")
    if not place.is_dir() and archive.is_file():
        place = unpacked(archive, work, step=request.step)
    known = KNOWN.get(name)
    if place.is_dir():
        return (load_folder if known is None else known.load)(place, request)
    if known is None:
        raise ConfigError(
            f'data set "{name}": unknown, and no folder {place}; known sets are {", ".join((*KNOWN, STEEL_LINE))}, or any folder of images/ and masks/'
        )
    raise InputError(
        f"{place}: no such folder, and no {archive.name} beside it; its owners publish it at {known.published}"
    )
