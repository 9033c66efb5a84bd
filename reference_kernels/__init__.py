"""The mathematics used to judge the exercises. NumPy only; independent of the grader."""

if __name__ == "reference_kernels":  # found beside `grader` in a checkout, under its former name
    from grader.reference_kernels import former_name

    former_name.serve()
