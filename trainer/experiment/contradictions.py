"""Contradictions between the tables of a recipe that are each right by themselves, in words."""

from typing import TYPE_CHECKING

from shared.errors import ConfigError

if TYPE_CHECKING:
    from trainer.experiment.recipe import Recipe


def recipe_contradictions(recipe: "Recipe") -> list[str]:
    """Say what in a recipe does not go together."""
    problems: list[str] = []
    if len(set(recipe.seeds)) < len(recipe.seeds) or not recipe.seeds:
        problems.append(f"seeds: {list(recipe.seeds)}; expected different ones, at least one")
    if recipe.ceiling_steps is not None and recipe.ceiling_steps < recipe.learning.steps:
        problems.append(
            f"ceiling_steps: {recipe.ceiling_steps}, a round takes {recipe.learning.steps}; all labels must not be learned in less"
        )
    if recipe.start == "kdpp" and recipe.space.source == "task":
        problems.append(
            'start "kdpp" with space.source "task": that encoder learns from the start set; name another source'
        )
    names = {arm.name for arm in recipe.arms}
    problems += [
        f"rows.{row}: no arm is named {', '.join(sorted(unknown))}; arms are {', '.join(sorted(names))}"
        for row in recipe.rows
        if (unknown := {*recipe.speakers(row)} - names)
    ]
    return [
        *problems,
        *_encoder_problems(recipe),
        *_probe_problems(recipe),
        *_click_problems(recipe),
        *_informative_problems(recipe),
    ]


def _encoder_problems(recipe: "Recipe") -> list[str]:
    """Name the models whose encoder cannot begin with what the space learned."""
    space = recipe.space
    return [
        f'learning.encoder_from of {name} is "space", its encoder "{recipe.learning_of(name).encoder}", but space.source is "{space.source}" with "{space.encoder}"; it takes simclr with the same encoder'
        for name in sorted(recipe.learners)
        if recipe.learning_of(name).encoder_from == "space"
        and (space.source != "simclr" or space.encoder != recipe.learning_of(name).encoder)
    ]


def _probe_problems(recipe: "Recipe") -> list[str]:
    """Name the probes that go by another strategy than the ranking, which is all that they turn round or judge."""
    return [
        f'arm "{arm.name}": probe "{arm.probe}" with strategy "{arm.strategy}"; a probe goes with top'
        for arm in recipe.arms
        if arm.probe is not None and arm.strategy != "top"
    ]


def _informative_problems(recipe: "Recipe") -> list[str]:
    """Name the arms of MEAL whose rounds leave nothing to explore: all that is informative would come in."""
    try:
        largest = max(recipe.schedule.additions()[1:], default=0)
    except ConfigError:
        return []  # told as the schedule's own fault
    return [
        f'arm "{arm.name}": informative {arm.informative} and rounds of up to {largest}; {arm.strategy} chooses among the informative, give it more than a round'
        for arm in recipe.arms
        if arm.strategy in {"meal", "meal-ft"} and arm.informative <= largest
    ]


def _click_problems(recipe: "Recipe") -> list[str]:
    """Say what does not go with labels that are clicks, and what goes with nothing else."""
    kind, asked = recipe.unit.kind, [recipe.acquisition_of(arm.name) for arm in recipe.arms]
    problems = []
    if kind != "superpixels" and any(table.class_balanced for table in asked):
        problems.append(f'acquisition.class_balanced is true and unit.kind "{kind}"; superpixels are balanced')
    if kind != "pixels":
        problems += [f'arm "{arm.name}": pixels is set and unit.kind "{kind}"' for arm in recipe.arms if arm.pixels]
    if not recipe.unit.clicked:
        return problems
    here = f'unit.kind "{kind}"'
    problems += [
        f'learning.encoder_from of {name} is "space" with {here}, which has no patches that a space could learn from; leave it away'
        for name in sorted(recipe.learners)
        if recipe.learning_of(name).encoder_from == "space"
    ]
    if recipe.start != "random":
        problems.append(f'start "{recipe.start}" with {here}, which has no embeddings; the start set is drawn by lot')
    for arm, table in zip(recipe.arms, asked, strict=True):
        if arm.strategy not in {"random", "top"} or arm.probe is not None:
            how = f'strategy "{arm.strategy}"' if arm.probe is None else f'probe "{arm.probe}"'
            problems.append(f'arm "{arm.name}": {how} with {here}; known are random and top, without a probe')
        if kind == "superpixels" and arm.strategy == "top" and table.aggregation != "mean":
            problems.append(f'arm "{arm.name}": aggregation "{table.aggregation}" with {here}; regions take mean')
    return problems
