#!/usr/bin/env bash
# Lint and tests, in the tested environment; arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup_env.sh requirements/tests.txt
export PATH="$PWD/.venv/bin:$PATH"
python -m ruff check .
python -m yapf --parallel --recursive --diff setup.py selfy_mmaction tools \
    configs benchmarks projects tests
# Most tests wait for a process that computes on one core.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
python -m pytest --numprocesses 2 --dist loadfile "$@"
