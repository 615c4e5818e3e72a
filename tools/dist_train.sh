#!/usr/bin/env bash
# Train with several processes: dist_train.sh CONFIG GPUS [train.py options]
#
# GPUS is the number of processes on this machine; without a GPU they run on
# CPU. On several machines, run it on each with NNODES, NODE_RANK (from 0),
# MASTER_ADDR (the machine of rank 0) and PORT.
set -eu
tool=${SELFY_TOOL:-train}  # dist_test.sh sets it
: "${2:?usage: dist_train.sh CONFIG GPUS [train.py options]}"
if [[ ! $2 =~ ^[1-9][0-9]*$ ]]; then
    echo "dist_$tool.sh: error: GPUS is $2: give a number of processes." >&2
    exit 2
fi

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$2" \
    "$(dirname "${BASH_SOURCE[0]}")/$tool.py" "$1" --launcher pytorch "${@:3}"
