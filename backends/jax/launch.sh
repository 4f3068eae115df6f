#!/usr/bin/env bash
# Train one recipe on this host, with JAX:
#   backends/jax/launch.sh RECIPE RUN [options of `flowkit train`]
# One process uses all GPUs (GPUS=0,2 selects some); each GPU processes an equal part of every batch and holds all weights.
# PROCESSES=2 starts two processes instead, each with one GPU; MAX_RESTARTS=3 restarts all of them from the last
# checkpoint if one ends. Several hosts: see docs/scaling.md. An existing RUN continues.
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

export KERAS_BACKEND=jax
if [ -n "${GPUS:-}" ]; then
  export CUDA_VISIBLE_DEVICES=$GPUS
fi

root=$(cd "$(dirname "$0")/../.." && pwd)
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python3
  if [ -x "$root/.venv/bin/python" ]; then PYTHON=$root/.venv/bin/python; fi
fi
train=("$PYTHON" -m flowkit train "$recipe" --out "$run" "$@")
if [ "${PROCESSES:-1}" -eq 1 ]; then
  if [ -e "$run/recipe.toml" ]; then train+=(--resume); fi
  exec "${train[@]}"
fi

export KERAS_DISTRIBUTION_NUM_PROCESSES=$PROCESSES
trap 'kill $(jobs -p) 2>/dev/null || true' INT TERM EXIT
for attempt in $(seq 0 "${MAX_RESTARTS:-0}"); do
  if [ "$attempt" -gt 0 ]; then echo "launch.sh: starting all $PROCESSES processes again" >&2; fi
  # Use another port each time: the last one may not be free yet.
  export KERAS_DISTRIBUTION_JOB_ADDRESSES=127.0.0.1:$((20000 + RANDOM % 10000))
  resume=()
  if [ -e "$run/recipe.toml" ]; then resume=(--resume); fi
  started=()
  for ((rank = 0; rank < PROCESSES; rank++)); do
    KERAS_DISTRIBUTION_PROCESS_ID=$rank LOCAL_RANK=$rank "${train[@]}" ${resume[@]+"${resume[@]}"} &
    started+=($!)
  done
  code=0
  while [ "${#started[@]}" -gt 0 ] && [ "$code" -eq 0 ]; do
    sleep 0.2 || true # a signal to the group ends sleep too; the processes still finish their checkpoint
    for rank in "${!started[@]}"; do
      if kill -0 "${started[rank]}" 2>/dev/null; then continue; fi
      ended=0
      wait "${started[rank]}" || ended=$?
      unset "started[$rank]"
      if [ "$ended" -eq 0 ]; then continue; fi
      if [ "$code" -eq 0 ]; then code=$ended; fi
      case $ended in 2 | 130 | 143) ;; *) echo "launch.sh: process $rank of $PROCESSES has ended with code $ended" >&2 ;; esac
    done
  done
  if [ "$code" -ne 0 ]; then
    # Wait for the others, then kill those that do not end, such as a stopped process.
    for _ in $(seq 100); do
      if [ -z "$(jobs -pr)" ]; then break; fi
      sleep 0.1 || true
    done
    kill -KILL $(jobs -pr) 2>/dev/null || true
    wait || true
  fi
  case $code in 0 | 2 | 130 | 143) break ;; esac # done, bad input, or a signal: another attempt would not differ
done
trap - EXIT
exit "$code"
