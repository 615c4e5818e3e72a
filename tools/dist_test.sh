#!/usr/bin/env bash
# Test with several processes:
# dist_test.sh CONFIG CHECKPOINT GPUS [test.py options]
#
# GPUS and the environment variables are those of dist_train.sh.
set -eu
: "${3:?usage: dist_test.sh CONFIG CHECKPOINT GPUS [test.py options]}"
if [[ ! $3 =~ ^[1-9][0-9]*$ ]]; then
    echo "dist_test.sh: error: GPUS is $3: give a number of processes." >&2
    exit 2
fi

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$3" \
    "$(dirname "${BASH_SOURCE[0]}")/test.py" "$1" "$2" --launcher pytorch \
    "${@:4}"
