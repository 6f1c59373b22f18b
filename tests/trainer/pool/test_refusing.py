"""What the ingest refuses for good, what it puts off, and that neither holds up the next."""

import io
import re
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from PIL import Image as Pillow

from shared.codec import MAX_MESSAGE_BYTES, encode, pack
from shared.identity import CandidateId
from shared.images import encode_image
from shared.messages import Candidate, PackedArray
from tests.trainer.pool.plant import Plant, renamed
from tests.trainer.pool.rows import MakeCandidate
from trainer.pool.ingest import NO_LINE


def with_schema(candidate: Candidate, schema: int) -> bytes:
    return encode(msgspec.structs.replace(candidate, schema=schema))


def of_a_later_version(candidate: Candidate) -> bytes:
    """A message whose fields have other types than those of this version."""
    return msgspec.msgpack.encode({"schema": 99, "id": candidate.id, "crop": [1, 2]})


def bomb(make: MakeCandidate) -> Candidate:
    """A crop whose header says 9000 x 9000 pixels."""
    crop = encode_image(np.zeros((64, 64, 1), np.uint8))
    crop = crop[:16] + (9000).to_bytes(4, "big") * 2 + crop[24:]
    return with_crop(make(1), crop, form="png")


def with_crop(candidate: Candidate, crop: bytes, *, form: str = "jpeg") -> Candidate:
    name = str(CandidateId.make(node="n1", boot="0123abcd", seq=1, crop=crop))
    return msgspec.structs.replace(candidate, id=name, crop=crop, crop_format=form)


def progressive(make: MakeCandidate) -> Candidate:
    buffer = io.BytesIO()
    Pillow.open(io.BytesIO(make(1).crop)).save(buffer, "JPEG", progressive=True)
    return with_crop(make(1), buffer.getvalue())


def packed(values: list[float], dtype: str = "float32") -> PackedArray:
    return pack(np.array(values, dtype=dtype))


