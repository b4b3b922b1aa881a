"""Fixtures of real Slurm clusters."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from slurm import Cluster


@contextmanager
def cluster_folder() -> Iterator[Path]:
    """For a cluster of one's own: open to other users, with a short path, gone in the end."""
    with tempfile.TemporaryDirectory(prefix="audioctl-slurm-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes with two GPUs each, and accounting. Take ``idle_cluster`` instead, to leave no job to others."""
    with cluster_folder() as folder, Cluster(folder, gpus_per_node=2) as running:
        yield running


@pytest.fixture
def idle_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster of all tests; what one does to its jobs and daemons is undone after it."""
    try:
        yield cluster
    finally:
        cluster.make_idle()
