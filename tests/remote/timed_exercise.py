"""The fake exercise as a grouped GEMM, as far as timing cares."""

from tests import fakes

ORACLE = fakes.ORACLE.replace('| {"cols": 8}', '| {"cols": 8, "K": 8, "N": 8}') + (
    "\ndef another(case, seed):\n    return make(case.name, case.arguments['M_sizes'].data.tolist(), seed, True)\n"
)
