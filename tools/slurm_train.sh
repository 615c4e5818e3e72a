#!/usr/bin/env bash
# Train on a Slurm cluster:
# slurm_train.sh PARTITION JOB_NAME CONFIG [train.py options]
#
# GPUS is the total number of processes, GPUS_PER_NODE that on a machine.
# SRUN_ARGS is passed to srun; "--gres=none" trains on machines without GPU.
set -eu
tool=${SELFY_TOOL:-train}  # slurm_test.sh sets it
: "${3:?usage: slurm_train.sh PARTITION JOB_NAME CONFIG [train.py options]}"
export MASTER_PORT=${MASTER_PORT:-$((12000 + RANDOM % 20000))}

# SRUN_ARGS is unquoted: it may hold several options.
exec srun --partition="$1" --job-name="$2" \
    --gres=gpu:"${GPUS_PER_NODE:-8}" \
    --ntasks="${GPUS:-8}" --ntasks-per-node="${GPUS_PER_NODE:-8}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$(dirname "${BASH_SOURCE[0]}")/$tool.py" "$3" \
    --launcher slurm "${@:4}"
