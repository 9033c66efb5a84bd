"""Messages over a socket pair: four bytes of length, then msgpack.

What comes from the child is untrusted: bounded in length, decoded by type, and nothing in it is executed or
followed. Arrays do not travel here but through the arena.
"""

from __future__ import annotations

import struct

LENGTH = struct.Struct("<I")
MAX_MESSAGE_BYTES = 4 << 20


class MessageError(Exception):
    """Bytes that are no message of this protocol."""


def frame(payload: bytes) -> bytes:
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MessageError(f"a message of {len(payload)} bytes; the most is {MAX_MESSAGE_BYTES}")
    return LENGTH.pack(len(payload)) + payload


def payload_length(header: bytes) -> int:
    (length,) = LENGTH.unpack(header)
    if length > MAX_MESSAGE_BYTES:
        raise MessageError(f"announced a message of {length} bytes; the most is {MAX_MESSAGE_BYTES}")
    return int(length)
