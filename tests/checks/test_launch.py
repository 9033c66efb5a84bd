from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from grader.checks import launch
from grader.exercise import catalog
from grader.launching import invocations
from grader.launching.plan import Plan, plan_launch, request_launch
from grader.model.execution import (
    Compilation,
    CompiledKernel,
    LaunchConfig,
    Mapped,
    Outcome,
    Resources,
    TensorMap,
)
from grader.model.exercise import Array, Case, Exercise
from grader.model.result import Finding, Status
from grader.reports.kinds import next_step
from tests.fakes import COMPILED, KERNELS, LAUNCH, SOURCE, changed, pack, write_exercise

WITH_WORKSPACE = changed(KERNELS[0], parameter_bytes=(8, 8, 8, 4, 8))
MIB = 1 << 20

CASE = Case(
    "even",
    True,
    {
        "x": Array("x", np.zeros((8, 8), np.float32)),
        "y": Array("y", np.zeros((8, 8), np.float32), "out"),
        "M_sizes": Array("M_sizes", np.array([4, 4], np.int32)),
        "cols": 8,
    },
    "M 4 4",
)


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    return catalog.read(write_exercise(tmp_path / "01_double"))


def planned(exercise: Exercise, config: LaunchConfig, compilation: Compilation = COMPILED) -> Plan:
    outcome = Outcome(outputs={"launch": pack(config)})
    return plan_launch(exercise.kernels[0], compilation, SOURCE.decode(), "starter.cu", outcome)


def with_resources(**resources: int) -> Compilation:
    taken = {"registers": 32, "shared_bytes": 0, "spill_bytes": 0, "stack_bytes": 0} | resources
    return changed(KERNELS[0], resources=Resources(**taken))


def config(**changes: object) -> LaunchConfig:
    return msgspec.structs.replace(LAUNCH, **changes)


def test_the_launch_function_gets_the_problem_and_a_zeroed_launch(exercise: Exercise) -> None:
    (invocation,), arrays = request_launch(exercise.kernels[0], CASE)
    by_name = {array.name: array for array in arrays}
    assert invocation.kernel == "launch_double"
    assert (invocation.config.grid, invocation.config.block) == ((1, 1, 1), (1, 1, 1))
    assert invocation.arguments == ("M_sizes", (8, 4), "launch")
    assert set(by_name) == {"M_sizes", "launch"}
    assert (by_name["M_sizes"].access, by_name["launch"].access) == ("in", "inout")
    given = by_name["launch"].data
    assert given.nbytes == 1280
    assert not given[:40].any()
    assert given[40:48].view(np.int32).tolist() == [132, 232448]
    assert not given[48:].any()


@pytest.mark.parametrize(
    "good",
    [
        config(grid=(2**31 - 1, 65535, 65535)),
        config(block=(1024, 1, 1)),
        config(block=(4, 4, 64)),
        config(shared_bytes=232448),
    ],
)
def test_what_the_device_accepts_passes(exercise: Exercise, good: LaunchConfig) -> None:
    plan = planned(exercise, good)
    assert (plan.findings, plan.config, plan.kernel) == ((), good, "double_kernel")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (config(grid=(0, 0, 0)), "launch->grid is not set"),
        (config(block=(0, 0, 0)), "launch->block is not set"),
        (config(grid=(4, 0, 1)), "launch->grid.y is 0"),
        (config(block=(32, 8, 0)), "launch->block.z is 0"),
        (config(block=(1025, 1, 1)), "launch->block.x is 1025; the maximum is 1024"),
        (config(block=(1, 1, 65)), "launch->block.z is 65; the maximum is 64"),
        (config(block=(64, 32, 1)), "block 64×32×1 has 2048 threads; the maximum is 1024"),
        (config(grid=(2**31, 1, 1)), "launch->grid.x is 2147483648"),
        (config(grid=(1, 65536, 1)), "launch->grid.y is 65536; the maximum is 65535"),
        (config(shared_bytes=232449), "launch->shared_bytes is 232449; the maximum is 232448"),
        (config(variant=2), "variant is 2, but there is no kernel double_kernel_2"),
        (config(variant=-1), "variant is -1, but there is no kernel double_kernel_-1"),
        (config(workspace_bytes=16), "double_kernel has no parameter void* workspace"),
    ],
)
def test_what_it_refuses_is_named(exercise: Exercise, bad: LaunchConfig, says: str) -> None:
    finding = planned(exercise, bad).findings[0]
    assert (finding.kind, finding.file) == ("bad-launch", "starter.cu")
    assert says in finding.message


@pytest.mark.parametrize(
    ("bad", "line"),
    [(config(grid=(0, 1, 1)), 11), (config(block=(2048, 1, 1)), 12), (config(shared_bytes=999999), 12)],
)
def test_names_the_line_that_sets_it(exercise: Exercise, bad: LaunchConfig, line: int) -> None:
    assert planned(exercise, bad).findings[0].line == line


