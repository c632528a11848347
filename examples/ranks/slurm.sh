#!/bin/bash
# sbatch examples/ranks/slurm.sh CONFIG.json RUN
# A run of several learners that saves and goes on by itself when Slurm ends or requeues the job. RUN and the model lie on
# a file system that all nodes see; trainer.branches in the config is at least the number of tasks.
#SBATCH --job-name=zeroth
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=16
#SBATCH --requeue
#SBATCH --signal=TERM@120
set -eu
config=$1 run=$2
# The same command starts the run and goes on with it. SIGTERM saves a checkpoint and ends every rank with 143; a rank that
# was killed (137) ends the others, and all go on from the last checkpoint. Slurm itself requeues what loses a node. Any
# other end is the end.
status=0
srun --kill-on-bad-exit=0 zeroth train "$config" --resume "$run" || status=$?
if [ "$status" -eq 143 ] || { [ "$status" -eq 137 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 40 ]; }; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
