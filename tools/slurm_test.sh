#!/usr/bin/env bash
# Test on a Slurm cluster:
# slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [test.py options]
#
# The environment variables are those of slurm_train.sh.
set -eu
: "${4:?usage: slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options]}"
export MASTER_PORT=${MASTER_PORT:-$((12000 + RANDOM % 20000))}

# SRUN_ARGS is unquoted: it may hold several options.
exec srun --partition="$1" --job-name="$2" \
    --gres=gpu:"${GPUS_PER_NODE:-8}" \
    --ntasks="${GPUS:-8}" --ntasks-per-node="${GPUS_PER_NODE:-8}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$(dirname "${BASH_SOURCE[0]}")/test.py" "$3" "$4" \
    --launcher slurm "${@:5}"