def test_an_untouched_launch_is_two_findings(exercise: Exercise) -> None:
    empty = planned(exercise, LaunchConfig(grid=(0, 0, 0), block=(0, 0, 0)))
    assert len(empty.findings) == 2


def test_static_shared_memory_counts_too(exercise: Exercise) -> None:
    compilation = with_resources(shared_bytes=32768)
    assert not planned(exercise, config(shared_bytes=232448 - 32768), compilation).findings
    (finding,) = planned(exercise, config(shared_bytes=232448 - 32767), compilation).findings
    assert "on top of 32768 static bytes; the maximum is 199680" in finding.message


def test_launch_bounds_bound_the_block(exercise: Exercise) -> None:
    compilation = changed(KERNELS[0], max_threads=32)
    (finding,) = planned(exercise, LAUNCH, compilation).findings
    assert "__launch_bounds__ of double_kernel allows 32" in finding.message


def test_clusters_divide_the_grid(exercise: Exercise) -> None:
    compilation = changed(KERNELS[0], cluster=(2, 1, 1))
    assert not planned(exercise, config(grid=(4, 3, 1)), compilation).findings
    (finding,) = planned(exercise, config(grid=(5, 3, 1)), compilation).findings
    assert finding.message.endswith(
        "launch->grid.x is 5; __cluster_dims__(2, 1, 1) of double_kernel needs a multiple of 2"
    )
    assert finding.line == 11


@pytest.mark.parametrize(
    ("cluster", "grid", "says", "line"),
    [
        ((2, 1, 1), (5, 1, 1), "launch->grid.x is 5; launch->cluster 2×1×1 needs a multiple of 2", 11),
        ((3, 3, 1), (3, 3, 1), "launch->cluster is 3×3×1, 9 blocks; the maximum is 8", 12),
        ((2, 0, 1), (4, 1, 1), "launch->cluster.y is 0; it must be at least 1", 12),
    ],
)
def test_the_cluster_of_a_launch_divides_its_grid(
    exercise: Exercise, cluster: tuple[int, int, int], grid: tuple[int, int, int], says: str, line: int
) -> None:
    assert not planned(exercise, config(grid=(4, 3, 1), cluster=(2, 3, 1))).findings
    (finding,) = planned(exercise, config(grid=grid, cluster=cluster)).findings
    assert says in finding.message
    assert finding.line == line
    assert "divides the grid" in next_step(finding)


def test_a_launch_cannot_contradict_cluster_dims(exercise: Exercise) -> None:
    compilation = changed(KERNELS[0], cluster=(2, 1, 1))
    assert not planned(exercise, config(grid=(4, 1, 1), cluster=(2, 1, 1)), compilation).findings
    (finding,) = planned(exercise, config(grid=(4, 1, 1), cluster=(4, 1, 1)), compilation).findings
    assert (
        "launch->cluster is 4×1×1, but __cluster_dims__(2, 1, 1) of double_kernel says otherwise" in finding.message
    )
    assert "agrees with __cluster_dims__" in next_step(finding)


TILES = TensorMap(
    array=0,
    type=7,  # float
    rank=2,
    offset=0,
    dim=(64, 10, 0, 0, 0),
    stride=(256, 0, 0, 0),
    box=(32, 8, 0, 0, 0),
    element_stride=(0, 0, 0, 0, 0),
    swizzle=3,
)
WITH_MAP = changed(KERNELS[0], parameter_bytes=(8, 8, 8, 4, 128))


def test_a_tensor_map_becomes_an_argument_of_the_kernel(exercise: Exercise) -> None:
    plan = planned(exercise, config(tensor_maps=(TILES,)), WITH_MAP)
    assert plan.findings == ()
    (invocation,) = invocations.of(exercise.kernels, CASE, [plan])
    assert invocation.arguments == ("x", "y", "M_sizes", (8, 4), Mapped("x", TILES))
    assert invocation.called[-1] == "tensor_map[0]"


def test_a_tensor_map_may_describe_the_workspace(exercise: Exercise) -> None:
    compilation = changed(KERNELS[0], parameter_bytes=(8, 8, 8, 4, 8, 128))
    of_workspace = msgspec.structs.replace(TILES, array=4)
    plan = planned(exercise, config(workspace_bytes=4096, tensor_maps=(of_workspace,)), compilation)
    assert (plan.findings, plan.takes_workspace) == ((), True)
    (invocation,) = invocations.of(exercise.kernels, CASE, [plan])
    assert invocation.arguments[-2:] == ("workspace", Mapped("workspace", of_workspace))


