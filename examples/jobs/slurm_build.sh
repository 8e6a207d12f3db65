#!/bin/bash
# A part of a build under Slurm, as a job array; run the array twice, then finish:
#   first=$(sbatch --parsable --array=1-16 slurm_build.sh build --horizon 48h)
#   second=$(sbatch --parsable --array=1-16 --dependency=afterok:$first slurm_build.sh build --horizon 48h)
#   sbatch --dependency=afterok:$second --wrap="sffshards build --horizon 48h --finish"
# To submit some parts again, such as part 3 of 16, say how many parts there are:
#   sbatch --array=3 --export=ALL,SFFSHARDS_PARTS=16 slurm_build.sh build --horizon 48h
#SBATCH --job-name=sffshards-build
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --output=%x-%A-%a.log
set -uo pipefail

numbers="${SLURM_ARRAY_TASK_COUNT:-none} from ${SLURM_ARRAY_TASK_MIN:-} to ${SLURM_ARRAY_TASK_MAX:-}"
if [[ -z ${SFFSHARDS_PARTS:-} && $numbers != "${SLURM_ARRAY_TASK_MAX:-} from 1 to "* ]]; then
    echo "error: expected --array=1-N, or SFFSHARDS_PARTS=N where only some parts run, found $numbers" >&2
    exit 2
fi
exec sffshards "$@" --part "${SLURM_ARRAY_TASK_ID}/${SFFSHARDS_PARTS:-$SLURM_ARRAY_TASK_MAX}" \
    --workers "${SLURM_CPUS_PER_TASK:-4}"
