"""Contradictions between the settings of a line that are each right by themselves, in words."""

from typing import TYPE_CHECKING, Final, get_args

from shared.ways import CommitteeMeasure, GreedySampler, Sampler

if TYPE_CHECKING:
    from shared.config import LineConfig, SelectionTable

#: What each strategy that draws with a sampler draws with.
_SAMPLERS: Final = {
    "kdpp": ("auto", *get_args(Sampler)),
    "greedy": ("auto", *get_args(GreedySampler)),
}

#: Why a node's task graph cannot compute what these ask for.
_STEP: Final = "its step needs a gradient"
_DRAWS: Final = "its members are random draws"


def acquisition_contradictions(line: "LineConfig") -> list[str]:
    """Say which settings of a line's acquisition do not go together."""
    table, names = line.acquisition, line.class_names
    problems = [
        f'acquisition.class_weights: "{name}" is not a class of the line; known classes are {", ".join(names)}'
        for name in table.class_weights
        if name not in names
    ]
    asks = table.measure in get_args(CommitteeMeasure)
    if table.committee == "ensemble":
        problems.append(
            'acquisition.committee is "ensemble"; a round trains one model, only studies train several: take heads or mc-dropout'
        )
    elif asks and table.committee is None:
        problems.append(f'acquisition.measure is "{table.measure}" without a committee; set heads or mc-dropout')
    elif not asks and table.committee == "mc-dropout":
        problems.append(
            f'acquisition.committee is "mc-dropout" and acquisition.measure is "{table.measure}", which asks one model; leave the committee away'
        )
    if (table.measure == "class-variance") != any(table.class_weights.values()):
        problems.append(
            f'acquisition.measure is "{table.measure}" with class_weights {table.class_weights}; class-variance needs them, one above 0, and only it'
        )
    why = _STEP if table.measure == "odin" and table.epsilon else _DRAWS if table.committee == "mc-dropout" else None
    if why is not None and table.on_node == "same":
        problems.append(
            f'acquisition.measure is "{table.measure}" and {why}, which no task graph can compute; set acquisition.on_node to "entropy", the trainer scores the pool by {table.measure} all the same'
        )
    return problems


def release_contradictions(line: "LineConfig") -> list[str]:
    """Say which sizes of a line do not go together with how its graphs are made."""
    grid = line.grid
    odd = [
        f"{name} {value}"
        for name, value in (("patch_px", grid.patch_px), ("cell_px", grid.cell_px), ("a tile's inset", grid.inset_px))
        if value % 2
    ]
    if line.release.entropy_stride == 1 or not odd:
        return []
    return [
        f"release.entropy_stride is 2, but geometry has {', '.join(odd)} px, which is odd; make it even or set entropy_stride to 1"
    ]


def _whose(sampler: str) -> str:
    """Say which strategy takes a sampler."""
    owners = [f'strategy "{name}"' for name, samplers in _SAMPLERS.items() if sampler in samplers]
    return f", {' and '.join(owners)} it" if owners else ""


def selection_contradictions(table: "SelectionTable") -> list[str]:
    """Say which settings of a selection do not go together."""
    problems = []
    samplers = _SAMPLERS.get(table.strategy, ("auto",))
    if table.sampler not in samplers:
        problems.append(
            f'selection.sampler is "{table.sampler}"; strategy "{table.strategy}" takes {", ".join(samplers)}{_whose(table.sampler)}'
        )
    if table.strategy != "kdpp" and table.weighting != "quality":
        problems.append(
            f'selection.weighting is "{table.weighting}"; strategy "{table.strategy}" takes quality, strategy "kdpp" any'
        )
    if table.sampler == "lowrank" and table.weighting in {"quality", "diversity"}:
        problems.append(
            f'selection.sampler is "lowrank" and selection.weighting is "{table.weighting}", which has full rank; '
            "lowrank draws eq3-distance, block draws this"
        )
    if table.draws > 1 and (
        table.strategy != "kdpp" or table.sampler == "lowrank" or table.weighting == "eq3-distance"
    ):
        problems.append(
            f'selection.draws is {table.draws}; several draws are compared for strategy "kdpp" with weighting quality or diversity alone'
        )
    # Decimal fractions add up to a little more than one.
    if table.weighting == "eq3-distance" and table.a + table.b > 1.0 + 1e-9:
        problems.append(
            f'selection.a + selection.b is {table.a + table.b:g}; weighting "eq3-distance" is a kernel up to 1'
        )
    places = 0 if table.quota is None else sum(table.quota.places.values())
    drawn = table.batch - round(max(table.reference_share_first, table.reference_share) * table.batch)
    if places > drawn:
        problems.append(
            f"selection.quota.places: {places} in all; of a batch of {table.batch}, {drawn} are left beside the reference set"
        )
    return problems


def unknown_places(line: "LineConfig") -> list[str]:
    """Name the groups with places that no patch of the line can belong to."""
    quota = line.selection.quota
    if quota is None:
        return []
    if quota.by == "class":
        return [
            f'selection.quota.places: "{name}" is not a class of the line; known classes are {", ".join(line.class_names)}'
            for name in quota.places
            if name not in line.class_names
        ]
    return [
        f'selection.quota.places: "{name}" is not a camera; expected node/camera'
        for name in quota.places
        if name.count("/") != 1
    ]
