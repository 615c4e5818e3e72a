#!/usr/bin/env bash
# Test on a Slurm cluster:
# slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [test.py options]
#
# The environment variables are those of slurm_train.sh.
set -eu
: "${4:?usage: slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options]}"
SELFY_TOOL=test exec bash "$(dirname "${BASH_SOURCE[0]}")/slurm_train.sh" "$@"
