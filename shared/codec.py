"""Bytes and messages, with bounds on everything that comes in.

MessagePack through msgspec; arrays as dtype, shape and raw bytes. What does not fit a bound, a type or the
schema is a ``WireError`` that names both values; nothing else ever leaves this file.
"""

from math import prod
from typing import Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.errors import WireError
from shared.messages import SCHEMA, Message, PackedArray

#: The largest candidate a node sends unless the broker asks for less: fits brokers that stop at 128 kB.
MAX_MESSAGE_BYTES: Final = 120_000
#: The most an array inside a message may hold.
MAX_ARRAY_BYTES: Final = 1 << 20
_DTYPES: Final = frozenset({"float16", "float32", "uint8", "int32", "int64"})

M = TypeVar("M", bound=Message)
_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """Write a message."""
    return _encoder.encode(message)


def decode(data: bytes, kind: type[M], *, limit: int = MAX_MESSAGE_BYTES) -> M:
    """Read a message of a known kind."""
    if len(data) > limit:
        raise WireError(f"{kind.__name__}: {len(data)} bytes, the limit is {limit}; the message is refused")
    try:
        message = msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(f"{kind.__name__}: {error}; the message is refused") from None
    if message.schema != SCHEMA:
        raise WireError(
            f"{kind.__name__}: schema {message.schema}, this version reads {SCHEMA}; the message is refused"
        )
    return message


def pack(array: NDArray[np.generic]) -> PackedArray:
    """Put an array into a message."""
    return PackedArray(array.dtype.name, array.shape, np.ascontiguousarray(array).tobytes())


def unpack(packed: PackedArray, *, limit: int = MAX_ARRAY_BYTES) -> NDArray[np.generic]:
    """Take an array out of a message."""
    if packed.dtype not in _DTYPES:
        raise WireError(f'array: dtype "{packed.dtype[:20]}"; known are {", ".join(sorted(_DTYPES))}')
    if len(packed.shape) > 4 or any(side < 0 for side in packed.shape):
        raise WireError(f"array: shape {packed.shape[:6]}; expected at most 4 sides, none negative")
    expected = prod(packed.shape) * np.dtype(packed.dtype).itemsize
    if expected > limit or len(packed.data) != expected:
        raise WireError(
            f"array: {len(packed.data)} bytes for shape {packed.shape}, expected {expected} and at most {limit}"
        )
    try:
        return np.frombuffer(packed.data, dtype=packed.dtype).reshape(packed.shape)
    except ValueError as error:
        # No bytes at all, and sides whose product no array may have: (0, 2**40, 2**40).
        raise WireError(f"array: shape {packed.shape}: {error}") from None
