#!/bin/bash
# Made by audioctl 0.1.0 from its template job.sh.j2 at submission; to change it, see paths.templates.

# Works on one archive of a run, on this machine: job.sh INDEX [JOB_ID]
# shellcheck disable=SC1091,SC2317 # only the node has its /etc/profile; only a trap calls forward

set -u

day=2025-01-25
run_id=20261122T201443Z-c17c
run=@FOLDER@/state/runs/2025-01-25/20261122T201443Z-c17c
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

export HF_HUB_OFFLINE=1 # compute nodes have no internet, and must not wait for it
python=(@FOLDER@/python)

say() {
  echo "$(date -u +%FT%TZ) [start $((${SLURM_RESTART_COUNT:-0} + 1)) on ${SLURMD_NODENAME:-$HOSTNAME}] $*"
}

# The signal before the time limit reaches this shell only, so it hands signals on, and starts nothing more.
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

# Works on one archive, by its place in the lists, and sets `code` to audioctl's exit code.
work() {
  (
    # POSIX shells may start background jobs deaf to INT.
    trap - INT
    # -P: a file in the current folder must not stand in for a module.
    exec "${python[@]}" -P -m audioctl --config "$run/config.toml" \
      process-tar "$day" "${archives[$1]}" "${slots[$1]}" \
      --run-id "$run_id" --job-id "$job_id" >>"$run/logs/${slots[$1]}.log" 2>&1
  ) &
  child=$!
  # A signal that came just before found no child to go to.
  if [ -n "$signal" ]; then kill -s "$signal" "$child" 2>/dev/null; fi
  # A signal ends `wait` before it ends the child; bash keeps the child's exit code for the next `wait`.
  interrupted=yes
  while [ -n "$interrupted" ]; do
    interrupted=''
    wait "$child"
    code=$?
  done
  child=''
  # It ended before it heard signals: nothing was in flight.
  if [ -n "$signal" ] && { [ "$code" -eq 143 ] || [ "$code" -eq 138 ]; }; then code=75; fi
}

job_id=${2:-$$}
work "$1"
exit "$code"
