"""Hostile messages into the ingest: each is refused, nothing is stored, and memory stays where it was."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from shared import codec, topics
from shared.bus import Connected, matches
from shared.mqtt import MqttBus
from shared.transport import BrokerTable
from tests.conftest import Mosquitto
from tests.faults.accounting import look, violations
from tests.faults.centre import Centre
from tests.faults.conftest import Say
from tests.faults.hostile import KINDS, NODE, TOPIC
from tests.faults.nursery import Nursery
from tests.faults.plant import SITE, candidate_of, wait_until, write_site

#: Beyond what the process has when it begins: a bomb that goes off needs far more.
ROOM_BYTES: Final = 256 << 20


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    modules = ("tests.faults.lives", "tests.faults.hostile", "trainer.pool.ingest")
    with Nursery.opened(tmp_path_factory.mktemp("logs"), *modules) as opened:
        yield opened


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_hostile_messages_are_refused_one_by_one(tmp_path: Path, nursery: Nursery, say: Say, count: int) -> None:
    seed = 1
    site_toml = write_site(tmp_path / "centre", port=1)

    life = nursery.bear("tests.faults.lives:ingest", str(site_toml), str(seed), str(count), str(ROOM_BYTES), log="log")
    said = life.stdout.read()
    status = life.wait()

    log = (nursery.logs / "log").read_text(encoding="utf-8")
    assert status == 0, f"seed={seed}: the ingest ended with {status}: {log[-2000:]}"
    report = json.loads(said)
    found = look([], site_toml.parent / "trainer")
    wrong = violations(found, accepted=set(), offered=set())
    say(
        f"hostile payloads: seed={seed}, {report['sent']} sent, {sum(report['refused'].values())} refused "
        f"({report['refused']}), {len(found.pool)} stored, {report['grown_bytes'] >> 20} MiB more memory"
    )
    assert (report["let_in"], wrong) == ({}, []), f"seed={seed}"
    assert report["grown_bytes"] < ROOM_BYTES


def test_hostile_messages_through_a_broker_hold_up_no_good_one(tmp_path: Path, mosquitto: Mosquitto, say: Say) -> None:
    dice = random.Random(2)  # noqa: S311  # no secret
    site_toml = write_site(tmp_path / "centre", port=mosquitto.port)
    enemy = MqttBus(BrokerTable(port=mosquitto.port), client_id="enemy", filters=(topics.ack(SITE, NODE),))
    good = [candidate_of(number, node=NODE, size=2_500) for number in range(4)]
    hostile = [kind(dice) for kind in KINDS * 4]
    # Larger than the trainer lets the broker send it: it never arrives, and what comes after it does.
    hostile.append((TOPIC, bytes(400_000)))
    sendable = [(topic, data) for topic, data in hostile if topic and matches(topics.ingest(SITE), topic)]

    with Centre.opened(site_toml) as centre:
        enemy.start()
        wait_until(lambda: any(isinstance(event, Connected) for event in enemy.events(timeout_s=0.1)), "it connects")
        for topic, data in sendable:
            enemy.publish(topic, data)
        for candidate in good:
            enemy.publish(TOPIC, codec.encode(candidate))
        wait_until(lambda: centre.received() == len(good), "the good ones are stored")
        enemy.stop()

    found = look([], site_toml.parent / "trainer")
    offered = {candidate.id for candidate in good}
    say(
        f"hostile payloads through a broker: seed=2, {len(sendable)} sent, {len(found.pool)} good ones stored after them"
    )
    assert violations(found, accepted=offered, offered=offered) == []
