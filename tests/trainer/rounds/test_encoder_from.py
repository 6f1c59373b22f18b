"""A task model whose encoder begins with what the space has learned."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from shared.clock import ManualClock
from shared.config import LineConfig, SpaceTable
from shared.console import Console
from shared.errors import StateError
from shared.identity import sha256_hex
from trainer.paths import TrainerPaths
from trainer.pool.pool import Pool
from trainer.representation.sources import task_encoder
from trainer.representation.space import SpaceRecord, build_space, save_space
from trainer.rounds.training import fit, space_to_start_from
from trainer.rounds.workbench import Workbench

SPACE = SpaceTable(encoder="compact-16-32")


@pytest.fixture
def bench(steel_site: Any) -> Iterator[Workbench]:
    steel_site.set(
        'encoder = "compact-16-32"\nsteps = 20', 'encoder = "compact-16-32"\nencoder_from = "space"\nsteps = 1'
    )
    paths = TrainerPaths(steel_site.directory)
    paths.make()
    with Pool.open(paths.directory) as pool:
        yield Workbench(pool, steel_site.line, paths, ManualClock(), Console(as_json=True), threading.Event())


def trained(line: LineConfig, **begin: Any) -> dict[str, torch.Tensor]:
    """The encoder's parameters after one step too small to see."""
    still = msgspec.structs.replace(line, learning=msgspec.structs.replace(line.learning, learning_rate=1e-12))
    crops = np.random.default_rng(1).integers(0, 256, size=(4, 64, 64, 1), dtype=np.uint8)
    masks = np.tile(np.arange(64, dtype=np.uint8) % 3, (4, 64, 1))
    model, _ = fit(still, crops, masks, seed=3, step=lambda _done, _total: None, **begin)
    return dict(task_encoder(model).named_parameters())


def test_a_new_model_begins_with_the_encoder_of_the_space(bench: Workbench) -> None:
    space = build_space(SPACE, channels=1, seed=9)
    wanted = dict(space.encoder.encoder.named_parameters())

    found, without = trained(bench.line, start=None, space=space), trained(bench.line, start=None)

    assert all(torch.allclose(found[name], value, atol=1e-7) for name, value in wanted.items())
    assert not all(torch.allclose(without[name], value, atol=1e-7) for name, value in wanted.items())


def test_older_weights_go_before_the_space(bench: Workbench) -> None:
    space = build_space(SPACE, channels=1, seed=9)
    older, _ = fit(
        bench.line,
        np.zeros((2, 64, 64, 1), dtype=np.uint8),
        np.zeros((2, 64, 64), dtype=np.uint8),
        seed=4,
        start=None,
        step=lambda _done, _total: None,
    )

    found = trained(bench.line, start=older, space=space)

    assert all(torch.allclose(found[name], value, atol=1e-7) for name, value in task_encoder(older).named_parameters())


def test_the_line_s_space_is_taken_where_the_line_asks_for_it(bench: Workbench) -> None:
    space, graph = build_space(SPACE, channels=1, seed=9), b"a graph"
    record = SpaceRecord(
        id=sha256_hex(graph), dim=space.dim, channels=1, patch_px=32, seed=9, patches=2, settings=SPACE
    )
    save_space(bench.space_folder, space, record, graph)

    taken = space_to_start_from(bench)

    assert taken is not None
    assert all(torch.equal(value, space.state_dict()[name]) for name, value in taken.state_dict().items())
    plain = msgspec.structs.replace(
        bench.line, learning=msgspec.structs.replace(bench.line.learning, encoder_from="nothing")
    )
    assert space_to_start_from(replace(bench, line=plain)) is None


def test_a_space_that_is_not_there_is_refused_with_what_to_do(bench: Workbench) -> None:
    with pytest.raises(
        StateError, match=r'no space is there and learning\.encoder_from is "space"; restore the folder'
    ):
        space_to_start_from(bench)
