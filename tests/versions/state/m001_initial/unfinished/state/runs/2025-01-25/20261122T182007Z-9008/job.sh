#!/bin/bash
# Works on one job's share of a run: job.sh INDEX [JOB_ID]. In a Slurm array, the index is the array task.
set -u

day=2025-01-25
slots=(
  12_00
  12_10
  12_20
)
archives=(
  @FOLDER@/0_2025-01-25_12_00.tar
  @FOLDER@/0_2025-01-25_12_10.tar
  @FOLDER@/0_2025-01-25_12_20.tar
)
logs=(
  @FOLDER@/state/runs/2025-01-25/20261122T182007Z-9008/logs/12_00.log
  @FOLDER@/state/runs/2025-01-25/20261122T182007Z-9008/logs/12_10.log
  @FOLDER@/state/runs/2025-01-25/20261122T182007Z-9008/logs/12_20.log
)
archives_per_job=1

if [ $# -gt 0 ]; then
  index=$1
  job_id=${2:-$$}
else
  index=$SLURM_ARRAY_TASK_ID
  job_id=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
fi

python=(@FOLDER@/python)

# Slurm signals this shell only, so it hands the signal on, and starts nothing more.
child=''
signal=''
interrupted=''
forward() {
  signal=$1
  interrupted=yes
  if [ -n "$child" ]; then kill -s "$signal" "$child" 2>/dev/null; fi
}
trap 'forward TERM' TERM
trap 'forward INT' INT
trap 'forward USR1' USR1

status=0
first=$((index * archives_per_job))
for ((i = first; i < first + archives_per_job && i < ${#archives[@]}; i++)); do
  if [ -n "$signal" ]; then
    status=75 # EX_TEMPFAIL: there is more to do
    break
  fi
  (
    # POSIX shells may start background jobs deaf to INT.
    trap - INT
    # -P: a file in the current folder must not stand in for a module.
    exec "${python[@]}" -P -m audioctl --config @FOLDER@/state/runs/2025-01-25/20261122T182007Z-9008/config.toml \
      process-tar "$day" "${archives[i]}" "${slots[i]}" \
      --run-id 20261122T182007Z-9008 --job-id "$job_id" >>"${logs[i]}" 2>&1
  ) &
  child=$!
  # A signal that came after the look above found no child to go to.
  if [ -n "$signal" ]; then kill -s "$signal" "$child" 2>/dev/null; fi
  # A signal ends `wait` before it ends the child; bash keeps the child's exit code for the next `wait`.
  while
    interrupted=''
    wait "$child"
    code=$?
    [ -n "$interrupted" ]
  do :; done
  child=''
  if [ "$code" -ne 0 ] && [ "$status" -eq 0 ]; then status=$code; fi
done
exit "$status"
