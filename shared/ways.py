"""The names by which a line says how its patches are scored and its batches chosen."""

from typing import Literal, TypeAlias

StrategyName: TypeAlias = Literal[
    "kdpp", "greedy", "kmeans", "kcentre", "meal", "meal-ft", "stride", "top", "proportional", "random"
]
Weighting: TypeAlias = Literal["quality", "eq3-distance", "eq3-literal", "diversity"]
#: What a k-DPP is drawn with.
Sampler: TypeAlias = Literal["block", "dense", "lowrank", "dppy-exact", "dppy-mcmc"]
#: What greedy choice goes by.
GreedySampler: TypeAlias = Literal["lazy", "block"]

#: How unsure one model is of a pixel.
Measure: TypeAlias = Literal["entropy", "least-confidence", "margin", "bvsb", "odin"]
#: How unsure several are together, or how far they disagree.
CommitteeMeasure: TypeAlias = Literal[
    "ensemble-entropy",
    "categories-first-entropy",
    "bald",
    "kl-consensus",
    "vote-entropy",
    "variation-ratio",
    "variance",
    "class-variance",
]
#: Models trained apart, light heads over one encoder, or one model with its dropout on.
Committee: TypeAlias = Literal["ensemble", "heads", "mc-dropout"]
#: From the pixels of a patch to its score.
Aggregation: TypeAlias = Literal["mean", "sum", "count", "top"]
