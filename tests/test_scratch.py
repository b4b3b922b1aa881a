"""The scratch folder: private, gone at the end, and rid of what dead jobs left."""

import subprocess
import sys
from pathlib import Path

import pytest
from workspace import wait_until

from audioctl.errors import ScratchError
from audioctl.pipeline.scratch import scratch_folder, scratch_root


def start_holder(root: Path) -> subprocess.Popen[str]:
    """Another job, which has its scratch folder and a file in it."""
    program = (
        "import sys, time; from pathlib import Path; from audioctl.pipeline.scratch import scratch_folder\n"
        "with scratch_folder(Path(sys.argv[1])) as folder: (folder / 'file').touch(); time.sleep(1000)"
    )
    before = len(list(root.glob("*/file")))
    process = subprocess.Popen([sys.executable, "-c", program, str(root)], text=True)
    wait_until(lambda: len(list(root.glob("*/file"))) > before, "the other job's file")
    return process


def test_the_folder_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "new" / "root") as folder:
        assert folder.parent == tmp_path / "new" / "root"
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "000001.opus").write_bytes(b"sound")
    assert list((tmp_path / "new" / "root").iterdir()) == []


def test_it_is_gone_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch_folder(tmp_path) as folder:
        (folder / "000001.opus").write_bytes(bytes(1 // 0))
    assert list(tmp_path.iterdir()) == []


def test_jobs_side_by_side_have_folders_of_their_own(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as first, scratch_folder(tmp_path) as second:
        assert first != second
        assert first.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_job_left_is_removed_by_the_next(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    holder.kill()
    holder.wait()
    (left,) = tmp_path.iterdir()
    with scratch_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
        assert folder != left


def test_a_living_job_keeps_its_folder(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    try:
        (its_own,) = tmp_path.iterdir()
        with scratch_folder(tmp_path) as folder:
            assert sorted(tmp_path.iterdir()) == sorted([its_own, folder])
        assert (its_own / "file").exists()
    finally:
        holder.kill()
        holder.wait()


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    others = [tmp_path / "audioctl.other-node.abc", tmp_path / "audioctl-demo", tmp_path / "data"]
    for other in others:
        other.mkdir()
    with scratch_folder(tmp_path):
        pass
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_root_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    root = tmp_path / "file"
    root.touch()
    with (
        pytest.raises(ScratchError, match=r"No scratch folder can be made in .*file: ") as caught,
        scratch_folder(root),
    ):
        pass
    assert "paths.scratch" in str(caught.value.hint)


def test_the_root_is_the_setting_or_the_first_usable_of_the_usual_ones(tmp_path: Path) -> None:
    environ = {"SLURM_TMPDIR": str(tmp_path / "gone"), "TMPDIR": str(tmp_path), "LOCAL_SCRATCH": "/var"}
    assert scratch_root("/set", environ) == Path("/set")
    assert scratch_root("", environ) == tmp_path
    assert scratch_root("", {}) == Path("/tmp")
