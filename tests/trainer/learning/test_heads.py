"""Heads over one trunk: a committee that learns, stands in the task graph, and comes back from disk."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from shared.config import LearningTable
from shared.errors import ConfigError
from shared.geometry import PatchGrid
from trainer.acquisition.members import Heads
from trainer.acquisition.scoring import MaskGraph, TaskGraph
from trainer.learning.evaluate import evaluate
from trainer.learning.heads import HIDDEN, HeadedNetwork
from trainer.learning.loop import TrainReport, train
from trainer.learning.loss import class_weights, supervised_loss
from trainer.learning.metrics import miou
from trainer.learning.model import EveryHead, TaskModel, build_model
from trainer.learning.objective import Objective, parameter_groups
from trainer.learning.regulariser import regulariser
from trainer.learning.weights import RunRecord, load_run, save_run, to_bytes
from trainer.release.graph import export_mask

COMPACT = LearningTable(
    architecture="compact", encoder="compact-8-16", steps=40, minibatch=8, learning_rate=1e-2, threads=1
)
UNET = LearningTable(encoder="tu-test_resnet", decoder_channels=(16, 16, 8, 8))
DEEPLAB = LearningTable(architecture="deeplabv3plus", encoder="tu-test_resnet")


def headed(settings: LearningTable = COMPACT, *, heads: int = 4, beta: float = 1e-4, seed: int = 1) -> TaskModel:
    return build_model(settings, classes=3, channels=1, seed=seed, heads=heads, beta=beta)


def network(model: TaskModel) -> HeadedNetwork:
    assert isinstance(model.network, HeadedNetwork)
    return model.network


def blobs(n: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Dark and bright squares on grey."""
    rng = np.random.default_rng(seed)
    crops = rng.normal(128, 6, size=(n, 32, 32, 1))
    masks = np.zeros((n, 32, 32), dtype=np.uint8)
    for index in range(n):
        y, x, kind = (*rng.integers(0, 20, size=2), 1 + index % 2)
        crops[index, y : y + 12, x : x + 12] += 60 if kind == 1 else -60
        masks[index, y : y + 12, x : x + 12] = kind
    return crops.clip(0, 255).astype(np.uint8), masks


def learn(model: TaskModel, *, settings: LearningTable = COMPACT) -> TrainReport:
    return train(model, *blobs(16, 1), settings, classes=3, seed=1, step=lambda _done, _total: None)


@pytest.mark.parametrize("settings", [COMPACT, UNET, DEEPLAB], ids=["compact", "unet", "deeplab"])
def test_a_model_says_the_log_of_its_members_mean(settings: LearningTable) -> None:
    model = headed(settings, heads=5).eval()
    pixels = torch.randint(0, 256, (2, 1, 64, 96), dtype=torch.uint8)

    with torch.inference_mode():
        said = model(pixels)
        members = list(Heads(EveryHead(model))(pixels))

    assert len(members) == 5
    assert said.shape == (2, 3, 64, 96)
    torch.testing.assert_close(torch.softmax(said, dim=1), torch.stack(members).mean(dim=0))
    torch.testing.assert_close(said.exp().sum(dim=1), torch.ones(2, 64, 96))


@pytest.mark.parametrize("settings", [COMPACT, UNET], ids=["compact", "unet"])
def test_a_window_s_members_are_those_of_the_whole_image(settings: LearningTable) -> None:
    model = headed(settings).eval()
    pixels = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)

    with torch.inference_mode():
        inside = EveryHead(model)(pixels, (16, 48, 8, 64))
        torch.testing.assert_close(inside, EveryHead(model)(pixels)[:, :, :, 16:48, 8:64])


def test_each_member_is_its_own_two_convolutions() -> None:
    model = headed(heads=4).eval()
    features = torch.rand(2, 8, 6, 6)
    heads = network(model).heads

    with torch.inference_mode():
        together = network(model).network.head(features)

        for number, head in enumerate(heads):
            first, second = head[0], head[2]
            assert first.weight.shape == (HIDDEN, 8, 1, 1)
            hidden = torch.einsum("oi,nihw->nohw", first.weight[:, :, 0, 0], features) + first.bias[:, None, None]
            own = torch.einsum("oi,nihw->nohw", second.weight[:, :, 0, 0], hidden.clamp(min=0))
            torch.testing.assert_close(together[:, 48 * number : 48 * (number + 1)], own + second.bias[:, None, None])


def test_every_head_is_as_sure_as_the_temperature_lets_the_model_be() -> None:
    model = headed().eval()
    pixels = torch.rand(2, 1, 32, 32) * 255
    raw = EveryHead(model)(pixels)

    model.temperature = 2.5

    torch.testing.assert_close(EveryHead(model)(pixels), raw / 2.5)


def test_members_begin_apart_and_follow_from_the_seed() -> None:
    first, again, other = headed(), headed(), headed(seed=2)

    assert to_bytes(first) == to_bytes(again)
    assert to_bytes(first) != to_bytes(other)
    weights = [head[0].weight for head in network(first).heads]
    assert all(not torch.equal(weights[0], weight) for weight in weights[1:])


