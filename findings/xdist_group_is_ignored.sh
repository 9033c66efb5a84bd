#!/usr/bin/env bash
# With pytest 9.2, pytest-xdist 3.8.0 ignores the marker xdist_group, and says nothing.
#
# `--dist loadgroup` promises that tests of one group run in one worker. xdist passes the group on by assigning to the
# private attribute `_nodeid` of each test. pytest 9.2 keeps the id in `_id` and computes `nodeid` from it, so the
# assignment has no effect and the tests of a group are spread over all workers. `--dist loadfile` reads the id only,
# and works.
#
# Expected output: loadgroup: 2 workers / loadfile: 1 worker
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder/packages" \
    pytest==9.2.0 pytest-xdist==3.8.0 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

mkdir "$folder/tests"
cat >"$folder/tests/test_group.py" <<'PYTHON'
import os
import pathlib
import time

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(6))
def test_it(number):
    time.sleep(0.2)
    pathlib.Path(os.environ["WORKERS"], os.environ["PYTEST_XDIST_WORKER"]).touch()
PYTHON

workers() {
    mkdir "$folder/$1"
    (cd "$folder/tests" && env -u PYTEST_ADDOPTS PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONPATH="$folder/packages" \
        WORKERS="$folder/$1" python3 -m pytest -q -p xdist -n 2 --dist "$1" >"$folder/$1.log") || { cat "$folder/$1.log"; exit 1; }
    find "$folder/$1" -type f | wc -l
}

group=$(workers loadgroup)
file=$(workers loadfile)
echo "loadgroup: $group workers / loadfile: $file worker"
[ "$group" = 2 ] && [ "$file" = 1 ]