BAD: dict[str, tuple[str, Callable[[MakeCandidate], Candidate | bytes]]] = {
    "truncated": ("payload", lambda make: encode(make(1))[:-40]),
    "older schema": ("payload", lambda make: with_schema(make(1), 0)),
    "not a message": ("payload", lambda _: b"\xc1\xff hello"),
    "empty": ("payload", lambda _: b""),
    "an array for a map": ("payload", lambda _: msgspec.msgpack.encode([1, 2, 3])),
    "oversized": ("payload", lambda make: encode(make(1, crop=bytes(MAX_MESSAGE_BYTES)))),
    "no id": ("id", lambda make: make(1, id="me")),
    "an endless id": ("id", lambda make: make(1, id="x" * 50_000)),
    "wrong hash": ("hash", lambda make: renamed(make(1), digest="0" * 16)),
    "foreign node in id": ("node", lambda make: make(1, node="n2")),
    "crop of other format": ("crop", lambda make: make(1, crop_format="png")),
    "unknown format": ("crop", lambda make: make(1, crop_format="gif")),
    "broken crop": ("crop", lambda make: with_crop(make(1), make(1).crop[:-300])),
    "crop bomb": ("crop", bomb),
    "progressive crop": ("crop", progressive),
    "negative row": ("bounds", lambda make: make(1, row=-1)),
    "huge frame": ("bounds", lambda make: make(1, frame=2**63)),
    "inside nothing": ("bounds", lambda make: make(1, inside=(0, 5))),
    "inside too much": ("bounds", lambda make: make(1, inside=(32, 33))),
    "score above one": ("bounds", lambda make: make(1, score=1.5)),
    "score not a number": ("bounds", lambda make: make(1, score=float("nan"))),
    "gain infinite": ("bounds", lambda make: make(1, gain=float("inf"))),
    "time not a number": ("bounds", lambda make: make(1, captured_at=float("nan"))),
    "camera with a slash": ("words", lambda make: make(1, camera="../../x")),
    "reason too long": ("words", lambda make: make(1, reason="x" * 100)),
    "an id too long": ("words", lambda make: make(1, ids={"part": "x" * 121})),
    "an id with a line break": ("words", lambda make: make(1, ids={"part": "a\nb"})),
    "too many ids": ("words", lambda make: make(1, ids={f"id{n}": "x" for n in range(9)})),
    "space without embedding": ("embedding", lambda make: make(1, embedding=None)),
    "embedding without space": ("embedding", lambda make: make(1, space=None)),
    "embedding too long": ("embedding", lambda make: make(1, embedding=packed([1.0] + [0.0] * 4096))),
    "embedding not finite": ("embedding", lambda make: make(1, embedding=packed([1.0, float("nan")]))),
    "embedding of no length": ("embedding", lambda make: make(1, embedding=packed([0.0, 0.0]))),
    "embedding of integers": ("embedding", lambda make: make(1, embedding=packed([1, 0], "int32"))),
    "embedding that lies": ("embedding", lambda make: make(1, embedding=PackedArray("float32", (2,), b"123"))),
    "embedding of objects": ("embedding", lambda make: make(1, embedding=PackedArray("object", (1,), b"12345678"))),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_candidate_is_refused_with_a_reason_and_the_next_goes_through(
    plant: Plant, make_candidate: MakeCandidate, fault: str
) -> None:
    kind, make_bad = BAD[fault]
    bad = make_bad(make_candidate)
    good = make_candidate(7)

    plant.send(bad)
    plant.step()

    acked, nacked = plant.answers()
    named = re.search(rb"n[12]-[0-9a-f]{8}-[0-9]+-[0-9a-f]{16}", (bad if isinstance(bad, bytes) else encode(bad))[:200])
    assert acked == []
    assert len(nacked) == (0 if kind == "payload" and named is None else 1)
    assert all(reason and len(name) < 80 and len(reason) < 400 for name, reason in nacked.items())
    assert plant.pool.ids("strip", state=None) == []
    counters = plant.pool.counters("strip")
    assert (counters["refused"], counters[f"refused_{kind}"], counters["received"]) == (1, 1, 0)

    plant.send(good)
    plant.step()
    assert plant.answers() == ([good.id], {})


def test_a_bad_candidate_does_not_hold_up_its_batch(plant: Plant, make_candidate: MakeCandidate) -> None:
    bad, good = renamed(make_candidate(1), digest="0" * 16), make_candidate(2)
    plant.send(bad, good, encode(good)[:50], good)

    report = plant.step()

    acked, nacked = plant.answers()
    assert acked == [good.id]
    assert "its crop hashes to" in nacked[bad.id]
    assert (report.lines["strip"].new, report.lines["strip"].again, report.lines["strip"].refused) == (1, 1, 2)


CURABLE: dict[str, tuple[str, Callable[[MakeCandidate], Candidate | bytes]]] = {
    "newer schema": ("payload", lambda make: with_schema(make(1), 99)),
    "newer schema of other fields": ("payload", lambda make: of_a_later_version(make(1))),
    "wrong crop size": ("crop", lambda make: make(1, side_px=96)),
    "other geometry": ("crop", lambda make: make(1, side_px=96, inside=(64, 64))),
}


@pytest.mark.parametrize("fault", CURABLE)
def test_what_the_centre_can_cure_is_counted_and_put_off(
    plant: Plant, make_candidate: MakeCandidate, fault: str
) -> None:
    kind, make_odd = CURABLE[fault]
    odd = make_odd(make_candidate)
    plant.send(odd)

    report = plant.step()

    assert plant.answers() == ([], {})
    assert [name.startswith("n1-0123abcd-1-") for name in plant.deferred] == [True]
    assert plant.pool.ids("strip", state=None) == []
    assert [(refusal.kind, refusal.curable) for refusal in report.refusals] == [(kind, True)]
    counters = plant.pool.counters("strip")
    assert (counters["deferred"], counters[f"deferred_{kind}"], counters["refused"]) == (1, 1, 0)


def test_an_embedding_of_another_width_than_its_space_is_refused(plant: Plant, make_candidate: MakeCandidate) -> None:
    """Selection reads all embeddings of a space at once: one odd one ended every round."""
    good = [make_candidate(number) for number in (1, 2)]
    odd = [make_candidate(number, embedding=packed([1.0, 0.0])) for number in (3, 4)]

    for batch in ((good[0], odd[0]), (odd[1], good[1])):
        plant.send(*batch)
        plant.step()

    acked, nacked = plant.answers()
    assert acked == [candidate.id for candidate in good]
    assert list(nacked) == [candidate.id for candidate in odd]
    assert f"embedding of 2 numbers, those of space {'a' * 12} have 8" in nacked[odd[0].id]
    assert plant.pool.counters("strip")["refused_embedding"] == 2
    assert plant.pool.embeddings(plant.pool.ids("strip", space="a" * 64), "a" * 64).shape == (2, 8)


def test_a_candidate_of_an_unknown_line_is_put_off(plant: Plant, make_candidate: MakeCandidate) -> None:
    plant.send(make_candidate(1), topic="winnow/v1/mill/n1/cand/other")

    report = plant.step()

    assert plant.answers() == ([], {})
    assert list(plant.deferred) == [make_candidate(1).id]
    assert [refusal.reason for refusal in report.refusals] == [
        'line "other": not a line of site mill; known lines are strip'
    ]
    assert plant.pool.ids("other", state=None) == []
    assert plant.pool.counters(NO_LINE)["deferred_line"] == 1


def test_no_node_may_call_itself_seed(plant: Plant, make_candidate: MakeCandidate) -> None:
    plant.send(make_candidate(1, node="seed"), topic="winnow/v1/mill/seed/cand/strip")

    plant.step()

    assert plant.pool.ids("strip", state=None) == []
    assert plant.pool.counters("strip")["refused_node"] == 1


@pytest.mark.parametrize(
    "topic", ["winnow/v1/mill/n1/cand", "winnow/v1/mill/N!/cand/strip", "winnow/v1/mill/n1/cand/a/b"]
)
def test_a_topic_that_names_no_line_is_counted(plant: Plant, make_candidate: MakeCandidate, topic: str) -> None:
    plant.send(make_candidate(1), topic=topic)

    plant.step()

    assert plant.answers() == ([], {})
    assert plant.pool.ids("strip", state=None) == []
    assert plant.pool.counters(NO_LINE)["refused_topic"] == 1
