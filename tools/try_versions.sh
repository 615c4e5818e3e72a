#!/usr/bin/env bash
# Runs the tests with another Python and PyTorch, in a clone of the last commit
# that is removed afterwards; further arguments go to pytest.
#
#   tools/try_versions.sh PYTHON TORCH [PYTEST_ARGUMENT ...]
#   tools/try_versions.sh python3.14 2.15.0 tests/ops tests/models
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ $# -lt 2 ]; then
    echo 'try_versions: give a Python and a version of PyTorch, such as' \
        'python3.14 2.15.0.' >&2
    exit 2
fi
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone --quiet . "$clone"
sed -i "s/^torch==.*/torch==$2/" "$clone/requirements/tested.txt"
PYTHON=$1 bash "$clone/tools/run_tests.sh" "${@:3}"
