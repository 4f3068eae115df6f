#!/usr/bin/env bash
# All that is measured on a GPU, in one go: benchmarks/gpu.sh [FOLDER]
# Needs flowkit with jax and torch for the GPU, and the other libraries:
#   pip install -r backends/torch/requirements-gpu.txt -r backends/jax/requirements-gpu.txt -e . -r benchmarks/requirements.txt
# Writes FOLDER (default: runs/gpu): the card, tables (*.txt) and JSON of speed in four precisions, memory, and trained runs.
# PYTHON=... another Python; SPEED, MEMORY, TRAIN: more options for each, to try it out on something small.
# What fails is named at the end; the rest is measured all the same.
set -uo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
out=$(realpath -m "${1:-runs/gpu}")
python=${PYTHON:-python3}
read -ra speed <<< "${SPEED:-}"
read -ra memory <<< "${MEMORY:-}"
read -ra train <<< "${TRAIN:-}"
mkdir -p "$out"
failed=()

measure() { # NAME COMMAND...: what it prints goes to the terminal and to NAME.txt
  local name=$1
  shift
  echo "== $name: $*"
  "$@" 2>&1 | tee "$out/$name.txt" || failed+=("$name")
}

cd "$root" || exit
card() {
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || echo "no NVIDIA card: on the CPU"
}
measure card card
for engine in torch jax; do
  export KERAS_BACKEND=$engine
  measure "info-$engine" "$python" -m flowkit.cli info
done

# "default" is each engine as it comes: torch has TF32 in convolutions alone, JAX wherever the card can.
for precision in default float32 tf32 bfloat16; do
  measure "small-$precision" "$python" benchmarks/speed.py --preset small --compiled \
    --precision "$precision" --json "$out/small-$precision.json" "${speed[@]}"
  measure "paper-$precision" "$python" benchmarks/speed.py --preset paper \
    --precision "$precision" --json "$out/paper-$precision.json" "${speed[@]}"
done
measure first-steps "$python" benchmarks/speed.py --preset small --compiled --depths 8 16 32 --repeats 1 \
  --json "$out/first-steps.json" "${speed[@]}"
measure large-images "$python" benchmarks/speed.py --preset 256 --json "$out/large-images.json" "${speed[@]}"

for engine in torch jax; do
  export KERAS_BACKEND=$engine
  measure "memory-$engine" "$python" benchmarks/memory.py --width 128 --batch 32 "${memory[@]}"
  measure "train-$engine" "$python" -m flowkit.cli train glow/fashion-mnist --out "$out/glow-$engine" "${train[@]}"
done

echo "everything is in $out"
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
