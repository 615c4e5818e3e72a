#!/usr/bin/env bash
# Runs the tests with another Python and other versions of packages, in a clone
# of the last commit that is removed afterwards; further arguments go to pytest.
#
#   tools/try_versions.sh PYTHON 'NAME==VERSION ...' [PYTEST_ARGUMENT ...]
#   tools/try_versions.sh python3.14 'torch==2.15.0' tests/ops tests/models
#   tools/try_versions.sh python3.11 'torch==2.14.1 mmcv-lite==2.2.0'
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ $# -lt 2 ]; then
    echo 'try_versions: give a Python and the versions of packages, such as' \
        "python3.14 'torch==2.15.0'." >&2
    exit 2
fi
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone --quiet . "$clone"
requirements=$clone/requirements/tested.txt
for package in $2; do
    sed -i "s/^${package%%==*}==.*/$package/" "$requirements"
done
# PyTorch pins these itself.
sed -i '/^sympy==/d; /^triton==/d' "$clone"/requirements/*.txt
PYTHON=$1 bash "$clone/tools/run_tests.sh" "${@:3}"
