"""`pytest exercises/04_balanced_grouped_gemm` grades starter.cu: one test for each check."""

from grader.pytest_support import check_tests

test_check = check_tests(__file__)
