import msgspec
import pytest

from shared import messages
from shared.codec import decode, encode
from shared.errors import WireError
from shared.messages import SCHEMA, Ack, Candidate, Heartbeat, Hint, Message, NodeState

KINDS = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
]
#: The fields version 1 was published with and cannot do without. A field added later must have a default, so
#: this table never grows; a field taken from it breaks the nodes in the field.
REQUIRED = {
    "Candidate": {
        "id", "camera", "frame", "captured_at", "row", "col", "inside", "release", "score", "reason", "gain", "space",
        "embedding", "crop_format", "crop",
    },
    "Heartbeat": {"boot", "at"},
    "NodeState": {"boot", "online"},
    "Reported": {"boot", "at"},
    "Ack": set(),
    "Hint": {"line", "rollout"},
    "WorkerState": {"boot", "online"},
}  # fmt: skip


def test_every_message_has_its_required_fields_written_down() -> None:
    found = {kind.__name__: {field.name for field in msgspec.structs.fields(kind) if field.required} for kind in KINDS}

    assert found == REQUIRED


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_says_which_schema_wrote_it(kind: type[Message]) -> None:
    (schema,) = [field for field in msgspec.structs.fields(kind) if field.name == "schema"]

    assert schema.default == SCHEMA


def test_fields_of_a_later_version_are_ignored() -> None:
    data = msgspec.msgpack.encode({"schema": 1, "line": "strip", "rollout": 3, "wave": 2, "why": {"deep": [1, 2]}})

    assert decode(data, Hint) == Hint(line="strip", rollout=3)


def test_fields_of_a_later_version_inside_a_list_are_ignored() -> None:
    camera = {"camera": "top", "line": "strip", "frames": 4, "exposure_us": 80}
    data = msgspec.msgpack.encode({"schema": 1, "boot": "00000000", "at": 1.0, "cameras": [camera]})

    assert decode(data, Heartbeat).cameras[0].frames == 4


def test_fields_an_older_version_did_not_send_get_their_defaults() -> None:
    state = decode(msgspec.msgpack.encode({"schema": 1, "boot": "00000000", "online": True}), NodeState)

    assert (state.version, state.provider) == ("", "")


def test_an_empty_acknowledgement_acknowledges_nothing() -> None:
    assert decode(encode(Ack()), Ack) == Ack(acked=(), nacked=())


def test_the_score_and_embedding_may_be_absent_but_not_forgotten() -> None:
    with pytest.raises(WireError, match="score"):
        decode(msgspec.msgpack.encode({"schema": 1, "id": "x", "camera": "top", "frame": 0, "captured_at": 0.0,
            "row": 0, "col": 0, "inside": [1, 1], "release": None}), Candidate)  # fmt: skip
