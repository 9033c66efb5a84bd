#!/usr/bin/env bash
# On Hopper, mma.sync of E4M3 is no FP8 tensor-core instruction, and no plain FP16 one either.
#
# NVRTC 13.0.88 for sm_90a makes of one mma.sync.m16n8k32 with E4M3 operands: 12 conversions to FP16
# (F2FP.F16.E4M3.UNPACK_B), two HMMA.16816.F32 of which the first starts from zero, and four FADD that add their result to
# the accumulator. So the accumulator is added in FP32, rounded to nearest, once for 32 products, unlike HMMA's own
# accumulation; and a kernel that converts its operands itself and uses mma.sync.m16n8k16 with FP16 needs no FADD, and
# each conversion once only.
#
# Expected output: e4m3: F2FP 12, HMMA 2, FADD 4 / f16: F2FP 0, HMMA 1, FADD 0
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder/packages" \
    nvidia-cuda-nvrtc==13.0.88 nvidia-cuda-nvdisasm==13.5.37 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

cat >"$folder/compile.py" <<'PYTHON'
import ctypes
import pathlib
import re
import subprocess
import sys

folder = pathlib.Path(sys.argv[1])
packages = folder / "packages" / "nvidia"
nvrtc = ctypes.CDLL(str(next(packages.rglob("libnvrtc.so.13"))))
disassembler = next(packages.rglob("bin/nvdisasm"))
disassembler.chmod(0o755)

KERNEL = """
extern "C" __global__ void product(const unsigned* a, const unsigned* b, float* d) {{
    float c0 = d[threadIdx.x], c1 = d[threadIdx.x + 32], c2 = d[threadIdx.x + 64], c3 = d[threadIdx.x + 96];
    asm volatile("mma.sync.aligned.{shape}.row.col.f32.{type}.{type}.f32 {{%0,%1,%2,%3}}, {{%4,%5,%6,%7}}, {{%8,%9}}, {{%0,%1,%2,%3}};"
                 : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
                 : "r"(a[threadIdx.x]), "r"(a[threadIdx.x + 32]), "r"(a[threadIdx.x + 64]), "r"(a[threadIdx.x + 96]),
                   "r"(b[threadIdx.x]), "r"(b[threadIdx.x + 32]));
    d[threadIdx.x] = c0; d[threadIdx.x + 32] = c1; d[threadIdx.x + 64] = c2; d[threadIdx.x + 96] = c3;
}}
"""


def counts(shape: str, type_: str) -> tuple[int, ...]:
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    text = KERNEL.format(shape=shape, type=type_).encode()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, b"k.cu", 0, None, None) == 0
    options = (ctypes.c_char_p * 1)(b"-arch=sm_90a")
    if nvrtc.nvrtcCompileProgram(program, 1, options):
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        sys.exit(log.value.decode())
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    cubin = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, cubin)
    file = folder / "k.cubin"
    file.write_bytes(cubin.raw)
    code = subprocess.run([disassembler, file], capture_output=True, text=True, check=True).stdout
    return tuple(len(re.findall(rf"\b{name}\b[.\w]*", code)) for name in ("F2FP", "HMMA", "FADD"))


lines = [
    "{}: F2FP {}, HMMA {}, FADD {}".format(type_, *counts(shape, type_))
    for shape, type_ in (("m16n8k32", "e4m3"), ("m16n8k16", "f16"))
]
print("\n".join(lines))
sys.exit(lines != ["e4m3: F2FP 12, HMMA 2, FADD 4", "f16: F2FP 0, HMMA 1, FADD 0"])
PYTHON
LD_LIBRARY_PATH=$(dirname "$(find "$folder/packages" -name 'libnvrtc-builtins.so.13.0')") python3 "$folder/compile.py" "$folder"
