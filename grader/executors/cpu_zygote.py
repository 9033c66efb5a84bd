"""Children of the CPU executor, forked. The zygote runs this file."""

from grader.executors.cpu import CpuEngine
from grader.sandbox.forking import serve_forks

if __name__ == "__main__":
    serve_forks(CpuEngine())
