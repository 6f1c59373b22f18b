"""The demo's own site."""

from pathlib import Path

import pytest

from deploy.demo.profile import Profile, child_environment, class_names, quick, write_files
from shared.config import load_agent, load_site
from shared.simulated import simulated_camera


@pytest.mark.parametrize("profile", [Profile(seed=3, rounds=7), quick(3)])
def test_the_files_say_what_the_profile_says(profile: Profile, tmp_path: Path) -> None:
    files = write_files(profile, tmp_path, broker_port=1234, http_port=2345)

    site, lines = load_site(files.site)
    line = lines["steel"]
    assert (site.broker.port, site.trainer.http_port) == (1234, 2345)
    assert (line.rounds.max_rounds, line.selection.batch, line.learning.steps) == (
        profile.rounds,
        profile.batch,
        profile.learning_steps,
    )
    assert line.simulator is not None
    assert (line.rounds.seed, line.simulator.seed) == (profile.seed, profile.seed)
    assert line.class_names == ("background", *class_names())
    agents = {name: load_agent(path)[0] for name, path in files.agents.items()}
    assert [agent.node for agent in agents.values()] == list(profile.nodes)
    assert {agent.releases_url for agent in agents.values()} == {"http://127.0.0.1:2345"}


def test_the_demo_is_small_and_its_classes_have_a_long_tail(tmp_path: Path) -> None:
    files = write_files(Profile(seed=3), tmp_path, broker_port=1234, http_port=2345)
    line = load_site(files.site)[1]["steel"]

    rates = list(simulated_camera(line, node="press-01", camera="top").rates.values())

    assert line.geometry.tile_px <= 192
    assert len(class_names()) >= 6
    assert rates == sorted(rates, reverse=True)
    assert rates[0] >= 10 * rates[-1]


def test_every_child_computes_with_one_thread() -> None:
    environment = child_environment({"PATH": "/bin", "OMP_NUM_THREADS": "64"})

    assert environment["PATH"] == "/bin"
    assert environment["OMP_NUM_THREADS"] == "1"
