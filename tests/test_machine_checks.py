"""What ``audioctl doctor`` makes of a machine: its packages, limits, GPU, folders, clocks and image."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from audioctl.doctor import folders, machine
from audioctl.doctor.findings import Finding, Verdict
from audioctl.doctor.image import image, verdict_of_test
from audioctl.mounts import Mount, advice_for_state
from audioctl.settings import Container, Convert, Settings, Upload

UNLIMITED = resource.RLIM_INFINITY


def finding(found: Finding | str) -> Finding:
    assert isinstance(found, Finding), found
    return found


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


# --- packages and limits --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requirement", "faults"),
    [
        ("msgspec>=0.1", []),
        ("msgspec>=99", ["is needed"]),
        ("no-such-package>=1", ["no-such-package is missing"]),
        ("no-such-package>=1; extra == 'worker'", ["no-such-package is missing"]),
        ("no-such-package>=1; extra == 'train'", []),
        ("no-such-package>=1; sys_platform == 'win32'", []),
    ],
)
def test_packages_are_compared_with_what_audioctl_asks_for(
    requirement: str, faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "requires", lambda _: [requirement])
    found = machine.unmet_requirements("worker")
    assert len(found) == len(faults)
    assert all(fault in one for fault, one in zip(faults, found, strict=True))


@pytest.mark.parametrize(
    ("files", "processes", "address_space", "command"),
    [
        (100, UNLIMITED, UNLIMITED, "ulimit -n"),
        (UNLIMITED, 70, UNLIMITED, "ulimit -u"),
        (UNLIMITED, UNLIMITED, 8 * 10**9, "ulimit -v unlimited"),
    ],
)
def test_a_limit_that_a_job_would_meet_is_worth_a_look(
    files: int, processes: int, address_space: int, command: str
) -> None:
    settings = Settings(convert=Convert(num_workers=10), upload=Upload(max_concurrent_uploads=8))
    found = finding(machine.limits(settings, files, processes, address_space))
    assert found.verdict is Verdict.LOOK
    assert f"`{command}" in (found.hint or "")


def test_the_usual_limits_are_good() -> None:
    assert "1,024 open files" in str(machine.limits(Settings(), 1024, 4096, UNLIMITED))


# --- the GPU --------------------------------------------------------------------------------------


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """None that CTranslate2 could use."""
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(("device", "verdict"), [("cuda", Verdict.BAD), ("auto", Verdict.LOOK)])
def test_a_machine_without_a_gpu_is_told_so(device: str, verdict: Verdict) -> None:
    found = finding(machine.gpu(device))
    assert found.verdict is verdict
    assert "slurm.gpus" in (found.hint or "")


@pytest.mark.usefixtures("gpus")
def test_where_the_cpu_is_meant_no_gpu_is_missed() -> None:
    assert isinstance(machine.gpu("cpu"), str)


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(("driver", "hint"), [("470.82.01", "525.60.13"), ("535.104.05", "--nv")])
def test_a_gpu_that_cannot_be_used_is_told_with_its_driver(
    driver: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "nvidia-smi", f"echo 'NVIDIA H100, {driver}, 81559, 81000'")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = finding(machine.gpu("cuda"))
    assert f"NVIDIA H100 with 81000 of 81559 MiB free, driver {driver}" in found.message
    assert hint in (found.hint or "")


@pytest.mark.usefixtures("gpus")
def test_a_gpu_that_can_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "nvidia-smi", "echo 'NVIDIA H100, 535.104.05, 81559, 81000'")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 1)
    monkeypatch.setattr("ctranslate2.get_supported_compute_types", lambda _: {"float16"})
    assert "can use 1 of them, with float16" in str(machine.gpu("auto"))


# --- folders --------------------------------------------------------------------------------------


def mount(kind: str, options: str) -> Mount:
    return Mount(kind, frozenset(options.split(",")))


@pytest.mark.parametrize(
    ("kind", "options", "fault"),
    [
        ("nfs4", "rw,hard,local_lock=none", None),
        ("nfs4", "rw,soft,local_lock=none", "mounted soft"),
        ("nfs", "rw,hard,local_lock=all", "two login nodes"),
        ("nfs", "rw,hard,nolock", "two login nodes"),
        ("lustre", "rw,flock,lazystatfs", None),
        ("lustre", "rw,localflock", "two login nodes"),
        ("lustre", "rw", "two login nodes"),
        ("gpfs", "rw,relatime", None),
        ("ext4", "rw", None),
    ],
)
def test_what_a_file_system_lacks_for_the_state_folder_is_told(kind: str, options: str, fault: str | None) -> None:
    advice = advice_for_state(mount(kind, options))
    assert (advice.fault is None) == (fault is None)
    assert (fault or "") in (advice.fault or "")


@pytest.mark.parametrize(
    ("kind", "options", "hint"),
    [
        ("nfs4", "rw,hard", "60 s behind"),
        ("nfs4", "rw,hard,acdirmax=5", "5 s behind"),
        ("nfs4", "rw,hard,noac", None),
        ("lustre", "rw,flock", "lfs setstripe -c 1"),
        ("gpfs", "rw", "mmlsfs"),
    ],
)
def test_what_to_set_on_a_shared_file_system_is_told_even_where_all_is_good(
    kind: str, options: str, hint: str | None
) -> None:
    assert (hint or "") in (advice_for_state(mount(kind, options)).hint or "")
    assert hint is not None or advice_for_state(mount(kind, options)).hint is None


def test_the_state_folder_has_the_locks_that_the_ledger_needs(tmp_path: Path) -> None:
    found = finding(folders.state_file_system(tmp_path, "server:/x / nfs4 rw,hard,local_lock=none 0 0\n"))
    assert (found.verdict, found.message) == (Verdict.GOOD, f"{tmp_path} is on nfs4, with locks.")


def test_a_file_system_that_refuses_locks_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")  # as Lustre does without the mount option flock

    monkeypatch.setattr("fcntl.lockf", refuse)
    found = finding(folders.state_file_system(tmp_path, "files@o2ib:/x / lustre rw 0 0\n"))
    assert found.verdict is Verdict.BAD
    assert "no locks (Function not implemented)" in found.message


def test_the_clock_of_this_machine_is_that_of_its_own_disk(tmp_path: Path) -> None:
    ahead = folders.clock_ahead_seconds(tmp_path)
    assert ahead is not None
    assert abs(ahead) < folders.NOTABLE_CLOCK_SECONDS
    assert list(tmp_path.iterdir()) == []
    assert isinstance(folders.clock(tmp_path), str)


@pytest.mark.parametrize(("seconds", "said"), [(61.0, "61 s ahead of"), (-3600.0, "3,600 s behind")])
def test_a_clock_that_is_wrong_is_told(seconds: float, said: str) -> None:
    found = finding(folders.compare_clocks(seconds, "node1", "this machine"))
    assert found.verdict is Verdict.LOOK
    assert said in found.message


def test_scratch_is_told_with_its_space_and_speed(tmp_path: Path) -> None:
    found = folders.scratch(str(tmp_path), "tmpfs / tmpfs rw 0 0\n")
    message = found if isinstance(found, str) else found.message
    assert message.startswith(f"{tmp_path} has ")
    assert "GB free of memory; it writes " in message
    assert list(tmp_path.iterdir()) == []


def test_slow_scratch_is_worth_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "LITTLE_SCRATCH_BYTES", 0)
    monkeypatch.setattr(folders, "write_and_read_speed", lambda *_: (3.0, 300.0))
    found = finding(folders.scratch(str(tmp_path), ""))
    assert found.verdict is Verdict.LOOK
    assert "writes 3 MB/s" in found.message
    assert "paths.scratch" in (found.hint or "")


def test_little_scratch_is_tried_with_little_and_worth_a_look(tiny_disk: Path) -> None:
    found = finding(folders.scratch(str(tiny_disk), ""))
    assert found.verdict is Verdict.LOOK
    assert "has 0 GB free" in found.message


# --- the image ------------------------------------------------------------------------------------


@pytest.fixture
def sif(tmp_path: Path) -> str:
    (tmp_path / "audioctl.sif").touch()
    return f"{tmp_path}/audioctl.sif"


def test_an_image_is_tested_where_there_is_a_runtime(sif: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no runtime here" in str(image(Container(image=sif)))

    program(tmp_path, "singularity", f'test "$*" = "test --nv {sif}"')
    assert image(Container(image=sif)) == f"{sif} can be run, and passes its own test."
    assert "no runtime here" in str(image(Container(image=sif, runtime="apptainer")))

    program(tmp_path, "apptainer", "echo starting; echo FATAL: no libcublas.so.12; exit 255")
    failed = finding(image(Container(image=sif)))
    assert failed.verdict is Verdict.BAD
    assert failed.message == f"{sif} fails its own test (exit code 255): FATAL: no libcublas.so.12"


def test_a_test_that_says_nothing_is_told_so() -> None:
    assert "it said nothing" in finding(verdict_of_test("x.sif", 1, "\n")).message
