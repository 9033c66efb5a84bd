"""Messages over a socket pair: four bytes of length, then msgpack.

Messages from the child are untrusted: bounded in length, decoded by type, and never executed or
followed. Arrays are passed through the arena instead.
"""

from __future__ import annotations

import struct

LENGTH = struct.Struct("<I")
MAX_MESSAGE_BYTES = 4 << 20


class MessageError(Exception):
    """Bytes that are not a message of this protocol."""


def frame(payload: bytes) -> bytes:
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MessageError(f"a message of {len(payload)} bytes; the limit is {MAX_MESSAGE_BYTES}")
    return LENGTH.pack(len(payload)) + payload


def payload_length(header: bytes) -> int:
    (length,) = LENGTH.unpack(header)
    if length > MAX_MESSAGE_BYTES:
        raise MessageError(f"announced a message of {length} bytes; the limit is {MAX_MESSAGE_BYTES}")
    return int(length)
