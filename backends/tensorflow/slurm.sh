#!/usr/bin/env bash
# Train one model with TensorFlow under SLURM, in one process on one GPU:
#   sbatch backends/tensorflow/slurm.sh RECIPE RUN [options of `flowkit train`]
# Several GPUs are NOT supported on TensorFlow; backends/jax and backends/torch train on several.
# flowkit's environment must be active (or set PYTHON=path/to/python). Two minutes before its time limit the job writes a
# checkpoint and ends; the same command, or a requeued job, continues from there.
#SBATCH --job-name=flowkit
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus=1
#SBATCH --cpus-per-task=4
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n '2,6s/^# //p' "$0" >&2
  exit 2
fi
if [ "${SLURM_NTASKS:-1}" -gt 1 ]; then
  echo "slurm.sh: several processes are not supported on TensorFlow: backends/jax and backends/torch train in several" >&2
  exit 2
fi
recipe=$1
run=$2
shift 2
mkdir -p "$run"  # otherwise --resume may take the name of a new run for a misspelt one

export KERAS_BACKEND=tensorflow TF_FORCE_GPU_ALLOW_GROWTH=true TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}
exec srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
  "${PYTHON:-python3}" -m flowkit train "$recipe" --out "$run" --resume "$@"
