"""What a CUDA error means for a submission."""

from __future__ import annotations

from grader.compile import recipe
from grader.model.details import Detail
from grader.model.result import Finding

# By CUresult, which equals cudaError_t for these: the kind of the finding, and what the GPU noticed.
FAULTS = {
    2: ("out-of-memory", "asked for more memory than the GPU has"),
    700: ("out-of-bounds", "accessed an address that belongs to no array"),
    701: ("bad-launch", "needs more registers or shared memory than a block of this size can have"),
    702: ("did-not-finish", "was stopped by the driver's time limit"),
    714: ("out-of-bounds", "overran its stack"),
    715: ("trap", "reached an illegal instruction or __trap()"),
    716: ("misaligned-access", "accessed an address that is not a multiple of the access's width"),
    717: ("out-of-bounds", "used an address of the wrong memory space"),
    718: ("out-of-bounds", "jumped to an address that holds no code"),
    719: ("out-of-bounds", "was stopped by the GPU after an access outside shared memory, or a trap"),
    710: ("trap", "failed an assert()"),
    1: ("bad-launch", "was launched with a grid or block that the GPU rejects"),
}
DETAILS = {710: Detail.ASSERTION}
STICKY = frozenset(FAULTS) - {1, 2, 701}  # after these, nothing can run in this process


def finding(status: int, kernel: str) -> Finding | None:
    """None if the submission did not cause the error."""
    if status not in FAULTS:
        return None
    kind, what = FAULTS[status]
    message = f"on the GPU, {kernel} {what} (CUDA error {status})"
    return Finding(kind, recipe.SOURCE_NAME, 0, message, detail=DETAILS.get(status, ""), kernel=kernel)
