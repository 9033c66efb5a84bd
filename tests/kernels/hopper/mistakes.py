"""One mistake at a time in the right kernels, each with the finding that must come first.

A change replaces text of the file in `right`; the line that it marks with HERE is the guilty one.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.kernels.hopper.problem import FOLDER

HERE = "  // <-- here"


@dataclass(frozen=True)
class Mistake:
    name: str
    kernel: str  # the file, without .cu
    kind: str
    detail: str
    changes: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        text = (FOLDER / "right" / f"{self.kernel}.cu").read_text(encoding="utf-8")
        for old, new in self.changes:
            assert text.count(old) == 1, (self.name, old, text.count(old))
            text = text.replace(old, new)
        return text

    @property
    def guilty(self) -> tuple[int, ...]:
        lines = enumerate(self.text.splitlines(), 1)
        return tuple(number for number, line in lines if line.endswith(HERE.strip()))


def mark(line: str) -> tuple[str, str]:
    """A line that is guilty as it stands."""
    return line, line + HERE


def without(text: str) -> tuple[str, str]:
    return text, ""


LOAD_BYTES = (
    "load_bytes(&to[(row / 8 * PIECES + piece) * 64 + row % 8 * 8], &from[row * DEPTH + piece * 8], 16, full);"
)
LOAD_A = "load(A, &of_a, step * STEP, blockIdx.x * TILE, &full);"
LOAD_A_STAGE = "load(A[stage], &of_a, step * STEP, blockIdx.x * TILE, &full[stage]);"
MULTIPLY, MULTIPLY_STAGE = "multiply_step(sum, A, B);", "multiply_step(sum, A[stage], B[stage]);"
STORE = "store_sums(d, sum, blockIdx.x * TILE);"
FENCE, WAIT = "        fence_registers();\n", "        wait_for_products<0>();\n"
WAIT_FULL = "wait(&full[stage], step / STAGES & 1);"
RELEASE = "        if (threadIdx.x % 32 == 0) arrive(&empty[stage]);\n"

MISTAKES = (
    # Ordinary stores, and what reads them asynchronously.
    Mistake("no proxy fence before a bulk store", "persistent", "race", "no-proxy-fence",
            (without("        fence_async();\n"), mark("store(&of_d, 0, tile * TILE, out);"))),
    Mistake("no proxy fence before wgmma", "without_swizzle", "race", "no-proxy-fence",
            (without("        fence_async();\n"),
             mark("multiply(sum, in_pieces(A) + 16 * k, in_pieces(B) + 16 * k);"))),
    Mistake("no proxy fence before a reduction", "reduced_by_copy", "race", "no-proxy-fence",
            (without("    fence_async();\n"), mark("add(&of_d, 0, first_row, out);"))),
    Mistake("no barrier behind the proxy fence", "without_swizzle", "race", "",
            (("fence_async();\n        __syncthreads();\n", "fence_async();\n"),
             mark("multiply(sum, in_pieces(A) + 16 * k, in_pieces(B) + 16 * k);"))),
    # Tiles that are overwritten while they may be read.
    Mistake("released before it was read", "warp_specialised", "race", "with-product",
            ((WAIT + RELEASE, RELEASE + WAIT), mark(LOAD_A_STAGE))),
    Mistake("a thread is two phases ahead of others", "single_stage", "barrier-divergence", "stuck-mbarrier",
            ((WAIT + "        __syncthreads();\n", WAIT), mark("wait(&full, step & 1);"))),
    Mistake("loaded before the products were waited for", "multi_stage", "race", "with-product",
            (("        wait_for_products<1>();\n        __syncthreads();\n        load_step(step + STAGES - 1);\n",
              "        load_step(step + STAGES - 1);\n        wait_for_products<1>();\n        __syncthreads();\n"),
             mark("load(A[stage], &of_a, step * STEP, blockIdx.x * TILE, &full[stage]);"))),
    Mistake("too many groups left in flight", "multi_stage", "race", "with-product",
            (("wait_for_products<1>();", "wait_for_products<2>();"),
             mark("load(A[stage], &of_a, step * STEP, blockIdx.x * TILE, &full[stage]);"))),
    Mistake("the other block may still read", "multicast", "race", "with-copy",
            ((WAIT + "        sync_cluster();\n", WAIT + "        __syncthreads();\n"),
             mark("load_for(3, &B[rank * half * STEP], &of_b, step * STEP, rank * half, &full);"))),
    Mistake("stored over while a bulk copy reads", "persistent", "race", "with-copy",
            (("        if (threadIdx.x == 0) wait_for_copies<0>();\n        asm", "        asm"),
             mark("store_sums(out, sum, 0);"))),
    Mistake("one warp releases for all", "ping_pong", "race", "with-product",
            (("        asm volatile(\"bar.sync %0, 128;\" ::\"r\"(4 + group) : \"memory\");\n", ""),
             mark("load(A[stage], &of_a, step * STEP, tile * TILE, &full[stage]);"))),
    Mistake("ldmatrix may still read", "a_in_registers", "race", "own-barriers",
            ((WAIT + "        __syncthreads();\n", WAIT), mark(LOAD_A))),
    # Accumulators and registers of A.
    Mistake("the last group is not waited for", "multi_stage", "race", "early-accumulator",
            (without("    wait_for_products<0>();\n"), mark(STORE))),
    Mistake("sums are sent before they are there", "sums_by_mail", "race", "early-accumulator",
            (without("    wait_for_products<0>();\n"),
             mark("store_async(box + 512 * i, rank ? sum[i] : sum[SUMS / 2 + i], signal);"))),
    Mistake("no commit", "reduced_by_copy", "race", "early-accumulator",
            (without("    commit();\n"), mark("store_sums(out, sum, 0);"))),
    Mistake("registers of A are loaded again", "a_in_registers", "race", "early-factor",
            (("        u32 fragment[STEP / 16][4];\n"
              "        for (int k = 0; k < STEP / 16; ++k) read_fragment(fragment[k], A, k);\n", ""),
             (FENCE + "        for (int k = 0; k < STEP / 16; ++k) multiply(sum, fragment[k], swizzled(B) + 2 * k);\n"
              "        commit();\n",
              "        u32 fragment[4];\n#pragma unroll 1\n        for (int k = 0; k < STEP / 16; ++k) {\n"
              f"            read_fragment(fragment, A, k);{HERE}\n            fence_registers();\n"
              "            multiply(sum, fragment, swizzled(B) + 2 * k);\n            commit();\n        }\n"))),
    Mistake("registers of A are loaded behind the fence", "a_in_registers", "race", "changed-register",
            (("        u32 fragment[STEP / 16][4];\n", FENCE + "        u32 fragment[STEP / 16][4];\n"),
             ("read_fragment(fragment[k], A, k);\n" + FENCE, "read_fragment(fragment[k], A, k);\n"),
             mark("multiply(sum, fragment[k], swizzled(B) + 2 * k);"))),
    Mistake("sums are scaled without a fence", "single_stage", "race", "changed-register",
            ((WAIT, WAIT + "        for (float& s : sum) s *= 0.5f;\n"),
             (FENCE, "        if (step == 0) fence_registers();\n"), mark(MULTIPLY))),
    Mistake("no fence at all", "single_stage", "race", "no-product-fence", (without(FENCE), mark(MULTIPLY))),
    # Whole warpgroups.
    Mistake("three warps", "single_stage", "collective-mismatch", "split-warpgroup",
            (("launch_with(launch, ROWS / TILE, 128)", "launch_with(launch, ROWS / TILE, 96)"), mark(MULTIPLY))),
    Mistake("only two warps multiply", "single_stage", "collective-mismatch", "split-warpgroup",
            ((MULTIPLY, f"if (threadIdx.x < 64) {MULTIPLY}{HERE}"),)),
    Mistake("warps 1 to 4 are no warpgroup", "warp_specialised", "collective-mismatch", "split-warpgroup",
            (("if (threadIdx.x >= CONSUMERS) {", "if (threadIdx.x < 32) {"),
             ("if (threadIdx.x == CONSUMERS) {", "if (threadIdx.x == 0) {"), mark(MULTIPLY_STAGE))),
    Mistake("half of each warp", "single_stage", "collective-mismatch", "",
            ((MULTIPLY, f"if (threadIdx.x % 32 < 16) {MULTIPLY}{HERE}"),)),
    # Descriptors.
    Mistake("past the end of the tile", "single_stage", "out-of-bounds", "",
            ((MULTIPLY, f"multiply_step(sum, A, B + COLUMNS * STEP / 2);{HERE}"),)),
    Mistake("starts in the second row", "single_stage", "misaligned-access", "wrong-descriptor",
            ((MULTIPLY, f"multiply_step(sum, A, B + STEP);{HERE}"),)),
    Mistake("another swizzle than the copy's", "single_stage", "misaligned-access", "wrong-descriptor",
            ((MULTIPLY, "for (int k = 0; k < 4; ++k)\n"
              f"            multiply(sum, swizzled(A) + 2 * k, (swizzled(B) ^ 3ull << 62) + 2 * k);{HERE}"),)),
    Mistake("the map does not swizzle", "multi_stage", "misaligned-access", "wrong-descriptor",
            (("launch_with(launch, ROWS / TILE, 128);",
              "launch_with(launch, ROWS / TILE, 128), launch->tensor_map[0].swizzle = 0;"), mark(MULTIPLY_STAGE))),
    Mistake("a stride of eight shorter rows", "single_stage", "misaligned-access", "wrong-descriptor",
            ((MULTIPLY, "for (int k = 0; k < 4; ++k)\n"
              f"            multiply(sum, swizzled(A) - (512ull >> 4 << 32) + 2 * k, swizzled(B) + 2 * k);{HERE}"),)),
    Mistake("no swizzle, and rows of 128 bytes", "single_stage", "misaligned-access", "wrong-descriptor",
            (("launch_with(launch, ROWS / TILE, 128);",
              "launch_with(launch, ROWS / TILE, 128), launch->tensor_map[0].swizzle = 0;"),
             (MULTIPLY, "for (int k = 0; k < 4; ++k)\n"
              f"            multiply(sum, swizzled(A) - (1ull << 62) + 2 * k, swizzled(B) + 2 * k);{HERE}"))),
    # mbarriers.
    Mistake("more arrivals expected than come", "warp_specialised", "barrier-divergence", "stuck-mbarrier",
            (("init(&empty[stage], CONSUMERS / 32);", "init(&empty[stage], CONSUMERS);"),
             mark("wait(&empty[stage], step / STAGES & 1 ^ 1);"))),
    Mistake("two arrivals expected, one comes", "multi_stage", "barrier-divergence", "stuck-mbarrier",
            (("init(&full[stage], 1);", "init(&full[stage], 2);"), mark(WAIT_FULL))),
    Mistake("more arrivals than expected", "warp_specialised", "barrier-divergence", "stuck-mbarrier",
            ((RELEASE, "        arrive(&empty[stage]);\n"), mark("wait(&empty[stage], step / STAGES & 1 ^ 1);"))),
    Mistake("released by one warpgroup of two", "cooperative", "barrier-divergence", "stuck-mbarrier",
            (("init(&empty[stage], CONSUMERS);", "init(&empty[stage], CONSUMERS / 2);"),
             mark("wait(&empty[stage], step / STAGES & 1 ^ 1);"))),
    Mistake("the consumers' parity", "warp_specialised", "uninitialised-read", "",
            ((WAIT_FULL, "wait(&full[stage], step / STAGES & 1 ^ 1);"), mark(MULTIPLY_STAGE))),
    Mistake("the producer's parity", "warp_specialised", "barrier-divergence", "stuck-mbarrier",
            (("wait(&empty[stage], step / STAGES & 1 ^ 1);", f"wait(&empty[stage], step / STAGES & 1);{HERE}"),)),
    Mistake("a parity that never changes", "single_stage", "barrier-divergence", "passed-early",
            (("wait(&full, step & 1);", f"wait(&full, 0);{HERE}"),)),
    Mistake("more bytes expected than come", "single_stage", "barrier-divergence", "stuck-mbarrier",
            (("expect(&full, TILE_BYTES);", "expect(&full, TILE_BYTES + 128);"), mark("wait(&full, step & 1);"))),
    Mistake("fewer bytes expected than come", "warp_specialised", "race", "with-copy",
            (("expect(&full[stage], TILE_BYTES);", "expect(&full[stage], A_BYTES);"), mark(MULTIPLY_STAGE))),
    Mistake("one of two copies left out", "multi_stage", "barrier-divergence", "stuck-mbarrier",
            (without("        load(B[stage], &of_b, step * STEP, 0, &full[stage]);\n"), mark(WAIT_FULL))),
    Mistake("never released", "warp_specialised", "barrier-divergence", "stuck-mbarrier",
            (without(RELEASE), mark("wait(&empty[stage], step / STAGES & 1 ^ 1);"))),
    Mistake("used without having been initialised", "single_stage", "uninitialised-read", "",
            (("        init(&full, 1);\n        fence_init();\n    }\n    __syncthreads();\n", "    }\n"),
             ("            expect(&full, TILE_BYTES);", f"            expect(&full, TILE_BYTES);{HERE}"))),
    Mistake("nobody waits for the copy", "reduced_by_copy", "race", "copy-in-flight",
            (without("    wait(&full, 0);\n"), mark(MULTIPLY))),
    # Clusters.
    Mistake("the other block may have left", "distributed_sum", "race", "left-block",
            (("    }\n    sync_cluster();\n}", "    }\n}"),
             mark("d[first_row * COLUMNS + mine] = part[mine] + read_remote(mapped(&part[mine], rank ^ 1));"))),
    Mistake("the other block's sums may not be there", "distributed_sum", "race", "own-barriers",
            (("store_sums(part, sum, 0);\n    sync_cluster();", "store_sums(part, sum, 0);\n    __syncthreads();"),
             mark("d[first_row * COLUMNS + mine] = part[mine] + read_remote(mapped(&part[mine], rank ^ 1));"))),
    Mistake("arrives before its sums are stored", "split_barrier", "race", "own-barriers",
            (("        store_sums(part, sum, 0);\n        arrive_cluster();\n",
              f"        arrive_cluster();\n        store_sums(part, sum, 0);{HERE}\n"),)),
    Mistake("an arrival at a block that may have left", "multicast_ring", "race", "left-block",
            (("    }\n    sync_cluster();\n}", "    }\n}"),
             mark("arrive_remote(mapped(&empty[stage], threadIdx.x));"))),
    Mistake("not all threads reach the cluster's barrier", "distributed_sum", "barrier-divergence", "cluster-barrier",
            (("    }\n    sync_cluster();\n}",
              f"    }}\n    if (threadIdx.x < 64) sync_cluster();{HERE}\n    else __syncthreads();\n}}"),)),
    Mistake("arrives twice", "split_barrier", "barrier-divergence", "cluster-order",
            (("        wait_cluster();\n", f"        arrive_cluster();{HERE}\n        wait_cluster();\n"),)),
    Mistake("waits without arriving", "split_barrier", "barrier-divergence", "cluster-order",
            (without("        arrive_cluster();\n"), mark("        wait_cluster();"))),
    Mistake("multicast to one block only", "multicast", "barrier-divergence", "stuck-mbarrier",
            (("load_for(3,", "load_for(1,"), mark("wait(&full, step & 1);"))),
    Mistake("fewer bytes of mail expected", "sums_by_mail", "race", "with-copy",
            (("expect(&came, sizeof inbox);", "expect(&came, sizeof inbox / 2);"),
             mark("d[(first_row + row_of(own)) * COLUMNS + column_of(own)] = mine + inbox[threadIdx.x + 128 * i];"))),
    # Copies.
    Mistake("an unaligned source", "rows_by_bulk_copy", "misaligned-access", "",
            ((LOAD_BYTES,
              "load_bytes(&to[(row / 8 * PIECES + piece) * 64 + row % 8 * 8], &from[row * DEPTH + piece * 8 + 4], 16,"
              f" full);{HERE}"),)),
    Mistake("an unaligned target", "rows_by_bulk_copy", "misaligned-access", "",
            ((LOAD_BYTES,
              "load_bytes(&to[(row / 8 * PIECES + piece) * 64 + row % 8 * 4], &from[row * DEPTH + piece * 8], 16,"
              f" full);{HERE}"),)),
    Mistake("a size that is no multiple of 16", "rows_by_bulk_copy", "misaligned-access", "bulk-size",
            ((LOAD_BYTES,
              "load_bytes(&to[(row / 8 * PIECES + piece) * 64 + row % 8 * 8], &from[row * DEPTH + piece * 8], 8,"
              f" full);{HERE}"),)),
    Mistake("a tile that is not aligned", "persistent", "misaligned-access", "misaligned-tile",
            (("store(&of_d, 0, tile * TILE, out);", f"store(&of_d, 0, tile * TILE, out + 8);{HERE}"),)),
    Mistake("past the end of a stage", "multi_stage", "out-of-bounds", "",
            (("load(A[stage], &of_a,", "load(A[stage + 1], &of_a,"),
             mark("step * STEP, blockIdx.x * TILE, &full[stage]);"))),
    Mistake("leaves while the copy reads", "reduced_by_copy", "race", "unfinished-copy",
            (without("        wait_for_copies<0>();\n"), mark("add(&of_d, 0, first_row, out);"))),
    Mistake("a copy that is in no group", "reduced_by_copy", "race", "unfinished-copy",
            (without("        commit_copies();\n"), mark("add(&of_d, 0, first_row, out);"))),
    Mistake("too few registers", "cooperative", "trap", "register-count",
            (('asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");',
              f'asm volatile("setmaxnreg.dec.sync.aligned.u32 16;");{HERE}'),)),
)  # fmt: skip
