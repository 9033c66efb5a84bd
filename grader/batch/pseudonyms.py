"""Pseudonyms for a leaderboard that a class may see: stable within a batch, and not reversible without its key."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from pathlib import Path

from grader import files
from grader.errors import GraderError

KEY_FILE = ".pseudonyms"
_KEY_BYTES = 32

_COLOURS = """
    Amber Azure Beige Black Blue Bronze Brown Cobalt Copper Coral Cream Crimson Cyan Dusky Ebony Emerald
    Fawn Ginger Gold Green Grey Hazel Indigo Ivory Jade Khaki Lemon Lilac Lime Linen Maple Maroon
    Mauve Mint Navy Ochre Olive Onyx Opal Orange Peach Pearl Pewter Pine Pink Plum Purple Red
    Rose Ruby Russet Rust Sable Saffron Sage Sand Scarlet Silver Slate Tan Teal Umber Violet White
""".split()
_ANIMALS = """
    Badger Bear Beaver Bee Bison Boar Camel Cat Cheetah Cobra Condor Crane Crow Deer Dingo Dolphin
    Dove Duck Eagle Eel Elk Falcon Ferret Finch Fox Frog Gecko Gibbon Goose Gull Hare Hawk
    Heron Horse Ibis Jackal Jaguar Kiwi Koala Lark Lemur Lion Lynx Magpie Marten Mole Moose Newt
    Otter Owl Panda Parrot Puffin Quail Rabbit Raven Robin Seal Stork Swan Tiger Toad Turtle Wolf
""".split()


def of(students: Iterable[str], key: bytes) -> dict[str, str]:
    """ "Amber Otter" for each; no two the same."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for student in sorted(students):
        names[student] = next(name for name in _candidates(student, key) if name not in taken)
        taken.add(names[student])
    return names


def key_of(folder: Path) -> bytes:
    """The batch's own key, generated once. Without access to the folder, no one can tell who is who."""
    file = folder / KEY_FILE
    try:
        key = bytes.fromhex(files.read(file, 1000).decode())
        if len(key) == _KEY_BYTES:
            return key
    except FileNotFoundError:
        pass
    except ValueError:
        pass  # no longer ours; a new key only changes pseudonyms
    except OSError as error:
        raise GraderError(f"cannot read {file}: {error.strerror}") from None
    key = secrets.token_bytes(_KEY_BYTES)
    files.write(file, key.hex().encode())
    return key


def _candidates(student: str, key: bytes) -> Iterable[str]:
    attempt = 0
    while True:
        text = f"{attempt} {student}".encode(errors="replace")
        digest = hmac.digest(key, text, hashlib.sha256)
        name = f"{_COLOURS[digest[0] % len(_COLOURS)]} {_ANIMALS[digest[1] % len(_ANIMALS)]}"
        yield name if attempt < len(_COLOURS) else f"{name} {attempt}"
        attempt += 1
