#!/usr/bin/env bash
# Train one model with TensorFlow under SLURM, in one process on one GPU:
#   sbatch backends/tensorflow/slurm.sh RECIPE RUN [options of `flowkit train`]
# Several are NOT supported on TensorFlow: backends/jax and backends/torch train on several.
# The environment that has flowkit is active (or PYTHON=path/to/python). Two minutes before its time is over the job
# writes a checkpoint and ends; the same command, like a requeued job, goes on from there.
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
mkdir -p "$run"  # or --resume would take the name of a new run for another one, mistyped

export KERAS_BACKEND=tensorflow TF_FORCE_GPU_ALLOW_GROWTH=true TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}
exec srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
  "${PYTHON:-python3}" -m flowkit train "$recipe" --out "$run" --resume "$@"
