"""What runs a submission: the CPU engine, later a GPU. Each fulfils `Executor` of grader.model.execution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grader.sandbox.process import Process

if TYPE_CHECKING:
    from grader.sandbox.child import Child


def open_cpu() -> Child:
    """A child process that compiles a submission and runs it on the CPU. To be closed."""
    process = Process("grader.executors.cpu")
    # The child starts up while this process loads what it needs to talk to it.
    from grader.sandbox.child import Child

    return Child(process, "cpu")
