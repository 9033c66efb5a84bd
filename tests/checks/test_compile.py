from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from grader.checks import compile as compile_check
from grader.exercise import catalog
from grader.model.execution import Compilation, CompiledKernel
from grader.model.exercise import Exercise
from grader.model.result import Check, Finding, Status
from tests.fakes import COMPILED, KERNELS, changed, write_exercise

KERNEL, LAUNCH = KERNELS
SIGNATURE = "void double_kernel(const float* x, float* y, const int* M_sizes, int cols);"


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    return catalog.read(write_exercise(tmp_path / "01_double"))


def judged(exercise: Exercise, compilation: Compilation) -> Check:
    return compile_check.judge(exercise, "starter.cu", compilation)


def renamed(kernel: CompiledKernel, name: str) -> Compilation:
    return changed(kernel, name=name)


def test_a_good_file_passes(exercise: Exercise) -> None:
    check = judged(exercise, COMPILED)
    assert (check.id, check.status, check.findings) == ("compile", Status.PASSED, ())


def test_warnings_do_not_fail_but_stay_to_be_seen(exercise: Exercise) -> None:
    warning = Finding("compile-warning", "starter.cu", 3, "variable x was declared but never referenced")
    check = judged(exercise, msgspec.structs.replace(COMPILED, findings=(warning,)))
    assert (check.status, check.findings) == (Status.PASSED, (warning,))


def test_warnings_beside_an_error_are_left_out(exercise: Exercise) -> None:
    warning = Finding("compile-warning", "starter.cu", 3, "unused")
    error = Finding("compile-error", "starter.cu", 9, "expected a ;")
    check = judged(exercise, Compilation(ok=False, findings=(warning, error)))
    assert (check.status, check.findings) == (Status.FAILED, (error,))
    assert check.message == "expected a ;"


def test_a_compiler_that_says_no_more_than_its_log_is_still_heard(exercise: Exercise) -> None:
    check = judged(exercise, Compilation(ok=False, log="ptxas: something\nptxas fatal: too much\n"))
    assert [f.message for f in check.findings] == ["ptxas fatal: too much"]


def test_a_missing_kernel_is_named_with_what_was_expected(exercise: Exercise) -> None:
    (finding,) = judged(exercise, renamed(KERNEL, "doubleKernel")).findings
    assert finding.kind == "missing-kernel"
    assert "no kernel named double_kernel" in finding.message
    assert "doubleKernel" in finding.message
    assert SIGNATURE in finding.notes[0]


def test_a_kernel_by_a_similar_name_is_found(exercise: Exercise) -> None:
    (finding,) = judged(exercise, renamed(KERNEL, "doubled_kernel")).findings
    assert (finding.line, finding.message) == (4, "no kernel named double_kernel; this one is called doubled_kernel")


def test_a_missing_extern_c_is_recognised(exercise: Exercise) -> None:
    (finding,) = judged(exercise, renamed(KERNEL, "_Z13double_kernelPKfPfPKii")).findings
    assert (finding.kind, finding.line) == ("missing-kernel", 4)
    assert 'extern "C"' in finding.message


def test_a_missing_launch_function_is_named(exercise: Exercise) -> None:
    (finding,) = judged(exercise, renamed(LAUNCH, "launch")).findings
    assert "launch_double" in finding.message
    assert "void launch_double(const int* M_sizes, int cols, Launch* launch);" in finding.notes[0]


def test_variants_alone_are_enough(exercise: Exercise) -> None:
    assert judged(exercise, renamed(KERNEL, "double_kernel_2")).status is Status.PASSED


def test_a_workspace_is_one_more_pointer_and_the_last(exercise: Exercise) -> None:
    assert judged(exercise, changed(KERNEL, parameter_bytes=(8, 8, 8, 4, 8))).status is Status.PASSED


@pytest.mark.parametrize("widths", [(8, 8, 8, 4, 128), (8, 8, 8, 4, 8, 128, 128)])
def test_tensor_maps_are_more_parameters_behind_all_others(exercise: Exercise, widths: tuple[int, ...]) -> None:
    assert judged(exercise, changed(KERNEL, parameter_bytes=widths)).status is Status.PASSED
    (finding,) = judged(exercise, changed(KERNEL, parameter_bytes=(128, *widths))).findings
    assert finding.kind == "wrong-signature"


def test_what_is_wrong_beside_a_workspace_is_named_with_the_workspace_in_the_signature(exercise: Exercise) -> None:
    (finding,) = judged(exercise, changed(KERNEL, parameter_bytes=(8, 8, 8, 8, 8))).findings
    assert finding.message == "double_kernel: parameter 4 (cols) has 8 bytes; int has 4"
    assert finding.notes[0].endswith("int cols, void* workspace);")


@pytest.mark.parametrize(
    ("widths", "says"),
    [
        ((), "takes 0 parameters; 4 are expected"),
        ((8, 8, 8), "takes 3 parameters; 4 are expected"),
        ((8, 8, 8, 8), "parameter 4 (cols) has 8 bytes; int has 4"),
        ((8, 4, 8, 4), "parameter 2 (y) has 4 bytes; float* has 8"),
        ((8, 8, 8, 4, 4), "takes 5 parameters; 4 are expected"),
        ((8, 8, 8, 4, 8, 8), "takes 6 parameters; 4 are expected"),
    ],
)
def test_a_wrong_signature_is_refused_with_the_right_one(
    exercise: Exercise, widths: tuple[int, ...], says: str
) -> None:
    check = judged(exercise, changed(KERNEL, parameter_bytes=widths))
    (finding,) = check.findings
    assert check.status is Status.FAILED
    assert (finding.kind, finding.line) == ("wrong-signature", 4)
    assert says in finding.message
    assert SIGNATURE in finding.notes[0]


@pytest.mark.parametrize("widths", [(8, 4), (8, 4, 8, 8), (4, 8, 8)])
def test_a_launch_function_takes_no_workspace_and_nothing_else(exercise: Exercise, widths: tuple[int, ...]) -> None:
    (finding,) = judged(exercise, changed(LAUNCH, parameter_bytes=widths)).findings
    assert (finding.kind, finding.line) == ("wrong-signature", 9)


def test_a_variant_must_match_too(exercise: Exercise) -> None:
    odd = CompiledKernel("double_kernel_3", (8,), line=20)
    check = judged(exercise, msgspec.structs.replace(COMPILED, kernels=(*KERNELS, odd)))
    assert [(f.kind, f.line) for f in check.findings] == [("wrong-signature", 20)]


def test_helper_kernels_are_free(exercise: Exercise) -> None:
    helpers = (CompiledKernel("double_kernel_fast", (8,), 20), CompiledKernel("helper", (), 30))
    assert judged(exercise, msgspec.structs.replace(COMPILED, kernels=(*KERNELS, *helpers))).status is Status.PASSED
