#!/bin/bash
# A part of a build under PBS, as a job array; run the array twice, then finish:
#   first=$(qsub -J 1-16 -v SFFSHARDS_PARTS=16,SFFSHARDS_ARGUMENTS="build --horizon 48h" pbs_build.sh)
#   second=$(qsub -J 1-16 -W depend=afterok:$first -v SFFSHARDS_PARTS=16,SFFSHARDS_ARGUMENTS="build --horizon 48h" pbs_build.sh)
#   qsub -W depend=afterok:$second -- /bin/sh -c "cd $PWD && sffshards build --horizon 48h --finish"
#PBS -N sffshards-build
#PBS -l select=1:ncpus=4:mem=8gb
#PBS -l walltime=04:00:00
#PBS -j oe
# qsub passes no arguments to a script, so they are in a variable, and so is the number of parts. PBS Pro and OpenPBS
# number the jobs of an array by PBS_ARRAY_INDEX, Torque by PBS_ARRAYID.
set -uo pipefail
cd "${PBS_O_WORKDIR:-.}" || exit 2

read -r -a arguments <<<"${SFFSHARDS_ARGUMENTS:-}"
exec sffshards "${arguments[@]}" "$@" \
    --part "${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-1}}/${SFFSHARDS_PARTS:?}" --workers "${SFFSHARDS_WORKERS:-4}"
