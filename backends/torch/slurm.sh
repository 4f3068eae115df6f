#!/usr/bin/env bash
# Train one model with PyTorch under SLURM, with one process per GPU:
#   sbatch backends/torch/slurm.sh RECIPE RUN [options of `flowkit train`]
# The default is one host with 8 GPUs; for four hosts with 4 use `sbatch --nodes 4 --ntasks-per-node 4 --gpus-per-node 4 ...`.
# All hosts must see RUN, and flowkit's environment must be active (or set PYTHON=path/to/python). Two minutes before its
# time limit the job writes a checkpoint and ends; the same command, or a requeued job, continues from there.
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
mkdir -p "$run"  # otherwise --resume may take the name of a new run for a misspelt one

export KERAS_BACKEND=torch OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}
# Each process sees all GPUs of its host, so that GPUs can copy to each other, and uses the one with its local rank.
exec srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=1 \
  "${PYTHON:-python3}" -m flowkit train "$recipe" --out "$run" --resume "$@"
