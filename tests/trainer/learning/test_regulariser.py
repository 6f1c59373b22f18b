"""The KL regulariser: the paper's formula by a double loop, and what its gradient does to the members."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from shared.errors import ConfigError
from trainer.learning.regulariser import FLOOR, Prior, divergence, draw_from_prior, prior, regulariser

PRIOR = Prior(0.0, 0.04)


def layers() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 3, (3, 5)),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 4),
        nn.Linear(4, 2, bias=False),
    )


def members(count: int) -> list[nn.Sequential]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return [layers() for _ in range(count)]


def test_it_is_the_sum_over_parameters_that_the_paper_writes() -> None:
    """Eq. 7 for convolutions and linear layers; Eq. 6 without constants, with the paper's priors, for norms and biases."""
    ensemble = members(5)
    # Means and variances of the prior by hand: 2 / (n_o w h) for weights.
    priors = {
        "0.weight": (0.0, 2 / (3 * 15)),
        "0.bias": (0.0, 0.01),
        "1.weight": (1.0, 0.01),
        "1.bias": (0.0, 0.01),
        "4.weight": (0.0, 2 / 4),
        "4.bias": (0.0, 0.01),
        "5.weight": (0.0, 2 / 2),
    }
    with torch.no_grad():
        for member in ensemble:
            for parameter in member.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))

    found = float(regulariser(ensemble).detach())

    expected = 0.0
    for name, (mean, variance) in priors.items():
        values = np.stack([dict(member.named_parameters())[name].detach().double().numpy() for member in ensemble])
        for own in values.reshape(5, -1).T:
            spread = sum((value - own.mean()) ** 2 for value in own) / 5 + FLOOR * variance
            expected += math.log(spread) + variance / spread + (own.mean() - mean) ** 2 / spread
    assert found == pytest.approx(expected, rel=1e-4)


def test_it_is_the_gaussians_divergence_up_to_a_constant() -> None:
    """Twice the divergence of the prior from the members' Gaussian, as torch has it."""
    generator = torch.Generator().manual_seed(1)
    values = 0.2 * torch.randn(6, 50, generator=generator, dtype=torch.float64) + 0.1
    fitted = torch.distributions.Normal(
        values.mean(dim=0), (values.var(dim=0, correction=0) + FLOOR * PRIOR.variance).sqrt()
    )
    wanted = torch.distributions.Normal(torch.tensor(PRIOR.mean).double(), math.sqrt(PRIOR.variance))

    found = divergence(values, PRIOR)

    constant = 50 * (1 + math.log(PRIOR.variance))
    expected = 2 * torch.distributions.kl_divergence(wanted, fitted).sum() + constant
    assert float(found) == pytest.approx(float(expected), rel=1e-9)


def test_members_that_came_together_grow_apart_to_the_prior_s_spread_and_mean() -> None:
    generator = torch.Generator().manual_seed(1)
    values = (0.5 + 1e-4 * torch.randn(8, 40, generator=generator)).requires_grad_()
    optimizer = torch.optim.LBFGS([values], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        found = divergence(values, PRIOR)
        found.backward()
        return found

    optimizer.step(closure)

    spread = values.detach().var(dim=0, correction=0)
    torch.testing.assert_close(spread, torch.full((40,), PRIOR.variance), rtol=0.02, atol=0)
    torch.testing.assert_close(values.detach().mean(dim=0), torch.zeros(40), rtol=0, atol=0.01)


def test_members_that_ran_apart_come_back() -> None:
    generator = torch.Generator().manual_seed(1)
    drawn = 3 * torch.randn(8, 40, generator=generator)
    values = (drawn - drawn.mean(dim=0)).requires_grad_()

    divergence(values, PRIOR).backward()
    stepped = values - 0.1 * values.grad

    assert (stepped.var(dim=0) < values.var(dim=0)).all()


def test_equal_members_have_a_finite_gradient() -> None:
    values = torch.full((5, 7), 0.3, requires_grad=True)

    found = divergence(values, PRIOR)
    found.backward()

    assert math.isfinite(float(found.detach()))
    assert values.grad is not None
    assert values.grad.isfinite().all()


@pytest.mark.parametrize("count", [1, 3])
def test_three_members_are_too_few(count: int) -> None:
    with pytest.raises(ConfigError, match=rf"{count} members; the KL regulariser needs at least 4"):
        regulariser(members(count))


def test_a_layer_without_a_prior_is_refused_by_name() -> None:
    module = nn.PReLU()

    with pytest.raises(ConfigError, match=r"PReLU\.weight has no prior"):
        prior(module, "weight", module.weight)


def test_first_parameters_have_the_prior_s_mean_and_spread() -> None:
    wide = nn.Sequential(nn.Conv2d(64, 128, 3), nn.BatchNorm2d(4000))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        draw_from_prior(wide)

    assert float(wide[0].weight.detach().std()) == pytest.approx(math.sqrt(2 / (128 * 9)), rel=0.02)
    assert float(wide[1].weight.detach().mean()) == pytest.approx(1.0, abs=0.01)
    assert float(wide[1].bias.detach().std()) == pytest.approx(0.1, rel=0.05)
