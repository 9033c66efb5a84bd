"""A student's id as a file name: every id gives a safe and unique name."""

from __future__ import annotations

import hashlib
import re
import unicodedata

# Linux allows names of 255 bytes; what is added (a suffix, another name) must fit too.
MAX_BYTES = 100

_UNSAFE = re.compile(r"[^\w.@+-]|(?<=\.)\.+|^[.-]+")


def stem(student: str) -> str:
    """ "alice" stays as it is; a changed id gets eight characters of its hash, so that it stays unique."""
    shown = unicodedata.normalize("NFC", student)
    safe = _UNSAFE.sub("_", shown).encode(errors="replace")[:MAX_BYTES].decode(errors="ignore")
    if safe == student and safe:
        return safe
    digest = hashlib.sha256(student.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{safe.rstrip('.') or 'student'}-{digest}"
