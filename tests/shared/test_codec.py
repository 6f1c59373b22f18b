from typing import get_type_hints

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from shared import messages
from shared.codec import MAX_ARRAY_BYTES, MAX_MESSAGE_BYTES, decode, encode, pack, unpack
from shared.errors import WireError
from shared.messages import Ack, CameraState, Candidate, Heartbeat, Message, Nack, PackedArray

KINDS = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
]


def candidate() -> Candidate:
    return Candidate(
        id="n-00000000-0-0123456789abcdef",
        camera="top",
        frame=7,
        captured_at=1.5,
        row=1,
        col=2,
        inside=(64, 60),
        release="strip-0003",
        score=0.25,
        reason="novel",
        gain=0.5,
        space="ab" * 32,
        embedding=pack(np.ones(8, dtype=np.float16)),
        crop_format="jpeg",
        crop=bytes(200),
    )


def test_a_message_comes_back_as_it_was_sent() -> None:
    assert decode(encode(candidate()), Candidate) == candidate()


@given(st.binary(max_size=300), st.sampled_from(KINDS))
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes, kind: type[Message]) -> None:
    try:
        assert isinstance(decode(data, kind), kind)
    except WireError as error:
        assert str(error).startswith(kind.__name__)  # noqa: PT017  # a message is as good as a refusal


@given(seed=st.integers(0, 2**32), kind=st.sampled_from([Candidate, Heartbeat, Ack]))
def test_damaged_messages_are_refused_or_read_but_never_anything_else(seed: int, kind: type[Message]) -> None:
    whole: dict[type[Message], Message] = {
        Candidate: candidate(),
        Heartbeat: Heartbeat(boot="00000000", at=1.0, cameras=(CameraState(camera="top", line="strip"),)),
        Ack: Ack(acked=("a",), nacked=(Nack(id="b", reason="no"),)),
    }
    chance = np.random.default_rng(seed)
    data = bytearray(encode(whole[kind]))
    for _ in range(chance.integers(1, 6)):
        data[chance.integers(len(data))] = chance.integers(256)
    damaged = bytes(data[: chance.integers(len(data) + 1)]) if chance.random() < 0.3 else bytes(data)

    try:
        message = decode(damaged, kind)
        if isinstance(message, Candidate) and message.embedding is not None:
            unpack(message.embedding)
    except WireError:
        pass


def test_a_message_nested_too_deep_is_refused() -> None:
    with pytest.raises(WireError):
        decode(b"\x81\xa5extra" + b"\x91" * 100_000 + b"\xc0", Ack)


def test_a_message_over_the_limit_is_refused_with_both_numbers() -> None:
    data = encode(Ack(acked=("a" * MAX_MESSAGE_BYTES,)))

    with pytest.raises(WireError, match=f"{len(data)} bytes, the limit is {MAX_MESSAGE_BYTES}"):
        decode(data, Ack)
    assert decode(data, Ack, limit=len(data)).acked[0] == "a" * MAX_MESSAGE_BYTES


@pytest.mark.parametrize("schema", [0, 2, 999])
def test_a_schema_this_version_does_not_know_is_refused_with_both_numbers(schema: int) -> None:
    data = msgspec.msgpack.encode({"schema": schema, "line": "strip", "rollout": 1})

    with pytest.raises(WireError, match=f"schema {schema}, this version reads 1"):
        decode(data, messages.Hint)


@given(
    npst.arrays(
        dtype=st.sampled_from(["float16", "float32", "uint8", "int32", "int64"]),
        shape=npst.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5),
    )
)
def test_an_array_comes_back_with_its_type_and_shape(array: np.ndarray) -> None:
    back = unpack(decode(encode(Carrier(array=pack(array))), Carrier).array)

    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_an_array_that_lies_otherwise_in_memory_is_packed_in_reading_order() -> None:
    array = np.arange(12, dtype=np.int32).reshape(3, 4)

    for view in (array.T, array[::-1], array[:, ::2]):
        assert np.array_equal(unpack(pack(view)), view)


@given(
    dtype=st.one_of(st.sampled_from(["float16", "float32", "uint8"]), st.text(max_size=10)),
    shape=st.lists(st.one_of(st.integers(-2, 5), st.integers(0, 2**63 - 1)), max_size=6).map(tuple),
    data=st.binary(max_size=64),
)
@example(dtype="uint8", shape=(0, 2**40, 2**40), data=b"")
@example(dtype="uint8", shape=(-1,), data=b"abc")
@example(dtype="object", shape=(1,), data=bytes(8))
@example(dtype="float64", shape=(1,), data=bytes(8))
def test_an_array_that_does_not_fit_its_bytes_is_a_wire_error(dtype: str, shape: tuple[int, ...], data: bytes) -> None:
    try:
        array = unpack(PackedArray(dtype, shape, data))
    except WireError as error:
        assert str(error).startswith("array: ")  # noqa: PT017  # an array is as good as a refusal
        return

    assert array.shape == shape
    assert array.nbytes == len(data)


def test_an_array_over_the_limit_is_refused_before_it_is_built() -> None:
    with pytest.raises(WireError, match=f"at most {MAX_ARRAY_BYTES}"):
        unpack(PackedArray("uint8", (MAX_ARRAY_BYTES + 1,), bytes(MAX_ARRAY_BYTES + 1)))


def test_no_message_holds_a_bare_array() -> None:
    for kind in KINDS:
        assert not any("ndarray" in str(hint).lower() for hint in get_type_hints(kind).values())


class Carrier(Message, frozen=True, kw_only=True):
    """A message with an array in it."""

    array: PackedArray
