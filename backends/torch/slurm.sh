#!/usr/bin/env bash
# Train one model with PyTorch under SLURM, one process for each GPU:
#   sbatch backends/torch/slurm.sh RECIPE RUN [options of `flowkit train`]
# One host of 8 GPUs, unless said otherwise: four of 4 are `sbatch --nodes 4 --ntasks-per-node 4 --gpus-per-node 4 ...`.
# All hosts see RUN, and the environment that has flowkit is active (or PYTHON=path/to/python). Two minutes before its
# time is over the job writes a checkpoint and ends; the same command, like a requeued job, goes on from there.
#SBATCH --job-name=flowkit
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=4
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n '2,6s/^# //p' "$0" >&2
  exit 2
fi
recipe=$1
run=$2
shift 2
mkdir -p "$run"  # or --resume would take the name of a new run for another one, mistyped

export KERAS_BACKEND=torch OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}
# Each process sees all GPUs of its host, so that they copy to each other, and takes the one of its number there.
exec srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=1 \
  "${PYTHON:-python3}" -m flowkit train "$recipe" --out "$run" --resume "$@"
