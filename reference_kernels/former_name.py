"""`reference_kernels` as another name of `grader.reference_kernels`: exercises written when it was one import that.

No module is loaded under both names, since its classes would be two.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

FORMER = "reference_kernels"
NAME = "grader.reference_kernels"


class _Alias(MetaPathFinder, Loader):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the protocol's
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname == FORMER or fullname.startswith(f"{FORMER}.") else None

    def exec_module(self, module: ModuleType) -> None:
        """The import system takes from sys.modules what a module has put there in its own place."""
        former = module.__name__
        sys.modules[former] = importlib.import_module(NAME + former.removeprefix(FORMER))


_ALIAS = _Alias()


def serve() -> None:
    """From now on, in this process; before all other finders, because a checkout's root may be on sys.path."""
    if _ALIAS not in sys.meta_path:
        sys.meta_path.insert(0, _ALIAS)
    sys.modules[FORMER] = importlib.import_module(NAME)
