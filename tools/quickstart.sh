#!/usr/bin/env bash
# From a fresh clone to a SELFYNet that names the motion in a video: makes
# .venv, renders a small data set, trains on it, tests and predicts. The next
# run continues an interrupted one.
#
#   CLIPS=1600   training clips (a multiple of 32); test clips are a quarter
#   DIR=.        folder of data/ and work_dirs/, the repository by default
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/tools/setup_env.sh"
export PATH="$root/.venv/bin:$PATH"
cd "${DIR:-$root}"
# Threads that spin while they wait make a step ten times as slow where another
# program takes one of the cores.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}

clips=${CLIPS:-1600}
data=data/motion
config=$root/configs/selfy_tsm_r18_motion.py
work_dir=work_dirs/selfy_tsm_r18_motion

# The progress lines, if any; MMEngine's whole log is in work_dirs.
progress() {
    grep --line-buffered -o 'Epoch(.*' || [ $? -eq 1 ]
}

echo "Rendering motion clips to $data ..."
python "$root/projects/motion/make_motion.py" "$data" --train "$clips" \
    --val $((clips / 4))

echo "Training in $work_dir ..."
python "$root/tools/train.py" "$config" --resume | progress
# not the best one, which would be selected on the test clips
checkpoint=$(ls "$work_dir"/epoch_*.pth | sort -V | tail -n 1)

echo "Testing $checkpoint on clips from photographs it has not seen ..."
python "$root/tools/test.py" "$config" "$checkpoint" | progress

echo 'Predicting on one of them ...'
clip=val_0003.mp4
label=$(awk -v clip="$clip" '$1 == clip { print $2 }' "$data/val.txt")
truth=$(sed -n "$((label + 1))p" "$data/classes.txt")
python "$root/tools/predict.py" "$data/videos/$clip" "$config" "$checkpoint" \
    --topk 1 | tail -n 1 | {
    read -r score name
    echo "$data/videos/$clip shows: $name ($score); truth: $truth"
}
