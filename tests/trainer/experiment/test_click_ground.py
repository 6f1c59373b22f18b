"""Studies whose labels are clicks: what is asked of a person, what it costs, and what the model is shown of it."""

from pathlib import Path

import numpy as np
import pytest

from shared.console import Console
from shared.errors import ConfigError
from shared.images import encode_image
from tests.trainer.experiment.studies import RECIPE, write_recipe, write_tiny_set
from trainer.acquisition.balance import balanced
from trainer.experiment.click_ground import ClickedPixels, ClickedRegions, ClickLearner
from trainer.experiment.clicks import region_costs
from trainer.experiment.grounds import lay_ground, open_data
from trainer.experiment.learner import Ground, Labelled
from trainer.experiment.pixelpick import dealt
from trainer.experiment.recipe import CEILING, Arm, Recipe, load_recipe
from trainer.experiment.record import RoundRecord, read_rounds
from trainer.experiment.runner import run
from trainer.experiment.segmenting import FittedSegmentation
from trainer.experiment.superpixels import seeds

BOXES = 'kind = "parts"\nrows = 2\ncols = 2\ncontext_px = 4'
HEAD = RECIPE[: RECIPE.index("[[arm]]")]
TOP = '[[arm]]\nname = "top"\nstrategy = "top"\n'
REGIONS = (HEAD + TOP).replace(BOXES, 'kind = "superpixels"\nside_px = 8').replace('"top"\ncell', '"mean"\ncell')
OUTLINED = REGIONS.replace("side_px = 8", 'side_px = 8\nanswer = "outline"').replace("= 4\nrounds", "= 30\nrounds")
PIXELS = (
    (HEAD + TOP).replace(BOXES, 'kind = "pixels"').replace("first = 4\nper_round = 4", "first = 20\nper_round = 20")
)


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    return write_tiny_set(tmp_path / "sets")


def quiet(_done: int, _total: int) -> None:
    pass


def laid(sets: Path, text: str) -> tuple[Recipe, Ground]:
    recipe = load_recipe(write_recipe(sets.parent, text))
    return recipe, lay_ground(recipe, open_data(recipe, sets, work=sets), step=quiet)


def hold(sets: Path, text: str) -> Path:
    recipe, out = write_recipe(sets.parent, text), sets.parent / "out"
    run(recipe, data=sets, out=out, seeds=None, jobs=1, console=Console(as_json=True))
    return out / "boxes" / "seed-0"


def fitted(ground: Ground, units: list[int]) -> FittedSegmentation:
    found = ground.learner("top").fit(Labelled(units, 0), seed=3, step=quiet)
    assert isinstance(found, FittedSegmentation)
    return found


def test_the_uncertain_regions_of_a_study_are_the_tops_of_their_own_means(sets: Path) -> None:
    recipe, ground = laid(sets, REGIONS)
    clicked, model = ground.clicked, fitted(ground, [0, 20, 40, 60])
    assert isinstance(clicked, ClickedRegions)
    known = np.array([0, 20, 40, 60])

    chosen = clicked.choose(recipe.named("top"), model, known, 6, rng=np.random.default_rng(1), step=quiet)

    # A region's score by hand: the mean over the pixels that hold its number, image by image.
    means = []
    for place, uncertainty, _ in model.maps(step=quiet):
        labels = seeds(clicked.pictures.parts["train"].images[place], side_px=8).labels
        means += [float(uncertainty[labels == region].mean()) for region in range(int(labels.max()) + 1)]
    rest = [unit for unit in range(ground.count) if unit not in known]
    assert len(means) == ground.count
    assert chosen.indices.tolist() == sorted(rest, key=lambda unit: -means[unit])[:6]
    assert chosen.clicks == 6


def test_balanced_scores_are_weighed_by_the_classes_of_the_pool(sets: Path) -> None:
    recipe, ground = laid(sets, REGIONS.replace("cell_px", "class_balanced = true\ncell_px"))
    clicked, model = ground.clicked, fitted(ground, [0, 20, 40, 60])
    assert isinstance(clicked, ClickedRegions)
    known = np.array([0, 20, 40, 60])

    chosen = clicked.choose(recipe.named("top"), model, known, 20, rng=np.random.default_rng(1), step=quiet)

    scores, predicted = [], []
    for place, uncertainty, seen in model.maps(step=quiet):
        labels = seeds(clicked.pictures.parts["train"].images[place], side_px=8).labels
        for region in range(int(labels.max()) + 1):
            scores.append(float(uncertainty[labels == region].mean()))
            predicted.append(int(np.bincount(seen[labels == region]).argmax()))
    rest = np.setdiff1d(np.arange(ground.count), known)
    weighed = balanced(np.array(scores)[rest], np.array(predicted)[rest], classes=3)
    assert chosen.indices.tolist() == rest[np.argsort(-weighed, kind="stable")[:20]].tolist()


