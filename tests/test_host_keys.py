"""Hosts that nobody knows, and hosts that are no longer who they were."""

from __future__ import annotations

from pathlib import Path

from sshd import Sshd, make_key
from workspace import Workspace


def test_a_new_host_key_is_taken_only_where_that_is_set(workspace: Workspace, ssh_storage: Sshd) -> None:
    workspace.write_clips(1)
    ssh_storage.known_hosts.write_text("")
    workspace.process()
    assert workspace.files() == {}
    assert any("is not known here" in message for message in workspace.messages)
    assert ssh_storage.known_hosts.read_text() == ""

    workspace.configure("upload", accept_new_host_keys=True)
    workspace.process()
    workspace.assert_all_was_heard()
    host_key = (ssh_storage.folder / "host_key.pub").read_text().split()[1]
    assert host_key in ssh_storage.known_hosts.read_text()


def test_a_changed_host_key_is_not_taken_wherever_new_ones_are(
    workspace: Workspace, ssh_storage: Sshd, tmp_path: Path
) -> None:
    workspace.write_clips(1)
    workspace.configure("upload", accept_new_host_keys=True)
    ssh_storage.trust_host_key(make_key(tmp_path / "another"))
    workspace.process()
    assert workspace.files() == {}
    assert any("has changed" in message for message in workspace.messages)
    assert ssh_storage.logins() == 0
