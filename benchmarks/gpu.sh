#!/usr/bin/env bash
# All that is measured on a GPU, unattended: benchmarks/gpu.sh [FOLDER]
# Needs flowkit with torch and JAX for the GPU, in one environment:
#   pip install -r backends/torch/requirements-gpu.txt -r backends/jax/requirements-gpu.txt -e . -r benchmarks/requirements.txt
# First it is shown that there is a card, that its driver is new enough, and that each engine computes on it; otherwise
# nothing is measured, and one line says why. Then FOLDER (default: runs/gpu) gets tables (*.txt), their numbers (*.json),
# trained runs, and report.md, which is printed at the end. What fails or takes too long is named; the rest is measured all
# the same, and the report says "not measured" in its place.
#   PYTHON=...   another Python
#   LIMIT=...    seconds for one answer of one contender (default 900); a measurement gets ten times that
#   SPEED, MEMORY, TRAIN   more options for each, to try it out on something small
#   ON_CPU=1     to try the script itself where there is no card; its figures are no figures of a GPU
set -uo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
out=$(realpath -m "${1:-runs/gpu}")
python=${PYTHON:-python3}
limit=${LIMIT:-900}
read -ra speed <<< "${SPEED:-}"
read -ra memory <<< "${MEMORY:-}"
read -ra train <<< "${TRAIN:-}"
failed=()

measure() { # NAME COMMAND...: what it prints goes to the terminal and to NAME.txt
  local name=$1
  shift
  echo "== $name: $*"
  if ! timeout --kill-after=30 $((10 * limit)) "$@" 2>&1 | tee "$out/$name.txt"; then
    failed+=("$name")
  fi
}

cd "$root" || exit
card=()
if [ -z "${ON_CPU:-}" ]; then
  "$python" benchmarks/card.py || exit 1
  for engine in torch jax; do
    timeout 300 "$python" benchmarks/sees_card.py "$engine" || exit 1
  done
  mkdir -p "$out"
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader > "$out/card.csv"
  card=(--card "$out/card.csv")
else
  echo "ON_CPU: a trial of this script, no measurement of a GPU"
  mkdir -p "$out"
fi

for engine in torch jax; do
  measure "info-$engine" env KERAS_BACKEND=$engine "$python" -m flowkit info
done

# "default" is each engine as it comes: torch has TF32 in convolutions alone, JAX wherever the card can.
for preset in small paper 64; do
  for precision in float32 tf32 bfloat16 default; do
    measure "$preset-$precision" "$python" benchmarks/speed.py --preset $preset --precision $precision --reversible \
      --limit "$limit" --json "$out/$preset-$precision.json" "${speed[@]}"
  done
done
measure compiled "$python" benchmarks/speed.py --preset small --backend torch --compiled --limit "$limit" \
  --json "$out/compiled.json" "${speed[@]}"
measure first-steps "$python" benchmarks/speed.py --preset small --depths 8 16 32 --repeats 1 --limit "$limit" \
  --json "$out/first-steps.json" "${speed[@]}"
measure large-images "$python" benchmarks/speed.py --preset 256 --limit "$limit" --json "$out/large-images.json" "${speed[@]}"

for engine in torch jax; do
  measure "memory-$engine" env KERAS_BACKEND=$engine "$python" benchmarks/memory.py --width 128 --batch 32 "${memory[@]}"
  measure "train-$engine" env KERAS_BACKEND=$engine "$python" -m flowkit train glow/fashion-mnist \
    --out "$out/glow-$engine" "${train[@]}"
done

measure report "$python" benchmarks/gpu_report.py "$out" "${card[@]}"
mv "$out/report.txt" "$out/report.md"
echo "everything is in $out"
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
