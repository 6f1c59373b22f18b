"""What version 1 wrote is read for ever."""

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from shared import messages
from shared.codec import decode, unpack
from shared.golden import read_golden, read_labelled
from shared.identity import CandidateId, sha256_hex
from shared.images import decode_image
from shared.messages import Candidate, Message
from shared.release import Manifest, Rollout, read_manifest, read_rollout

V1 = Path(__file__).with_name("recorded") / "v1"
KINDS = {
    name: kind
    for name, kind in vars(messages).items()
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
}
RECORDED = sorted(V1.glob("[A-Z]*.bin"))


def read(file: Path) -> msgspec.Struct:
    kind, data = file.stem.split("-")[0], file.read_bytes()
    if kind == Manifest.__name__:
        return read_manifest(data, sha256=sha256_hex(data), what=file.name)
    if kind == Rollout.__name__:
        return read_rollout(data, line="strip")
    return decode(data, KINDS[kind])


def assert_says(found: object, recorded: object, where: str) -> None:
    """Whatever was said then is said now; a later version may say more."""
    if isinstance(recorded, dict):
        for key, value in recorded.items():
            assert_says(found[key], value, f"{where}.{key}")
    elif isinstance(recorded, list):
        assert len(found) == len(recorded), where
        for index, value in enumerate(recorded):
            assert_says(found[index], value, f"{where}[{index}]")
    else:
        assert found == recorded, where


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_a_message_of_version_1_says_what_it_said(file: Path) -> None:
    recorded = json.loads(file.with_suffix(".json").read_text())

    found = json.loads(msgspec.json.encode(read(file)))

    assert_says(found, recorded, file.stem)


def test_every_kind_of_message_is_recorded() -> None:
    recorded = {file.stem.split("-")[0] for file in RECORDED}

    assert recorded == set(KINDS) | {"Manifest", "Rollout"}


def test_no_recorded_byte_has_changed() -> None:
    sums = {name: digest for digest, name in (line.split() for line in (V1 / "SHA256SUMS").read_text().splitlines())}

    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in V1.iterdir()
        if file.suffix in {".bin", ".json"}
    }

    assert found == sums


@pytest.mark.parametrize("file", sorted(V1.glob("Candidate-*.bin")), ids=lambda file: file.stem)
def test_a_recorded_candidate_is_whole(file: Path) -> None:
    candidate = decode(file.read_bytes(), Candidate)

    assert CandidateId.parse(candidate.id).digest == sha256_hex(candidate.crop)[:16]
    assert decode_image(candidate.crop, what=candidate.id, channels=1).shape == (32, 32, 1)
    if candidate.embedding is not None:
        assert unpack(candidate.embedding).shape == (16,)


def test_the_golden_tiles_of_version_1_are_read() -> None:
    recorded = json.loads((V1 / "golden.json").read_text())

    golden = read_golden((V1 / "golden.bin").read_bytes(), what="golden.bin")

    for name, expected in recorded.items():
        array = getattr(golden, name)
        assert list(array.shape) == expected["shape"]
        assert sha256_hex(array.tobytes()) == expected["sha256"]


def test_the_labelled_summary_of_version_1_is_read() -> None:
    rows = json.loads((V1 / "labelled.json").read_text())["rows"]

    assert read_labelled((V1 / "labelled.bin").read_bytes(), what="labelled.bin").tolist() == rows
