#!/usr/bin/env bash
# Lint and tests, in the tested environment; arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup_env.sh
export PATH="$PWD/.venv/bin:$PATH"
python -m ruff check .
python -m pytest "$@"
