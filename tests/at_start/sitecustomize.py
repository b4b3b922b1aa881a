"""Found by Python at its start where this folder is on PYTHONPATH: what a test wants of the programs of a job."""

import os

if "SLOW_JOB" in os.environ and "SLURM_JOB_ID" in os.environ:
    import slow_job

    slow_job.begin()

if "JUMPING_CLOCK" in os.environ:
    import jumping_clock

    jumping_clock.begin()
