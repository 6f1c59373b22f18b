"""The graphs of a run: task and mask in every precision that the line asks for, each compared with the network.

fp32 is always among them. A precision that lies further from the network than its tolerance is left out, and the providers
that asked for it run fp32: a line that goes on with a larger graph is better than one that stands still.
"""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from torch import nn

from shared.config import LineConfig
from shared.console import Step
from shared.errors import ReleaseError
from shared.geometry import Image
from shared.precision import Precision, Provider
from shared.release import Role, in_precision
from trainer.acquisition.line import formula, node_mask_scorer, node_scorer
from trainer.learning.model import TaskModel
from trainer.release.graph import export_mask, export_task
from trainer.release.parity import check_parity
from trainer.release.precision import to_fp16, to_int8

Kind: TypeAlias = Literal["task", "mask"]
#: How many times further than here a graph's scores may lie from the golden ones on a node, which has another processor.
ELSEWHERE: Final = 3.0
#: What any graph may: the manifest's own tolerance.
LEAST_TOLERANCE: Final = 1e-3


@dataclass(slots=True, eq=False)
class Variants:
    """Graphs ready to be released, and what the manifest says of them."""

    graphs: dict[Role, bytes] = field(default_factory=dict)
    precision: dict[Provider, Precision] = field(default_factory=dict)
    tolerances: dict[Role, float] = field(default_factory=dict)
    parity: dict[Role, dict[str, float]] = field(default_factory=dict)
    #: Why a precision that the line asks for is not among them.
    left_out: dict[Precision, str] = field(default_factory=dict)


def build_variants(
    model: TaskModel, line: LineConfig, *, release: str, tiles: Image, calibration: Image, step: Step
) -> Variants:
    """Export a run's graphs and compare each with the model on ``tiles``.

    Args:
        model: The run.
        line: Whose release it will be.
        release: Its name.
        tiles: ``(n, tile_px, tile_px, c)``.
        calibration: Other tiles, on which the ranges of int8 are measured.
        step: Told the progress.
    """
    asked = {provider: line.release.precision_on(provider) for provider in get_args(Provider)}
    wanted: list[Precision] = ["fp32", *sorted(set(asked.values()) - {"fp32"})]
    made = Variants()
    kinds: tuple[Kind, ...] = get_args(Kind)
    plain: dict[Kind, bytes] = {}
    places = [(kind, precision) for precision in wanted for kind in kinds]
    for done, (kind, precision) in enumerate(places):
        step(done, len(places))
        if precision in made.left_out:
            continue
        role = in_precision(kind, precision)
        what = f"{role} graph of {release}"
        try:
            if precision == "fp32":
                plain[kind] = data = export_graph(kind, model, line, release=release)
            else:
                data = _converted(plain[kind], precision, calibration, what=what)
            scorer = _scorer(kind, model, line)
            made.parity[role] = check_parity(scorer, data, tiles, what=what, precision=precision)
        except ReleaseError as error:
            if precision == "fp32":
                raise
            made.left_out[precision] = str(error)
            made.graphs.pop(in_precision("task", precision), None)
            made.parity.pop(in_precision("task", precision), None)
            continue
        made.graphs[role] = data
    step(len(places), len(places))
    kept = set(wanted) - {"fp32", *made.left_out}
    made.precision = {provider: precision for provider, precision in asked.items() if precision in kept}
    roles = [in_precision(kind, precision) for precision in sorted(kept) for kind in kinds]
    made.tolerances = {role: max(LEAST_TOLERANCE, ELSEWHERE * made.parity[role]["score"]) for role in roles}
    return made


def export_graph(kind: Kind, model: TaskModel, line: LineConfig, *, release: str) -> bytes:
    """Export a run's task or mask graph as the line's nodes run it, in fp32."""
    export = export_task if kind == "task" else export_mask
    scorer = _scorer(kind, model, line)
    return export(scorer, line.grid, line=line.line, release=release, classes=line.class_names, formula=formula(line))


def _scorer(kind: Kind, model: TaskModel, line: LineConfig) -> nn.Module:
    build = node_scorer if kind == "task" else node_mask_scorer
    return build(model, line, stride=line.release.entropy_stride)


def _converted(plain: bytes, precision: Precision, calibration: Image, *, what: str) -> bytes:
    return to_fp16(plain, what=what) if precision == "fp16" else to_int8(plain, calibration, what=what)
