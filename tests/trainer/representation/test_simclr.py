"""SimCLR: the loss by a second formula, views that keep a patch a patch."""

import math

import pytest
import torch

from trainer.representation.simclr import nt_xent, view


def naive(first: torch.Tensor, second: torch.Tensor, temperature: float) -> float:
    """NT-Xent as the paper writes it, one pair at a time."""
    rows = torch.cat([first, second]).double()
    n = len(first)
    total = 0.0
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        likeness = [
            math.exp(float(torch.cosine_similarity(rows[i], rows[k], dim=0)) / temperature) for k in range(2 * n)
        ]
        total += -math.log(likeness[j] / (sum(likeness) - likeness[i]))
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_the_loss_agrees_with_the_paper_s_formula(temperature: float) -> None:
    generator = torch.Generator().manual_seed(1)
    first, second = (torch.randn(7, 5, generator=generator) for _ in range(2))

    found = float(nt_xent(first, second, temperature=temperature))

    assert found == pytest.approx(naive(first, second, temperature), rel=1e-5)


def test_pairs_that_agree_cost_less_than_pairs_that_do_not() -> None:
    rows = torch.eye(6)

    assert nt_xent(rows, rows, temperature=0.2) < nt_xent(rows, rows.roll(1, 0), temperature=0.2)


def test_the_loss_sees_directions_only() -> None:
    generator = torch.Generator().manual_seed(2)
    first, second = (torch.randn(4, 3, generator=generator) for _ in range(2))

    torch.testing.assert_close(
        nt_xent(5 * first, 0.1 * second, temperature=0.3), nt_xent(first, second, temperature=0.3)
    )


def test_two_views_of_a_patch_differ_and_stay_near_it() -> None:
    patches = torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(3)) * 100 + 80
    generator = torch.Generator().manual_seed(4)

    first, second = view(patches, generator), view(patches, generator)

    assert first.shape == patches.shape
    assert not torch.equal(first, second)
    # Brightness may move by ten grey levels, a small crop changes the mean of noise little.
    assert (first.mean(dim=(1, 2, 3)) - patches.mean(dim=(1, 2, 3))).abs().max() < 20


def test_views_follow_from_the_generator() -> None:
    patches = torch.rand(3, 1, 16, 16) * 255

    first, second = (view(patches, torch.Generator().manual_seed(5)) for _ in range(2))

    assert torch.equal(first, second)


def test_a_bright_spot_is_in_nearly_every_view_of_its_patch() -> None:
    """A crop that loses the defect would teach that a defect is like no defect."""
    patches = torch.full((200, 1, 64, 64), 100.0)
    patches[:, :, 28:36, 28:36] = 250.0

    views = view(patches, torch.Generator().manual_seed(6))

    assert (views.amax(dim=(1, 2, 3)) > 190).float().mean() > 0.99
