"""An instructor's secret cases: graded like the others, shown redacted.

The file is TOML or JSON, depending on its suffix:

    seed = 7                    # of the values; without it, the run's seed

    [[cases]]                   # the exercise's oracle (`from_spec`) defines what a case contains
    M_sizes = [3, 0, 17]
    K = 48
    N = 80

The cases are named secret-1, secret-2 and so on; a `name` in the file is only for its author.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from grader import files
from grader.errors import UsageError
from grader.model.result import Check, Finding, Status

MAX_BYTES = 16 << 20  # a case has a few hundred bytes

KIND = "secret-case"
REDACTED = "redacted: this is one of the instructor's secret cases"


class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cases: tuple[dict[str, Any], ...]
    seed: int | None = None


def read(file: Path) -> Secret:
    """Raises UsageError, which names the file and the problem."""
    try:
        content = files.read(file, MAX_BYTES)
        if file.suffix.lower() == ".json":
            secret = msgspec.json.decode(content, type=Secret)
        else:
            secret = msgspec.toml.decode(content, type=Secret)
    except RecursionError:
        raise UsageError(f"{file} is nested too deeply") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {getattr(error, 'strerror', None) or error}") from None
    except ValueError:  # Python reads at most 4300 digits
        raise UsageError(f"{file} holds a number that is too long") from None
    if not secret.cases:
        raise UsageError(f"{file} contains no cases")
    if secret.seed is not None and secret.seed < 0:
        raise UsageError(f"{file}: the seed must not be negative")
    return secret


def specs(secret: Secret) -> list[tuple[str, dict[str, Any]]]:
    """Each case's public name and the spec for its oracle."""
    return [
        (f"secret-{number}", {key: value for key, value in spec.items() if key != "name"})
        for number, spec in enumerate(secret.cases, start=1)
    ]


def redact(check: Check) -> Check:
    """Only the rule that was broken, which is the check; no kind of finding, sizes, values, lines or times."""
    return Check(
        id=check.id,
        status=check.status,
        message=REDACTED if check.message else "",
        reason=check.reason if check.status is Status.SKIPPED else check.reason and REDACTED,
        case=check.case,
        device=check.device,
        required=check.required,
        findings=tuple(map(redact_finding, check.findings[:1])),
    )


def redact_finding(_: Finding) -> Finding:
    """A finding of any kind becomes this one: a kernel can choose among the kinds."""
    return Finding(kind=KIND, file="", line=0, message=REDACTED)
