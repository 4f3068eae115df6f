#!/usr/bin/env bash
# Train a recipe with TensorFlow on one GPU:
#   backends/tensorflow/launch.sh RECIPE RUN [options of `flowkit train`]
# GPUS=1 selects the second GPU. An existing RUN continues.
# Several GPUs are NOT supported on TensorFlow; backends/jax trains on several.
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n '2,5s/^# //p' "$0" >&2
  exit 2
fi
if [ "${SLURM_STEP_NUM_TASKS:-${WORLD_SIZE:-1}}" -gt 1 ] || [[ ${GPUS:-0} == *[,\ ]* ]]; then
  echo "launch.sh: several GPUs or processes are not supported on TensorFlow: backends/jax and backends/torch train on several" >&2
  exit 2
fi
recipe=$1
run=$2
shift 2

export KERAS_BACKEND=tensorflow CUDA_VISIBLE_DEVICES=${GPUS:-0} TF_FORCE_GPU_ALLOW_GROWTH=true
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python3
  if [ -x "$root/.venv-tensorflow/bin/python" ]; then PYTHON=$root/.venv-tensorflow/bin/python; fi
fi

"$PYTHON" -m flowkit info
if [ -e "$run/recipe.toml" ]; then
  set -- "$@" --resume
fi
exec "$PYTHON" -m flowkit train "$recipe" --out "$run" "$@"
