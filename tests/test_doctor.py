"""``audioctl doctor``: what it finds, and how it says it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sshd import Sshd
from terminals import read_terminal
from uploads import Target, ssh_target

from audioctl.doctor.findings import Finding, Verdict, check
from audioctl.doctor.folders import archives_are_there
from audioctl.settings import Paths
from audioctl.storage.login import try_login


def audioctl(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOCTL_")}
    return subprocess.run(
        [sys.executable, "-m", "audioctl", *arguments],
        cwd=cwd,
        env=environment | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def verdicts(result: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {finding["check"]: finding["verdict"] for finding in json.loads(result.stdout)["findings"]}


def said(result: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {finding["check"]: finding["message"] for finding in json.loads(result.stdout)["findings"]}


def test_all_is_good_where_a_job_would_run(tmp_path: Path) -> None:
    (tmp_path / "archives" / "2025-01-25").mkdir(parents=True)
    (tmp_path / "audioctl.toml").touch()
    result = audioctl("doctor", "--model", "bundled", "--device", "cpu", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    found = verdicts(result)
    checks = ("settings", "state", "archives", "destination", "opus", "model")
    assert {name: found[name] for name in checks} == dict.fromkeys(checks, "good")


def test_what_a_job_would_fail_on_is_bad_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    result = audioctl("doctor", "--destination", "taken/store", "--model", "./none", cwd=tmp_path)
    assert result.returncode == 4
    lines = result.stdout.splitlines()
    assert any(line.startswith("bad") and "destination" in line for line in lines)
    assert any(line.startswith("bad") and "model" in line and "none" in line for line in lines)
    assert "A job would fail here" in result.stderr


def test_the_file_of_settings_is_named_and_where_there_is_none_that_is_said(tmp_path: Path) -> None:
    file, elsewhere = tmp_path / "audioctl.toml", tmp_path / "elsewhere"
    file.touch()
    elsewhere.mkdir()
    arguments = ("doctor", "--destination", "./storage", "--model", "./none", "--json")
    assert said(audioctl(*arguments, cwd=tmp_path))["settings"] == f"Settings come from {file}."
    assert said(audioctl("--config", f"{file}", *arguments, cwd=elsewhere))["settings"] == f"Settings come from {file}."
    lost = audioctl(*arguments, cwd=elsewhere)
    assert verdicts(lost)["settings"] == "look"
    assert f"there is no audioctl.toml in {elsewhere}" in said(lost)["settings"]


def test_the_days_of_archives_are_told_and_a_wrong_folder_is_seen(tmp_path: Path) -> None:
    days = tmp_path / "days"
    for day in ("2025-01-25", "2025-01-26"):
        (days / day).mkdir(parents=True)

    def look(archives: Path) -> Finding:
        found = check("archives", lambda: archives_are_there(Paths(archives=f"{archives}")))
        assert found.check == "archives"
        return found

    assert look(days / "{day}").message == f"{days}/{{day}} has 2025-01-25 to 2025-01-26."
    forgotten = look(days)
    assert forgotten.verdict is Verdict.LOOK
    assert f"{days} has no day yet" in forgotten.message
    assert look(tmp_path / "dais" / "{day}").message == f"{tmp_path}/dais does not exist."


def settings_for(target: Target) -> str:
    return f"""
[upload]
destination = "{target.destination}"
ssh_key = "{target.ssh_key}"
ssh_options = {json.dumps(list(target.ssh_options))}
[transcribe]
model = "bundled"
device = "cpu"
"""


def test_a_server_is_told_with_its_keys_and_the_versions_of_rsync(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "audioctl.toml").write_text(settings_for(ssh_target(sshd, tmp_path / "store")))
    result = audioctl("doctor", "--json", cwd=tmp_path)
    told = said(result)
    assert re.search(rf"takes the key {sshd.client_key} ED25519 SHA256:", told["ssh"])
    assert "the host key that is known: ssh-ed25519 SHA256:" in told["host key"]
    assert re.fullmatch(rf"rsync [\d.]+ here; [\d.]+ on {sshd.login}\.", told["rsync"])
    assert told["destination"].endswith("takes files and gives them back.")


def test_a_server_that_is_not_known_is_told_with_what_to_type(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "audioctl.toml").write_text(settings_for(ssh_target(sshd, tmp_path / "store")))
    sshd.known_hosts.write_text("")
    result = audioctl("doctor", "--json", cwd=tmp_path)
    found = {finding["check"]: finding for finding in json.loads(result.stdout)["findings"]}
    assert found["ssh"]["verdict"] == "bad"
    assert "is not known here" in found["ssh"]["message"]
    assert f"`ssh -i {sshd.client_key} -o Port={sshd.port} " in found["ssh"]["hint"]
    assert "destination" not in found  # it would say the same again


def test_a_server_that_lets_only_transfers_run_does_not_tell_its_rsync(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as server:
        key = server.client_key.with_suffix(".pub")
        key.write_text(f'command="echo not allowed; exit 1" {key.read_text()}')
        target = ssh_target(server, tmp_path / "store")
        login = try_login(target.destination, ssh_key=target.ssh_key, ssh_options=target.ssh_options)
    assert login.rsync_version is None
    assert login.key.startswith(f"{server.client_key} ")


def test_on_a_terminal_words_keep_to_their_column(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "audioctl", "doctor", "--model", "./none", "--device", "cpu"],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "80", "TERM": "xterm"},
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    lines = read_terminal(ours).splitlines()
    assert process.wait() == 4
    # A path is not broken: it is there to be copied.
    assert [line for line in lines if len(line) > 80 and " " in line[19:]] == []
    assert len(lines) > 12
    assert all(line[:6].strip() in ("good", "look", "bad", "") for line in lines)


def test_where_jobs_run_here_this_machine_is_the_node(tmp_path: Path) -> None:
    result = audioctl("doctor", "--on-node", "--model", "bundled", "--device", "cpu", cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert "it is the node" in result.stderr
    assert "The bundled model heard" in result.stdout


@pytest.mark.usefixtures("database")
def test_tables_that_are_missing_are_bad_until_they_are_made(tmp_path: Path) -> None:
    check = ("doctor", "--database", "--model", "bundled", "--device", "cpu", "--json")
    assert verdicts(audioctl(*check, cwd=tmp_path))["database"] == "bad"
    assert audioctl("db", "upgrade", cwd=tmp_path).returncode == 0
    assert verdicts(audioctl(*check, cwd=tmp_path))["database"] == "good"
