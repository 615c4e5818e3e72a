#!/usr/bin/env bash
# Test with several processes:
# dist_test.sh CONFIG CHECKPOINT GPUS [test.py options]
#
# GPUS and the environment variables are those of dist_train.sh.
set -eu
: "${3:?usage: dist_test.sh CONFIG CHECKPOINT GPUS [test.py options]}"
SELFY_TOOL=test exec bash "$(dirname "${BASH_SOURCE[0]}")/dist_train.sh" \
    "$1" "$3" "$2" "${@:4}"
