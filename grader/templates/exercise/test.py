"""`pytest exercises/{{name}}` grades starter.cu, with one test per check."""

from grader.pytest_support import check_tests

test_check = check_tests(__file__)
