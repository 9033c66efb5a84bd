"""The line of a launch function that sets a field of Launch: a finding about the launch belongs there."""

from __future__ import annotations

import re

from grader.exercise import submission

MEMBERS = ("grid", "block", "shared_bytes", "variant", "workspace_bytes", "cluster", "tensor_maps", "tensor_map")


def line_of(source: str, function_line: int, member: str) -> int:
    """The last line of the function that assigns `member`; otherwise one that assigns any; otherwise the function's.

    A member of a TensorMap (`stride`) is found by its name alone, whatever map it is of. Lines are counted from 1.
    The function ends at the first line that starts with its closing brace.
    """
    lines = submission.lines(source)
    if not 1 <= function_line <= len(lines):
        return function_line
    after = range(function_line, len(lines))
    end = next((i for i in after if lines[i].startswith("}")), len(lines) - 1)
    for wanted in (member, "|".join(MEMBERS)):
        assigns = re.compile(rf"(->|\.)\s*({wanted})\b(\s*\[[^\]]*\])*(\s*\.\s*[xyz])?\s*=(?!=)")
        found = [i for i in range(function_line - 1, end + 1) if assigns.search(lines[i].split("//")[0])]
        if found:
            return found[-1] + 1
    return function_line