@pytest.mark.parametrize("text", [REGIONS, OUTLINED], ids=["class", "outline"])
def test_a_study_of_regions_spends_its_clicks_and_never_asks_twice(text: str, sets: Path) -> None:
    text = text.replace("per_round = 30", "per_round = 40").replace("rounds = 2", "rounds = 4")
    # Truth that no edge of an image follows: most regions are of several classes, and cost as many clicks.
    for number, path in enumerate(sorted((sets / "tiny" / "masks").iterdir())):
        blocks = np.random.default_rng(number).integers(0, 3, (6, 6), dtype=np.uint8)
        path.write_bytes(encode_image(np.kron(blocks, np.ones((6, 6), dtype=np.uint8))[:32, :32]))
    folder = hold(sets, text)
    recipe, ground = laid(sets, text)
    clicked = ground.clicked
    assert isinstance(clicked, ClickedRegions)
    beyond = []

    for arm in ("random", "top"):
        records = read_rounds(folder / f"{arm}.jsonl")
        units = [unit for record in records for unit in record.picks.units]
        assert len(set(units)) == len(units)
        spent = 0
        for number, record in enumerate(records, start=1):
            costs = cost_by_hand(clicked, recipe, record.picks.units)
            left = record.labels - spent
            # A batch is the shortest that reaches what is left of the budget so far.
            assert sum(costs[:-1]) < left <= sum(costs)
            assert record.picks.clicks == sum(costs)
            assert record.labels == sum(recipe.schedule.additions()[:number])
            spent += sum(costs)
            beyond.append(spent - record.labels)
    # One click a region ends where it should; outlines do not, and the rounds after pay for it.
    assert (max(beyond) > 0) == (recipe.unit.answer == "outline")


def cost_by_hand(clicked: ClickedRegions, recipe: Recipe, units: tuple[int, ...]) -> list[int]:
    rule, part = clicked.rule, clicked.pictures.parts["train"]
    costs = np.concatenate(
        [
            region_costs(rule.cost, seeds(image, side_px=recipe.unit.side_px or 0), mask)
            for image, mask in zip(part.images, part.masks, strict=True)
        ]
    )
    return costs[list(units)].tolist()


def test_what_was_answered_is_all_that_is_learned_and_the_ceiling_learns_full_masks(sets: Path) -> None:
    _, ground = laid(sets, REGIONS)
    learner, ceiling = ground.learner("top"), ground.learner(CEILING)
    assert isinstance(learner, ClickLearner)
    assert isinstance(ceiling, ClickLearner)

    images, masks = learner.samples([0, 1])
    _, everything = ceiling.samples(range(ground.count))

    assert len(images) == 1
    assert int((masks != 255).sum()) == ground.pixels([0, 1]) < 32 * 32
    assert np.array_equal(everything, learner.pictures.parts["train"].masks)


def test_each_image_gets_its_share_of_the_pixels(sets: Path) -> None:
    # 20 clicks over 8 images: two each, and four images one more.
    folder = hold(sets, PIXELS)
    _, ground = laid(sets, PIXELS)
    clicked, learner = ground.clicked, ground.learner("top")
    assert isinstance(clicked, ClickedPixels)
    assert isinstance(learner, ClickLearner)

    for arm in ("random", "top"):
        records = read_rounds(folder / f"{arm}.jsonl")
        for record in records:
            shares = np.bincount(np.array(record.picks.units) // (32 * 32), minlength=8)
            assert sorted(shares.tolist()) == [2, 2, 2, 2, 3, 3, 3, 3]
        units = [unit for record in records for unit in record.picks.units]
        assert len(set(units)) == 40
        _, masks = learner.samples(units)
        truth = learner.pictures.parts["train"].masks.ravel()
        assert int((masks != 255).sum()) == 40 == records[-1].labels
        assert masks.ravel()[units].tolist() == truth[units].tolist()


def test_the_pixels_of_an_arm_are_picked_by_its_own_rule(sets: Path) -> None:
    recipe, ground = laid(sets, PIXELS + "pixels = { distance_px = 6 }\n")
    clicked, model = ground.clicked, fitted(ground, list(range(0, 8192, 200)))
    assert isinstance(clicked, ClickedPixels)

    chosen = clicked.choose(
        recipe.named("top"), model, np.array([0]), 24, rng=np.random.default_rng(1), step=quiet
    ).indices

    # The top three of each image apart from each other: the first is the most uncertain pixel of all.
    for place, uncertainty, _ in model.maps(step=quiet):
        mine = chosen[chosen // 1024 == place] % 1024
        at = np.stack(np.divmod(mine, 32), axis=1)
        away = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1))
        assert len(mine) == 3
        assert away[~np.eye(3, dtype=np.bool_)].min() >= 6
        assert uncertainty.ravel()[mine[0]] == pytest.approx(uncertainty.ravel()[int(place == 0) :].max())


@pytest.mark.parametrize("text", [OUTLINED, PIXELS], ids=["regions", "pixels"])
def test_a_study_of_clicks_goes_on_as_it_would_have(text: str, sets: Path) -> None:
    folder = hold(sets, text.replace("rounds = 2", "rounds = 3"))
    path = folder / "top.jsonl"
    whole = read_rounds(path)
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])

    hold(sets, text.replace("rounds = 2", "rounds = 3"))

    assert [chosen(record) for record in read_rounds(path)] == [chosen(record) for record in whole]


