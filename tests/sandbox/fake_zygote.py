"""The zygote of children that do as they are told."""

from grader.sandbox.forking import serve_forks
from tests.sandbox.fake_engine import FakeEngine

if __name__ == "__main__":
    serve_forks(FakeEngine())
