"""Sources of embeddings: units around the pool's mean, an id each, and a task model started from a space."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shared.config import LearningTable, SpaceTable
from shared.errors import ConfigError, InputError
from shared.geometry import Image
from trainer.learning.heads import HeadedNetwork
from trainer.learning.model import TaskModel, build_model, normalised
from trainer.learning.weights import to_bytes
from trainer.representation.sources import (
    Source,
    initialise_encoder,
    simclr_source,
    task_source,
    untrained_source,
)
from trainer.representation.space import build_space, settle

SETTINGS = SpaceTable(encoder="compact-8-16")
COMPACT = LearningTable(architecture="compact", encoder="compact-8-16")
UNET = LearningTable(encoder="tu-test_byobnet", decoder_channels=(16, 16, 8, 8))
POOL: Image = np.random.default_rng(1).integers(0, 256, size=(12, 32, 32, 1), dtype=np.uint8)


def model(settings: LearningTable = COMPACT, seed: int = 5) -> TaskModel:
    return build_model(settings, classes=3, channels=1, seed=seed)


SOURCES: dict[str, Callable[[], Source]] = {
    "simclr": lambda: simclr_source(build_space(SETTINGS, channels=1, seed=1), POOL),
    "untrained": lambda: untrained_source(SETTINGS, POOL, seed=2),
    "task": lambda: task_source(model(), POOL),
    "task of the library": lambda: task_source(model(UNET), POOL),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_units_around_the_pool_s_mean(name: str) -> None:
    source = SOURCES[name]()

    rows = source.embed(POOL)

    assert rows.dtype == np.float32
    assert rows.shape == (12, source.module.dim)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    with torch.inference_mode():
        features = source.module.cpu().features(torch.from_numpy(POOL))
    np.testing.assert_allclose(source.module.centre.numpy(), features.mean(dim=0).numpy(), atol=1e-5)
    assert source.embed(POOL[:0]).shape == (0, source.module.dim)


def test_every_source_has_an_id_of_its_own_and_keeps_it() -> None:
    ids = [make().space for make in SOURCES.values()]

    assert len(set(ids)) == len(ids)
    assert all(len(name) == 64 for name in ids)
    assert ids == [make().space for make in SOURCES.values()]


def test_another_pool_makes_another_space() -> None:
    assert untrained_source(SETTINGS, POOL, seed=2).space != untrained_source(SETTINGS, POOL[:6], seed=2).space


def test_one_encoder_has_two_ids_as_two_sources() -> None:
    space = build_space(SETTINGS, channels=1, seed=2)

    trained, untrained = simclr_source(space, POOL), untrained_source(SETTINGS, POOL, seed=2)

    assert np.array_equal(trained.embed(POOL), untrained.embed(POOL))
    assert trained.space != untrained.space


@pytest.mark.parametrize("settings", [COMPACT, UNET], ids=["compact", "library"])
def test_a_task_model_s_features_are_its_deepest_pooled(settings: LearningTable) -> None:
    task = model(settings).eval()

    found = task_source(task, POOL).module.cpu()

    with torch.inference_mode():
        deepest = task.network.encoder(normalised(torch.from_numpy(POOL).permute(0, 3, 1, 2)))[-1]
        features: NDArray[np.float32] = (
            deepest.numpy().reshape(12, -1, deepest.shape[2] * deepest.shape[3]).mean(axis=2)
        )
        np.testing.assert_allclose(found.features(torch.from_numpy(POOL)).numpy(), features, atol=1e-5)


def test_a_headed_network_embeds_as_its_trunk() -> None:
    plain, headed = model(), model()
    headed = TaskModel(HeadedNetwork(headed.network, classes=3, members=2, beta=0.0), classes=3, channels=1)

    assert np.array_equal(task_source(headed, POOL).embed(POOL), task_source(plain, POOL).embed(POOL))


def test_a_source_stays_when_its_model_learns_on() -> None:
    task, space = model().train(), build_space(SETTINGS, channels=1, seed=1)
    sources = [task_source(task, POOL), simclr_source(space, POOL)]
    before = [source.embed(POOL) for source in sources]

    with torch.no_grad():
        for parameter in (*task.parameters(), *space.parameters()):
            parameter.add_(0.1)

    for source, rows in zip(sources, before, strict=True):
        assert np.array_equal(source.embed(POOL), rows)


def test_looking_at_a_model_leaves_it_as_it_was() -> None:
    task = model().train()
    before = to_bytes(task)

    task_source(task, POOL)

    assert task.training
    assert task.network.encoder.training
    assert to_bytes(task) == before
    assert all(parameter.requires_grad for parameter in task.parameters())


@pytest.mark.parametrize("name", ["simclr", "untrained", "task"])
def test_an_empty_pool_has_no_centre(name: str) -> None:
    make: dict[str, Callable[[Image], Source]] = {
        "simclr": lambda pool: simclr_source(build_space(SETTINGS, channels=1, seed=1), pool),
        "untrained": lambda pool: untrained_source(SETTINGS, pool, seed=2),
        "task": lambda pool: task_source(model(), pool),
    }

    with pytest.raises(InputError, match=f"source {name}: the pool is empty"):
        make[name](POOL[:0])


def test_a_model_without_an_encoder_is_refused() -> None:
    bare = TaskModel(torch.nn.Conv2d(1, 3, 1), classes=3, channels=1)

    with pytest.raises(ConfigError, match="Conv2d has no encoder"):
        task_source(bare, POOL)


@pytest.mark.parametrize(
    ("space", "settings"), [(SETTINGS, COMPACT), (SpaceTable(encoder="resnet18"), LearningTable(encoder="resnet18"))]
)
def test_a_task_model_starts_from_the_space_s_encoder(space: SpaceTable, settings: LearningTable) -> None:
    trained, task = build_space(space, channels=1, seed=1), model(settings)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    settle(trained, POOL)

    initialise_encoder(task, trained)

    wanted = trained.encoder.encoder.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in task.network.encoder.state_dict().items())
    assert np.allclose(task_source(task, POOL).embed(POOL), simclr_source(trained, POOL).embed(POOL), atol=1e-5)
    decoder = [name for name in before if not name.startswith("network.encoder.")]
    assert decoder
    assert all(torch.equal(task.state_dict()[name], before[name]) for name in decoder)


@pytest.mark.parametrize(
    ("encoder", "first"),
    [
        ("compact-8-32", "stages.1.0.0.weight: 16 x 8 x 3 x 3 here, 32 x 8 x 3 x 3 in the space"),
        ("compact-8", "stages.1.0.0.weight: 16 x 8 x 3 x 3 here, none in the space"),
        ("resnet18", "here, 64 in the space"),
    ],
)
def test_an_encoder_built_otherwise_is_refused_and_nothing_changed(encoder: str, first: str) -> None:
    space, task = build_space(SpaceTable(encoder=encoder), channels=1, seed=1), model()
    before = to_bytes(task)

    with pytest.raises(ConfigError, match=first):
        initialise_encoder(task, space)

    assert to_bytes(task) == before


def test_an_encoder_for_other_channels_is_refused() -> None:
    space = build_space(SETTINGS, channels=3, seed=1)

    with pytest.raises(ConfigError, match=r"1 of \d+ weights .* stages.0.0.weight: 8 x 1 x 8 x 8 here, 8 x 3 x 8 x 8"):
        initialise_encoder(model(), space)
