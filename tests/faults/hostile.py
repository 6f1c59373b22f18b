"""What an enemy, or a broken node, sends the ingest: every message that this file makes must be refused.

Each kind damages what a check of its own must find; none relies on luck. A message that would pass after all (a
random byte that happens to be right) is made again.
"""

import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import msgspec
import numpy as np

from shared import codec, topics
from shared.identity import CandidateId
from shared.images import encode_image
from shared.messages import Candidate, PackedArray
from tests.faults.plant import SITE, candidate_of

#: The node that all of it comes from, as the broker knows it.
NODE: Final = "evil-01"
TOPIC: Final = topics.candidates(SITE, NODE, "small")
Message = tuple[str, bytes]


def _good(dice: random.Random, **fields: Any) -> Candidate:
    candidate = candidate_of(dice.randrange(10**9), node=NODE, size=2_500)
    return msgspec.structs.replace(candidate, **fields)


def _with_crop(dice: random.Random, crop: bytes, *, form: str = "jpeg") -> bytes:
    """Give a crop of any bytes the id that belongs to it: only the crop itself is bad."""
    name = str(CandidateId.make(node=NODE, boot="0000abcd", seq=dice.randrange(10**9), crop=crop))
    return codec.encode(_good(dice, id=name, crop=crop, crop_format=form))


def _as_map(candidate: Candidate) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.msgpack.decode(codec.encode(candidate))
    return found


def flipped_crop(dice: random.Random) -> Message:
    data = bytearray(codec.encode(_good(dice)))
    start = data.index(b"\xff\xd8\xff")
    for _ in range(dice.randrange(1, 20)):
        data[dice.randrange(start, len(data) - 20)] ^= 1 << dice.randrange(8)
    return TOPIC, bytes(data)


def cut_short(dice: random.Random) -> Message:
    data = codec.encode(_good(dice))
    return TOPIC, data[: dice.randrange(len(data))]


def run_on(dice: random.Random) -> Message:
    return TOPIC, codec.encode(_good(dice)) + dice.randbytes(dice.randrange(1, 1000))


def noise(dice: random.Random) -> Message:
    return TOPIC, dice.randbytes(dice.choice([0, 1, 2, 16, 1_000, 60_000, 119_999, 120_001, 150_000]))


def wrong_hash(dice: random.Random) -> Message:
    candidate = _good(dice)
    return TOPIC, codec.encode(
        msgspec.structs.replace(candidate, id=candidate.id[:-16] + f"{dice.getrandbits(64):016x}")
    )


def another_name(dice: random.Random) -> Message:
    name = dice.choice(
        ["press-01", "seed", "evil-02", "../evil-01", "", "EVIL-01", "evil-01\x00", "é" * 20, "a" * 70_000]
    )
    candidate = _good(dice)
    return TOPIC, codec.encode(msgspec.structs.replace(candidate, id=name + candidate.id[len(NODE) :]))


def foreign_topic(dice: random.Random) -> Message:
    topic = dice.choice(
        [
            f"winnow/v1/other/{NODE}/cand/small",
            f"winnow/v1/{SITE}/seed/cand/small",
            f"winnow/v1/{SITE}/{NODE}/cand/unknown",
            f"winnow/v1/{SITE}/{NODE}/cand",
            f"winnow/v1/{SITE}/{NODE}/cand/small/deeper",
            f"winnow/v1/{SITE}/{NODE}/state",
            f"winnow/v2/{SITE}/{NODE}/cand/small",
            f"winnow/v1/{SITE}/../cand/small",
            f"winnow/v1/{SITE}/{NODE}/cand/" + "x" * 60_000,
            f"winnow/v1/{SITE}/\u202eevil/cand/small",
            f"/winnow/v1/{SITE}/{NODE}/cand/small",
            "",
        ]
    )
    return topic, codec.encode(_good(dice))


def out_of_bounds(dice: random.Random) -> Message:
    name, value = dice.choice(
        [
            *((name, number) for name in ("frame", "seen", "row", "col") for number in (-1, 2**53 + 1, 2**63 - 1)),
            *(("score", number) for number in (-0.01, 1.01, float("nan"), float("inf"), -float("inf"))),
            *((name, number) for name in ("captured_at", "gain") for number in (float("nan"), float("inf"))),
            *(("inside", pair) for pair in ((0, 1), (33, 1), (1, 2**40), (-1, -1))),
            *(
                (name, word)
                for name in ("camera", "reason", "release")
                for word in ("", "../x", "a b", "x" * 90_000, "\x00")
            ),
            *(("crop_format", word) for word in ("png", "gif", "", "JPEG", "x" * 50_000)),
        ]
    )
    return TOPIC, codec.encode(_good(dice, **{name: value}))


def wrong_type(dice: random.Random) -> Message:
    fields = _as_map(_good(dice))
    name = dice.choice(["id", "camera", "frame", "captured_at", "row", "inside", "reason", "crop", "crop_format"])
    values = [None, True, -1, 1.5, "text", b"bytes", [], [[]], {}, {"a": 1}, [1, 2, 3]]
    fields[name] = dice.choice([value for value in values if not isinstance(value, type(fields[name]))])
    if name in {"frame", "row"} and fields[name] is True:
        fields[name] = "true"
    if name == "captured_at" and isinstance(fields[name], int):
        fields[name] = "now"
    if name == "crop" and isinstance(fields[name], str):
        # A text may stand for bytes in this encoding: it is base64 then, and no image.
        fields[name] = None
    return TOPIC, msgspec.msgpack.encode(fields)


