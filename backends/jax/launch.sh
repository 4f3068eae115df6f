#!/usr/bin/env bash
# Train one recipe on all GPUs of this host, with JAX:
#   backends/jax/launch.sh RECIPE RUN [options of `flowkit train`]
# Each GPU takes an equal part of every batch and holds all weights, so training.batch_size must be a
# multiple of their number. GPUS=0,2 takes some of them. A RUN that is there already goes on.
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n '2,5s/^# //p' "$0" >&2
  exit 2
fi
if [ "${SLURM_NTASKS:-${WORLD_SIZE:-1}}" -gt 1 ]; then
  echo "launch.sh: several processes are not supported: start it once, on one host; it takes all of its GPUs" >&2
  exit 2
fi
recipe=$1
run=$2
shift 2

export KERAS_BACKEND=jax
if [ -n "${GPUS:-}" ]; then
  export CUDA_VISIBLE_DEVICES=$GPUS
fi

root=$(cd "$(dirname "$0")/../.." && pwd)
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python3
  if [ -x "$root/.venv/bin/python" ]; then PYTHON=$root/.venv/bin/python; fi
fi

if [ -e "$run/recipe.toml" ]; then
  set -- "$@" --resume
fi
# Keras wants the distribution set before the model is made, which no option of `flowkit train` does.
exec "$PYTHON" -c '
import sys
import jax, keras
print("devices:", *(f"{d.platform}:{d.id} ({d.device_kind})" for d in jax.devices()), flush=True)
if jax.device_count() > 1:
    keras.distribution.set_distribution(keras.distribution.DataParallel())
from flowkit.cli import main
sys.exit(main())
' train "$recipe" --out "$run" "$@"
