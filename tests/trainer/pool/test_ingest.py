"""The ingest: stored, then acknowledged; quotas, full disks and lost answers."""

import random
from itertools import pairwise

import msgspec

from shared import topics
from shared.bus import Disconnected, MemoryBus, Received
from shared.clock import ManualClock
from shared.codec import MAX_MESSAGE_BYTES, decode, encode
from shared.config import LineConfig
from shared.messages import Ack, Nack
from shared.transport import IngestTable
from tests.trainer.pool.plant import Plant, renamed
from tests.trainer.pool.rows import MakeCandidate
from trainer.pool.ingest import LONGEST_REASON, Answer
from trainer.pool.pool import Pool


def test_a_candidate_is_acknowledged_once_it_is_stored(plant: Plant, make_candidate: MakeCandidate) -> None:
    candidate = make_candidate(1)
    plant.send(candidate)

    report = plant.step()

    assert plant.answers() == ([candidate.id], {})
    assert plant.pool.ids("strip") == [candidate.id]
    (entry,) = plant.pool.entries([candidate.id])
    assert (entry.node, entry.line, entry.received_at) == ("n1", "strip", 1_000_000.0)
    assert (report.lines["strip"].new, report.lines["strip"].bytes) == (1, len(candidate.crop))


def test_redelivery_is_harmless_and_acknowledged_each_time(plant: Plant, make_candidate: MakeCandidate) -> None:
    dice = random.Random(5)  # noqa: S311  # a fixed shuffle, no secret
    candidates = [make_candidate(number) for number in range(30)]
    deliveries = [candidate for candidate in candidates for _ in range(dice.randint(1, 5))]
    dice.shuffle(deliveries)
    cuts = sorted(dice.sample(range(1, len(deliveries)), 6))
    told: list[str] = []

    for start, end in pairwise([0, *cuts, len(deliveries)]):
        plant.send(*deliveries[start:end])
        plant.step()
        acked, nacked = plant.answers()
        assert set(acked) == {candidate.id for candidate in deliveries[start:end]}
        assert nacked == {}
        told += acked

    assert sorted(plant.pool.ids("strip")) == sorted(candidate.id for candidate in candidates)
    assert set(told) == {candidate.id for candidate in candidates}


HOURLY = IngestTable(candidates_per_h=3600, bytes_per_h=10**12, saved_h=0.1)


def test_a_node_that_brings_too_many_is_put_off_and_let_in_later(
    pool: Pool, line: LineConfig, clock: ManualClock, make_candidate: MakeCandidate
) -> None:
    plant = Plant(pool, line, clock, quota=msgspec.structs.replace(HOURLY, candidates_per_h=50))
    candidates = [make_candidate(number) for number in range(8)]

    plant.send(*candidates)
    report = plant.step()

    taken, rest = candidates[:5], candidates[5:]
    assert plant.answers() == ([candidate.id for candidate in taken], {})
    assert set(plant.deferred) == {candidate.id for candidate in rest}
    assert set(plant.deferred.values()) == {
        "node n1: has brought the 50 candidates an hour that [ingest] in site.toml allows"
    }
    assert (report.lines["strip"].new, report.lines["strip"].deferred, report.lines["strip"].refused) == (5, 3, 0)
    assert sorted(pool.ids("strip")) == sorted(candidate.id for candidate in taken)

    clock.advance(3600 * 2 / 50)
    plant.send(*rest)
    plant.step()
    assert plant.answers() == ([candidate.id for candidate in rest[:2]], {})


def test_a_node_that_brings_too_many_bytes_is_put_off_alone(
    pool: Pool, line: LineConfig, clock: ManualClock, make_candidate: MakeCandidate
) -> None:
    """Garbage costs the centre the same work: it is charged too, and who else sends is not held up."""
    plant = Plant(pool, line, clock, quota=msgspec.structs.replace(HOURLY, bytes_per_h=1_000_000))
    honest = make_candidate(1, node="n2")
    other = MemoryBus(plant.broker, filters=(topics.ack("mill", "n2"),))
    other.start()
    other.events(timeout_s=0)

    plant.send(*[bytes(30_000)] * 3, make_candidate(2, crop=bytes(30_000)))
    plant.send(honest, topic="winnow/v1/mill/n2/cand/strip")
    plant.step()

    assert list(plant.deferred) == []
    acked, nacked = plant.answers()
    assert (acked, nacked) == ([], {})
    assert plant.deferred == {
        make_candidate(2).id: "node n1: has brought the 1000000 bytes an hour that [ingest] in site.toml allows"
    }
    (answer,) = other.events(timeout_s=0)
    assert isinstance(answer, Received)
    assert decode(answer.payload, Ack) == Ack(acked=(honest.id,))


def test_an_answer_to_many_is_cut_into_messages_that_a_node_reads() -> None:
    """A node reads no message above its limit: an answer that long was never read, and everything came again."""
    nacks = [Nack(id=f"n1-0123abcd-{number:012}-{'0' * 16}", reason="x" * LONGEST_REASON) for number in range(256)]
    answer = Answer(acked=dict.fromkeys("ab"), nacked=nacks[:200], deferred=nacks)

    messages = list(answer.messages())

    assert max(len(encode(message)) for message in messages) < MAX_MESSAGE_BYTES / 2
    assert messages[0].acked == ("a", "b")
    assert [nack for message in messages for nack in message.nacked] == nacks[:200]
    assert [nack for message in messages for nack in message.deferred] == nacks


def test_a_full_disk_acknowledges_nothing_until_space_returns(plant: Plant, make_candidate: MakeCandidate) -> None:
    candidates = [make_candidate(number) for number in range(60)]
    bad = renamed(make_candidate(99), digest="0" * 16)
    with plant.pool.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 4}")

    plant.send(*candidates, bad)
    report = plant.step()

    assert report.away is not None
    assert "full" in str(report.away)
    assert report.lines == {}
    assert plant.answers() == ([], {})
    assert plant.pool.ids("strip", state=None) == []

    with plant.pool.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    plant.send(*candidates, bad)
    assert plant.step().away is None
    acked, nacked = plant.answers()
    assert acked == [candidate.id for candidate in candidates]
    assert list(nacked) == [bad.id]


def test_a_lost_acknowledgement_is_made_good_by_the_redelivery(plant: Plant, make_candidate: MakeCandidate) -> None:
    candidate = make_candidate(1)
    plant.send(candidate)
    plant.broker.online = False

    plant.step()
    assert plant.answers() == ([], {})
    assert plant.pool.ids("strip") == [candidate.id]

    plant.broker.online = True
    plant.send(candidate)
    plant.step()
    assert plant.answers() == ([candidate.id], {})
    assert plant.pool.ids("strip") == [candidate.id]


def test_a_change_of_connection_is_told(plant: Plant) -> None:
    plant.broker.set_online(False)

    assert isinstance(plant.step().connection, Disconnected)


def test_the_cap_is_kept_with_every_batch(
    pool: Pool, line: LineConfig, clock: ManualClock, make_candidate: MakeCandidate
) -> None:
    small = msgspec.structs.replace(line, pool=msgspec.structs.replace(line.pool, cap=10))
    plant = Plant(pool, small, clock)
    candidates = [make_candidate(number) for number in range(25)]

    plant.send(*candidates)
    report = plant.step()

    assert report.lines["strip"].dropped == 15
    assert sorted(pool.ids("strip")) == sorted(candidate.id for candidate in candidates[15:])
    assert plant.answers() == ([candidate.id for candidate in candidates], {})
    assert pool.counters("strip")["dropped"] == 15
