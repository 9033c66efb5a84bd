"""`pytest exercises/06_moe_layer` grades starter.cu: one test for each check."""

from grader.pytest_support import check_tests

test_check = check_tests(__file__)
