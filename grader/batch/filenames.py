"""A student's id as the name of a file: any id gives a name that is safe, and no two the same."""

from __future__ import annotations

import hashlib
import re
import unicodedata

# A name may have 255 bytes on Linux; what is added (a suffix, another name) has to fit too.
MAX_BYTES = 100

_UNSAFE = re.compile(r"[^\w.@+-]|(?<=\.)\.+|^[.-]+")


def stem(student: str) -> str:
    """ "alice" stays as it is; what has to be changed gets eight characters of its hash, so that it stays unique."""
    shown = unicodedata.normalize("NFC", student)
    safe = _UNSAFE.sub("_", shown).encode(errors="replace")[:MAX_BYTES].decode(errors="ignore")
    if safe == student and safe:
        return safe
    digest = hashlib.sha256(student.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{safe.rstrip('.') or 'student'}-{digest}"
