"""Every method of the papers: what selects it here, and the paper's own number."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Method:
    """One row: what it is, what selects it, the paper's number, and whether its full size asks for a GPU."""

    id: str
    name: str
    #: In a recipe, or the command where there is one of its own.
    setting: str
    paper: str = ""
    full_size: bool = False


def _recipe(key: str, value: str) -> str:
    return f"{key} = {value}"


METHODS: Final = (
    Method(
        "A1",
        "SimCLR space, learned once and fixed",
        _recipe("space.source", '"simclr" | "untrained" | "task" | "pixels"'),
    ),
    Method("A2", "similarity is the cosine of embeddings", _recipe("arm.weighting", '"diversity"')),
    Method(
        "A3", "pixel entropy, averaged over the unit", _recipe("acquisition.measure, aggregation", '"entropy", "mean"')
    ),
    Method(
        "A4",
        "entropy of a unit's top cells, for tiny defects",
        _recipe("acquisition.aggregation", '"top"'),
        "about +5 mIoU at the last step against averaging",
    ),
    Method("A5", "kernel of distance and the larger uncertainty (Eq. 3)", _recipe("arm.weighting", '"eq3-distance"')),
    Method("A6", "k-DPP: a batch of fixed size, exact or by MCMC", _recipe("arm.strategy, sampler", '"kdpp", "auto"')),
    Method(
        "A7",
        "the loop, with a start set drawn from embeddings alone",
        _recipe("start", '"kdpp"'),
        "about +10 points over a random start (CIFAR-10, CalTech101)",
    ),
    Method("A8", "whole images and patches; full image seen, labelled pixels learned", _recipe("unit.full", "true")),
    Method(
        "A9",
        "the industrial case: 60,000 crops, 8,000 a step",
        _recipe("schedule.per_round", "8000, on a set of your own"),
        "2 mIoU under training on everything, 40,000 of 60,000 labelled",
        full_size=True,
    ),
    Method(
        "A10",
        "classification, 1,000 a step",
        _recipe("data.name", '"cifar10" | "caltech101" | "fashion_mnist"'),
        "the k-DPP above nearly all rivals, most at the start",
        full_size=True,
    ),
    Method("B1", "a grid of 4 x 4 patches", _recipe("unit.kind, rows, cols", '"parts", 4, 4')),
    Method("B2", "exploit: keep the most uncertain patches", _recipe("arm.informative", "200")),
    Method("B3", "explore: k-means++ seeding in one UMAP of all patches", _recipe("arm.strategy", '"meal"')),
    Method("B4", "MEAL-FT: a UMAP of the informative patches, each step", _recipe("arm.strategy", '"meal-ft"')),
    Method(
        "B5",
        "MEAL's training: DeepLabV3+ on MobileNetV2, from scratch each step",
        _recipe("learning.architecture, encoder", '"deeplabv3plus", "tu-mobilenetv2_100"'),
        full_size=True,
    ),
    Method(
        "B6",
        "MEAL's table on CamVid at 5 % of the patches",
        "the recipe camvid-meal, or camvid-meal-cpu",
        "frozen: random 0.509, entropy 0.516, MEAL 0.558, MEAL-FT 0.573, all labels 0.635",
        full_size=True,
    ),
    Method(
        "C1",
        "pixel acquisition: entropy, 1 - max softmax, margin, ODIN, BALD, vote entropy",
        _recipe("acquisition.measure", '"entropy" | "least-confidence" | "margin" | "odin" | "bald" | "vote-entropy"'),
    ),
    Method(
        "C2",
        "aggregation: the mean, or the count of pixels over a threshold",
        _recipe("acquisition.aggregation", '"mean" | "count"'),
        "whole images: counting +1.5 ALC for entropy, +1.6 for margin",
    ),
    Method("C3", "units: the whole image, or a 512 px crop", _recipe("unit.kind, side_px", '"whole" | "squares", 512')),
    Method("C4", "learning curve, ALC, normalised ALC", "winnow experiment compare OUT"),
    Method(
        "C5",
        "the ALC table",
        _recipe("data.name", '"cityscapes"'),
        "whole images: random 238.0, entropy 255.0, entropy > log 2 256.5; crops: 212.6, 215.6, -",
        full_size=True,
    ),
    Method("C6", "sample diversity: every d-th of the ranking", _recipe("arm.strategy, stride", '"stride", d')),
    Method(
        "C7",
        "probes: the lowest entropy, the most incorrect, an expert's doubts, a pool that is half one image",
        _recipe("arm.probe; data.repeated", '"inverse" | "most-incorrect" | "expert"; true'),
        "all worse than entropy; inverse and expert worse than random at first",
    ),
    Method("C8", "classification of Fashion-MNIST by a small dense net", _recipe("data.name", '"fashion_mnist"')),
    Method("D1", "scenarios: a stream of patches, and a pool", "winnow agent run; winnow trainer serve"),
    Method(
        "D2",
        "uncertainty: entropy, variation ratio, best over second best",
        _recipe("acquisition.measure", '"entropy" | "variation-ratio" | "bvsb"'),
    ),
    Method(
        "D3",
        "committee: vote entropy, KL divergence to the consensus",
        _recipe("acquisition.measure", '"vote-entropy" | "kl-consensus"'),
    ),
    Method("D4", "core-set: the farthest from what is labelled", _recipe("arm.strategy", '"kcentre"')),
    Method(
        "D5",
        "superpixels, class-balanced, to a budget of clicks",
        _recipe("unit.kind, answer; acquisition.class_balanced", '"superpixels", "class" | "outline"; true'),
    ),
    Method(
        "D6",
        "a few pixels of each image",
        _recipe("unit.kind; arm.pixels", '"pixels"; { top_share = 0.05 } | { distance_px = 12 }'),
    ),
    Method("E1", "KL regulariser of an ensemble's parameters", _recipe("acquisition.committee, beta", '"heads", 1e-4')),
    Method("E2", "one encoder under several light heads", _recipe("acquisition.committee, members", '"heads", 8')),
    Method(
        "E3",
        "ensemble acquisition: H_ens, H_cat, MI, V, VR, V_w",
        _recipe(
            "acquisition.measure",
            '"ensemble-entropy" | "categories-first-entropy" | "bald" | "variance" | "variation-ratio" | "class-variance"',
        ),
    ),
    Method(
        "E4", "4 x 3 crops, scored by their sum", _recipe("unit.rows, cols; acquisition.aggregation", '3, 4; "sum"')
    ),
    Method(
        "E5",
        "growth: linear-8, linear-4, exponential-4",
        _recipe("schedule.growth", '"linear-8" | "linear-4" | "exponential-4"'),
    ),
    Method(
        "E6",
        "the DPE tables on BDD100k and CIFAR-10",
        _recipe("data.name", '"bdd100k" | "cifar10"'),
        "BDD100k 8/16/32 %: random 45.25/47.00/48.43, DPE H_ens 45.80/48.10/50.12, all data 52.1",
        full_size=True,
    ),
)
IDS: Final = tuple(method.id for method in METHODS)
