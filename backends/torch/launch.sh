#!/usr/bin/env bash
# Train a recipe on this host, with PyTorch:
#   backends/torch/launch.sh RECIPE RUN [options of `flowkit train`]
# PROCESSES=8 trains one model on 8 GPUs with torchrun; MAX_RESTARTS=3 restarts all processes from the last checkpoint if
# one ends. Without PROCESSES, GPUS="0 1 2" trains three models at once, each on its own GPU with its own seed (SEED,
# SEED+1, ...; default 0), into RUN/seed-N. An existing run continues. Several hosts: see docs/scaling.md.
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n '2,6s/^# //p' "$0" >&2
  exit 2
fi
if [ "${SLURM_STEP_NUM_TASKS:-${WORLD_SIZE:-1}}" -gt 1 ]; then
  echo "launch.sh: running as one of several processes is not supported, because launch.sh starts them itself. Under srun" \
    "or torchrun run: python -m flowkit train RECIPE --out RUN --resume" >&2
  exit 2
fi
recipe=$1
run=$2
shift 2

export KERAS_BACKEND=torch
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python3
  if [ -x "$root/.venv-torch/bin/python" ]; then PYTHON=$root/.venv-torch/bin/python; fi
fi

if [ "${PROCESSES:-1}" -gt 1 ]; then
  if [ -n "${GPUS:-}" ]; then export CUDA_VISIBLE_DEVICES=${GPUS// /,}; fi
  exec "$PYTHON" -m torch.distributed.run --standalone --nproc-per-node "$PROCESSES" \
    --max-restarts "${MAX_RESTARTS:-0}" -m flowkit train "$recipe" --out "$run" --resume "$@"
fi

read -ra gpus <<< "${GPUS:-0}"
train() { # GPU RUN [options]
  local gpu=$1 run=$2
  shift 2
  if [ -e "$run/recipe.toml" ]; then set -- "$@" --resume; fi
  CUDA_VISIBLE_DEVICES=$gpu exec "$PYTHON" -m flowkit train "$recipe" --out "$run" "$@"
}

CUDA_VISIBLE_DEVICES=$(IFS=, && echo "${gpus[*]}") "$PYTHON" -m flowkit info
if [ ${#gpus[@]} -eq 1 ]; then
  train "${gpus[0]}" "$run" "$@"
fi

# Divide the host's cores between the runs.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(($(nproc) / ${#gpus[@]} > 0 ? $(nproc) / ${#gpus[@]} : 1))}
mkdir -p "$run"
processes=()
trap 'kill "${processes[@]}" 2>/dev/null || true' INT TERM
for index in "${!gpus[@]}"; do
  seed=$((${SEED:-0} + index))
  train "${gpus[index]}" "$run/seed-$seed" "$@" --set "training.seed=$seed" > "$run/seed-$seed.txt" 2>&1 &
  processes+=($!)
  echo "seed $seed on GPU ${gpus[index]}: $run/seed-$seed.txt"
done
failed=0
for index in "${!processes[@]}"; do
  seed=$((${SEED:-0} + index))
  if wait "${processes[index]}"; then
    echo "seed $seed: $(grep 'bits/dim' "$run/seed-$seed.txt" | tail -n 1)"
  else
    echo "seed $seed failed: $(tail -n 1 "$run/seed-$seed.txt")" >&2
    failed=1
  fi
done
exit $failed