def test_as_many_tensor_maps_as_parameters(exercise: Exercise) -> None:
    (more,) = planned(exercise, config(tensor_maps=(TILES, TILES)), WITH_MAP).findings
    assert "launch->tensor_maps is 2, but double_kernel ends in 1 parameters" in more.message
    (fewer,) = planned(exercise, LAUNCH, WITH_MAP).findings
    assert "launch->tensor_maps is 0" in fewer.message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"array": 3}, "array is 3; that is the number of no array of double_kernel"),
        ({"type": 13}, "type is 13; it must be a CU_TENSOR_MAP_DATA_TYPE_*"),
        ({"rank": 6}, "rank is 6; it must be from 1 to 5"),
        ({"offset": 8}, "offset is 8; it must be a multiple of 16"),
        ({"dim": (64, 0, 0, 0, 0)}, "dim[1] is 0; it must be from 1 to 2^32"),
        ({"stride": (250, 0, 0, 0)}, "stride[0] is 250; it must be a multiple of 16 bytes"),
        ({"stride": (1 << 40, 0, 0, 0)}, "stride[0] is 1099511627776; it must be less than 2^40 bytes"),
        ({"box": (32, 257, 0, 0, 0)}, "box[1] is 257; it must be from 1 to 256"),
        ({"box": (3, 8, 0, 0, 0)}, "box[0] is 3 elements, 12 bytes; it must be a multiple of 16 bytes"),
        ({"box": (64, 8, 0, 0, 0)}, "box[0] is 64 elements, 256 bytes; this swizzle allows at most 128 bytes"),
        ({"element_stride": (1, 9, 0, 0, 0)}, "element_stride[1] is 9; it must be from 1 to 8"),
        ({"swizzle": 4}, "swizzle is 4; it must be from 0 to 3"),
        ({"interleave": 1}, "interleave needs a rank of at least 3"),
        ({"type": 2, "fill": 1}, "fill can be NaN only for a floating-point type"),
    ],
)
def test_what_the_driver_refuses_of_a_tensor_map_is_named(
    exercise: Exercise, changes: dict[str, object], says: str
) -> None:
    bad = msgspec.structs.replace(TILES, **changes)
    (finding,) = planned(exercise, config(tensor_maps=(bad,)), WITH_MAP).findings
    assert finding.kind == "bad-launch"
    assert f"launch->tensor_map[0].{says}" in finding.message


def test_registers_bound_the_block(exercise: Exercise) -> None:
    block = config(block=(1024, 1, 1))
    assert not planned(exercise, block, with_resources(registers=64)).findings
    (finding,) = planned(exercise, block, with_resources(registers=65)).findings
    assert "65 registers each" in finding.message


def test_workspace_and_its_parameter_belong_together(exercise: Exercise) -> None:
    assert planned(exercise, config(workspace_bytes=64 * MIB), WITH_WORKSPACE).takes_workspace
    (without,) = planned(exercise, LAUNCH, WITH_WORKSPACE).findings
    assert "launch->workspace_bytes is 0" in without.message
    (too_much,) = planned(exercise, config(workspace_bytes=64 * MIB + 1), WITH_WORKSPACE).findings
    assert "64 MiB" in too_much.message


def test_a_variant_launches_its_own_kernel(exercise: Exercise) -> None:
    other = CompiledKernel("double_kernel_2", (8, 8, 8, 4), line=20)
    compilation = msgspec.structs.replace(COMPILED, kernels=(*KERNELS, other))
    plan = planned(exercise, config(variant=2), compilation)
    assert (plan.kernel, plan.line, plan.findings) == ("double_kernel_2", 20, ())


def test_a_fault_inside_the_launch_function_is_its_own(exercise: Exercise) -> None:
    fault = Finding("out-of-bounds", "starter.cu", 11, "M_sizes[9] of 2")
    plan = plan_launch(exercise.kernels[0], COMPILED, "", "starter.cu", Outcome(findings=(fault,)))
    check = launch.judge([(CASE, plan)], COMPILED)
    assert check.status is Status.FAILED
    assert [(f.kind, f.line) for f in check.findings] == [("out-of-bounds", 11)]


def test_the_check_names_the_first_bad_case_and_counts_the_others(exercise: Exercise) -> None:
    good, bad = planned(exercise, LAUNCH), planned(exercise, config(grid=(0, 1, 1)))
    cases = [msgspec.structs.replace(CASE, name=name) for name in ("a", "b", "c")]
    check = launch.judge(list(zip(cases, (good, bad, bad), strict=True)), COMPILED)
    assert check.status is Status.FAILED
    assert check.findings[0].notes == ("in case b and 1 more: M 4 4",)


def test_a_secret_case_is_told_by_nothing_of_it(exercise: Exercise) -> None:
    secret = msgspec.structs.replace(CASE, name="secret-1", secret=True, summary="M 77")
    check = launch.judge([(secret, planned(exercise, config(grid=(77, 0, 1))))], COMPILED)
    assert [f.kind for f in check.findings] == ["secret-case"]
    assert "77" not in str(check)
    assert "grid" not in str(check)


def test_an_instruction_that_the_engine_lacks_judges_nothing(exercise: Exercise) -> None:
    lacking = Finding("unsupported-instruction", "starter.cu", 11, "wgmma is not known to the CPU engine")
    plan = plan_launch(exercise.kernels[0], COMPILED, "", "starter.cu", Outcome(unsupported=lacking))
    check = launch.judge([(CASE, plan)], COMPILED)
    assert check.status is Status.NOT_JUDGED
    assert check.reason == "wgmma is not known to the CPU engine (starter.cu:11)"
