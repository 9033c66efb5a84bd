"""The zygote of children that run Python in place of a submission."""

from grader.sandbox.forking import serve_forks
from tests.sandbox.hostile_engine import HostileEngine

if __name__ == "__main__":
    serve_forks(HostileEngine())