def chosen(record: RoundRecord) -> tuple[tuple[int, ...], int | None, float]:
    return record.picks.units, record.picks.clicks, record.value


def test_a_budget_that_is_spent_beyond_its_end_chooses_nothing(sets: Path) -> None:
    _, ground = laid(sets, OUTLINED)
    clicked, model = ground.clicked, fitted(ground, [0])
    assert clicked is not None

    nothing = clicked.choose(
        Arm(name="top", strategy="top"), model, np.array([0]), -3, rng=np.random.default_rng(0), step=quiet
    )

    assert (len(nothing.indices), nothing.clicks) == (0, 0)
    assert "-3 clicks left" in nothing.notes[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (REGIONS.replace('strategy = "top"', 'strategy = "kdpp"'), 'arm "top": strategy "kdpp" with unit.kind'),
        (REGIONS.replace('"mean"', '"count"'), 'aggregation "count" with unit.kind "superpixels"; regions take mean'),
        (REGIONS + 'probe = "inverse"\n', 'arm "top": probe "inverse" with unit.kind "superpixels"'),
        (REGIONS + "pixels = { top_share = 0.1 }\n", 'pixels is set and unit.kind "superpixels"'),
        (PIXELS + "pixels = { top_share = 0.1, distance_px = 3 }\n", "expected one of them"),
        (PIXELS.replace("cell_px", "class_balanced = true\ncell_px"), 'class_balanced is true and unit.kind "pixels"'),
        (PIXELS.replace("seeds = [0]", 'seeds = [0]\nstart = "kdpp"'), 'start "kdpp" with unit.kind "pixels"'),
        (REGIONS.replace("side_px = 8", "side_px = 8\ncontext_px = 4"), "a full image has no margin"),
        (PIXELS.replace('kind = "pixels"', 'kind = "pixels"\nanswer = "outline"'), "superpixels are outlined"),
    ],
)
def test_what_does_not_go_with_clicks_is_refused(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(write_recipe(tmp_path, text))

    assert told in str(caught.value)


@pytest.mark.parametrize("text", [REGIONS, PIXELS], ids=["regions", "pixels"])
def test_an_encoder_that_would_begin_with_the_space_is_refused_where_there_are_no_patches(
    text: str, sets: Path
) -> None:
    text = text.replace('source = "untrained"', 'source = "simclr"').replace(
        "threads = 1", 'threads = 1\nencoder_from = "space"'
    )

    with pytest.raises(ConfigError, match=r'learning\.encoder_from of top is "space" with unit\.kind'):
        load_recipe(write_recipe(sets.parent, text))


def test_a_training_of_clicks_may_end_early_by_the_val_split(sets: Path) -> None:
    _, ground = laid(sets, PIXELS.replace("threads = 1", "threads = 1\nstop_patience = 2"))

    learner = ground.learner("top")

    assert isinstance(learner, ClickLearner)
    assert learner.watched is not None
    assert len(learner.watched.images) == 2
    assert ground.learner(CEILING).watched is learner.watched


def test_an_image_of_which_nothing_is_known_is_not_asked_about_and_leaves_its_clicks_to_others(sets: Path) -> None:
    names = sorted(path.name for path in (sets / "tiny" / "masks").iterdir())
    for name in names:
        if name not in {"a1.png", "a2.png", "a10.png", "a11.png"}:
            (sets / "tiny" / "masks" / name).write_bytes(encode_image(np.full((32, 32), 255, dtype=np.uint8)))

    folder = hold(sets, PIXELS)

    clicked = laid(sets, PIXELS)[1].clicked
    assert isinstance(clicked, ClickedPixels)
    truth = clicked.pictures.parts["train"].masks
    for arm in ("random", "top"):
        units = np.array([unit for record in read_rounds(folder / f"{arm}.jsonl") for unit in record.picks.units])
        assert len(units) == 40
        places, inside = np.divmod(units, 32 * 32)
        assert (truth.reshape(8, -1)[places, inside] != 255).all()
        assert np.bincount(places, minlength=8).max() == 20


@pytest.mark.parametrize(
    ("clicks", "room", "dealt_to"),
    [
        (9, [9, 9, 9], [3, 3, 3]),
        (9, [1, 9, 9], [1, 4, 4]),
        (9, [0, 0, 4], [0, 0, 4]),
        (0, [3], [0]),
        (5, [0, 0], [0, 0]),
    ],
)
def test_clicks_are_dealt_alike_as_far_as_there_is_room(clicks: int, room: list[int], dealt_to: list[int]) -> None:
    assert dealt(clicks, np.array(room), rng=np.random.default_rng(1)).tolist() == dealt_to


def test_odd_clicks_are_dealt_by_lot() -> None:
    counts = np.array([dealt(4, np.array([9, 9, 9]), rng=np.random.default_rng(seed)) for seed in range(300)])

    assert (counts.sum(axis=1) == 4).all()
    # Each of three images gets the odd one in a third of the draws: 100, and 4 standard deviations are 33.
    assert np.abs((counts == 2).sum(axis=0) - 100).max() < 33