def something_missing(dice: random.Random) -> Message:
    fields = _as_map(_good(dice))
    del fields[dice.choice([field.name for field in msgspec.structs.fields(Candidate) if field.required])]
    return TOPIC, msgspec.msgpack.encode(fields)


def bad_embedding(dice: random.Random) -> Message:
    unit = np.zeros(8, dtype=np.float16)
    unit[0] = 1
    packed = dice.choice(
        [
            PackedArray("float16", (8,), bytes(16)),
            PackedArray("float16", (2**40,), unit.tobytes()),
            PackedArray("float16", (0, 2**40, 2**40), b""),
            PackedArray("float16", (-8,), unit.tobytes()),
            PackedArray("float16", (2, 4), unit.tobytes()),
            PackedArray("float16", (1,) * 50_000, b"\x00<"),
            PackedArray("object", (2,), unit.tobytes()),
            PackedArray("x" * 60_000, (8,), unit.tobytes()),
            PackedArray("int64", (2,), unit.tobytes()),
            PackedArray("float32", (2,), struct.pack("<2f", float("nan"), 1.0)),
            PackedArray("float32", (2,), struct.pack("<2f", 3e38, 3e38)),
        ]
    )
    return TOPIC, codec.encode(_good(dice, space=f"{dice.getrandbits(128):064x}", embedding=packed))


def deep_or_wide(dice: random.Random) -> Message:
    """Headers that announce more than there is, and nesting that a careless reader follows."""
    return TOPIC, dice.choice(
        [
            b"\x91" * 100_000,
            b"\x81\xa1a" * 39_000,
            b"\xdd\xff\xff\xff\xff" + bytes(100),
            b"\xdf\xff\xff\xff\xff" + bytes(100),
            b"\xdb\xff\xff\xff\xff" + bytes(100),
            b"\xc6\xff\xff\xff\xff" + bytes(100),
            b"\xc9\xff\xff\xff\xff\x01" + bytes(100),
            b"\x82\xa2id" + b"\x91" * 90_000,
            # Unknown fields are ignored, but they must be walked through.
            b"\xde\x00\x02\xa1x" + b"\x91" * 90_000 + b"\xc0\xa1y\xc0",
            b"\xdc\xff\xff" + b"\xc0" * 65_535,
        ]
    )


def image_bomb(dice: random.Random) -> Message:
    """Crops that are small as bytes and large as pixels, text or work."""
    form, crop = dice.choice(_image_bombs())
    return TOPIC, _with_crop(dice, crop, form=form)


@cache
def _image_bombs() -> list[tuple[str, bytes]]:
    # A row of filter type 5, which there is not, sixty million bytes long.
    blown_up = zlib.compress(b"\x05" * 60_000_000, 9)
    pixels = zlib.compress(bytes(64 * 65), 9)
    text = b"t\x00\x00" + zlib.compress(bytes(60_000_000), 9)
    many = 70 * _chunk(b"zTXt", b"t\x00\x00" + zlib.compress(bytes(1_000_000), 9))
    plain = encode_image(np.zeros((64, 64, 1), np.uint8), form="jpeg")
    return [
        ("png", _png(60_000, 60_000, data=pixels)),
        ("png", _png(2**31 - 1, 2**31 - 1, data=pixels)),
        ("png", _png(0, 0, data=pixels)),
        ("png", _png(8_000, 8_000, data=zlib.compress(bytes(8_000 * 8_001), 9))),
        ("png", _png(64, 64, data=blown_up)),
        ("png", _png(64, 64, data=pixels, before=_chunk(b"zTXt", text))),
        ("png", _png(64, 64, data=pixels, before=_chunk(b"iCCP", text))),
        ("png", _png(64, 64, data=pixels)[:-12] + _chunk(b"zTXt", text) + _chunk(b"IEND", b"")),
        ("png", _png(64, 64, data=pixels, before=many)),
        ("png", _png(64, 64, data=pixels[:-20])),
        ("png", _png(64, 64, data=pixels)[:-40]),
        ("jpeg", _jpeg_sized(65_500, 65_500)),
        ("jpeg", _jpeg_sized(0, 0)),
        ("jpeg", b"\xff\xd8\xff" + b"\xff\xfe\x00\x02" * 25_000),
        ("jpeg", b"\xff\xd8\xff" + bytes(100_000)),
        ("jpeg", plain[:-150]),
        ("jpeg", encode_image(np.zeros((32, 32, 1), np.uint8), form="jpeg")),
        ("jpeg", b"GIF89a" + bytes(1_000)),
    ]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(height: int, width: int, *, data: bytes, before: bytes = b"") -> bytes:
    """Write a grey PNG of any size."""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + before + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _jpeg_sized(height: int, width: int) -> bytes:
    """Write another size into a JPEG's header."""
    crop = encode_image(np.zeros((64, 64, 1), np.uint8), form="jpeg")
    at = crop.index(b"\xff\xc0") + 5
    return crop[:at] + struct.pack(">HH", height, width) + crop[at + 4 :]


KINDS: Final[tuple[Callable[[random.Random], Message], ...]] = (
    flipped_crop,
    cut_short,
    run_on,
    noise,
    wrong_hash,
    another_name,
    foreign_topic,
    out_of_bounds,
    wrong_type,
    something_missing,
    bad_embedding,
    deep_or_wide,
    image_bomb,
)