def test_the_objective_is_the_sum_of_the_members_losses_and_the_weighed_regulariser() -> None:
    model = headed(heads=4, beta=1e-2).eval()
    crops, masks = blobs(4, 2)
    masks[:, :8] = 255
    pixels, truth = torch.from_numpy(crops).permute(0, 3, 1, 2), torch.from_numpy(masks)
    weights = class_weights(masks, classes=3)

    total, told = Objective(model, (4, 32, 0, 32), weights)(pixels, truth)

    each = [supervised_loss(logits, truth, torch.from_numpy(weights)) for logits in EveryHead(model)(pixels).unbind(0)]
    penalty = regulariser(list(network(model).heads))
    torch.testing.assert_close(total, sum(each) + 1e-2 * penalty)
    torch.testing.assert_close(told, sum(each) / 4)


def test_only_heads_carry_the_regulariser_and_only_they_do_without_weight_decay() -> None:
    model = headed()
    heads = {id(parameter) for parameter in network(model).heads.parameters()}

    network(model).penalty().backward()

    assert {id(each) for each in model.parameters() if each.grad is not None} == heads
    trunk, held = parameter_groups(model)
    assert {id(each) for each in held["params"]} == heads
    assert (trunk["weight_decay"], held["weight_decay"]) == (0.01, 0.0)


def test_an_l2_ensemble_has_weight_decay_everywhere_and_no_regulariser() -> None:
    model = headed(heads=2, beta=0.0).eval()
    crops, masks = blobs(4, 2)
    pixels, truth = torch.from_numpy(crops).permute(0, 3, 1, 2), torch.from_numpy(masks)

    total, told = Objective(model, (0, 32, 0, 32), class_weights(masks, classes=3))(pixels, truth)

    (group,) = parameter_groups(model)
    assert len(group["params"]) == len(list(model.parameters()))
    torch.testing.assert_close(total, 2 * told)


def test_the_regulariser_keeps_trained_members_further_apart() -> None:
    probabilistic, plain = headed(heads=4, beta=1e-3), headed(heads=4, beta=0.0)

    learn(probabilistic)
    learn(plain)

    with torch.no_grad():
        assert float(network(probabilistic).penalty()) < float(network(plain).penalty())


@pytest.mark.parametrize("beta", [0.0, 1e-4])
def test_heads_learn_to_find_squares(beta: float) -> None:
    model = headed(beta=beta)
    crops, masks = blobs(12, 2)

    report = learn(model)

    assert report.losses[-1] < report.losses[0] / 4
    assert miou(evaluate(model, crops, masks, classes=3).sum(axis=0)) > 0.7


def test_a_task_graph_scores_with_the_members_mean() -> None:
    model = headed(heads=4).eval()
    grid = PatchGrid(tile_px=64, patch_px=32, margin_px=16, cell_px=8)
    tiles = torch.randint(0, 256, (2, 64, 64, 1), dtype=torch.uint8)

    with torch.inference_mode():
        _, mean, _ = TaskGraph(model, grid, top_share=1.0)(tiles)
        shares = torch.stack(list(Heads(EveryHead(model))(tiles.permute(0, 3, 1, 2)))).mean(dim=0)

    entropy = -(shares * shares.log()).sum(dim=1)[:, 16:48, 16:48].mean(dim=(1, 2)) / np.log(3)
    torch.testing.assert_close(mean.flatten(), entropy, rtol=1e-4, atol=1e-5)


def test_a_run_with_heads_comes_back(tmp_path: Path) -> None:
    model = headed(heads=4, beta=1e-5).eval()
    model.temperature = 1.7
    record = RunRecord(
        run="r-1",
        line="steel",
        round=1,
        snapshot="ab",
        samples=1,
        seed=1,
        classes=("a", "b", "c"),
        channels=1,
        learning=COMPACT,
        heads=4,
        beta=1e-5,
        temperature=1.7,
    )
    pixels = torch.rand(2, 1, 32, 32) * 255

    save_run(tmp_path, model, record)
    loaded, _ = load_run(tmp_path)

    assert network(loaded).beta == 1e-5
    with torch.inference_mode():
        assert torch.equal(loaded(pixels), model(pixels))


@pytest.mark.parametrize(
    ("heads", "beta", "message"),
    [
        (3, 1e-4, "3 members with beta 0.0001; expected at least 4"),
        (1, 0.0, "1 members with beta 0; expected at least 2"),
        (8, -1.0, "8 members with beta -1"),
        (8, float("nan"), "8 members with beta nan"),
    ],
)
def test_too_few_members_and_a_beta_that_pulls_apart_are_refused(heads: int, beta: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        headed(heads=heads, beta=beta)


def test_a_model_of_one_head_is_no_committee() -> None:
    with pytest.raises(ConfigError, match="CompactNet has one; build the model with several heads"):
        EveryHead(build_model(COMPACT, classes=3, channels=1, seed=1))


@pytest.mark.slow
def test_heads_stand_in_the_exported_task_graph() -> None:
    model = headed(heads=4).eval()
    model.temperature = 1.5
    grid = PatchGrid(tile_px=64, patch_px=32, margin_px=16, cell_px=8)
    tiles = np.random.default_rng(1).integers(0, 256, size=(3, 64, 64, 1), dtype=np.uint8)

    scorer = MaskGraph(model, grid, top_share=0.25)
    graph = export_mask(scorer, grid, line="steel", release="steel-1", classes=("a", "b", "c"))
    found = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, {"tiles": tiles})

    with torch.inference_mode():
        expected = scorer(torch.from_numpy(tiles))
    for own, wanted in zip(found[:3], expected[:3], strict=True):
        np.testing.assert_allclose(own, wanted.numpy(), atol=1e-5)
    assert (found[3] == expected[3].numpy()).mean() > 0.999
