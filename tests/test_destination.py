"""What is a destination, what is none, and what the database says about a file that went there."""

from pathlib import Path

import pytest

from audioctl.errors import ConfigurationError
from audioctl.storage.destination import Kind, parse_destination

STORAGE_PATH = "audio/2025/01/25/12_30/a.opus"


@pytest.mark.parametrize(
    ("text", "kind", "file_path"),
    [
        ("/srv/store", Kind.LOCAL, f"/srv/store/{STORAGE_PATH}"),
        ("/srv/store/", Kind.LOCAL, f"/srv/store/{STORAGE_PATH}"),
        ("/srv/./a/../store//x", Kind.LOCAL, f"/srv/store/x/{STORAGE_PATH}"),
        ("/srv/with: colon", Kind.LOCAL, f"/srv/with: colon/{STORAGE_PATH}"),
        ("/", Kind.LOCAL, f"/{STORAGE_PATH}"),
        ("keeper@store:/srv/x", Kind.SSH, f"/srv/x/{STORAGE_PATH}"),
        ("store.example.org:/srv/x/", Kind.SSH, f"/srv/x/{STORAGE_PATH}"),
        ("store:/", Kind.SSH, f"/{STORAGE_PATH}"),
        ("keeper@[::1]:/srv/it's here", Kind.SSH, f"/srv/it's here/{STORAGE_PATH}"),
        ("rsync://store/module", Kind.DAEMON, f"rsync://store/module/{STORAGE_PATH}"),
        ("rsync://me@store:8730/module/x/", Kind.DAEMON, f"rsync://me@store:8730/module/x/{STORAGE_PATH}"),
    ],
)
def test_a_destination_knows_what_the_database_will_say(text: str, kind: Kind, file_path: str) -> None:
    destination = parse_destination(text)
    assert destination.kind is kind
    assert destination.file_path(STORAGE_PATH) == file_path


def test_a_relative_folder_is_taken_from_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_destination("./store").root == str(tmp_path / "store")
    assert parse_destination("store").root == str(tmp_path / "store")


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/keeper")
    assert parse_destination("~/store").root == "/home/keeper/store"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("-oProxyCommand=touch:/srv", "no host name"),
        ("-store:/srv", "cannot begin with -"),
        ("-lroot@store:/srv", "cannot begin with -"),
        ("me@-store:/srv", "cannot begin with -"),
        ("rsync://-store/module", "cannot begin with -"),
        ("store:", "beginning with /"),
        ("store:backup", "beginning with /"),
        ("store:~/backup", "beginning with /"),
        (":/srv", "no host name"),
        ("a b:/srv", "no host name"),
        ("store;id:/srv", "no host name"),
        ("store::module/x", "written as a URL"),
        ("rsync://store", "no such URL"),
        ("rsync://store/", "module is missing"),
        ("rsync://store/../x", "module is missing"),
        ("rsync://store:port/module", "no such URL"),
        ("ssh://store/srv", "no such URL"),
        ("s3://bucket/x", "no such URL"),
        ("/srv/new\nline", "cannot be printed"),
        ("/srv/\0", "cannot be printed"),
    ],
)
def test_nonsense_is_a_configuration_error_that_says_why(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        parse_destination(text)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError, match="RSYNC_PASSWORD") as caught:
        parse_destination("rsync://me:hunter2@store/module")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["/", "store:/", "rsync://store/"])
def test_a_root_that_leaves_no_room_in_the_database_is_refused(prefix: str) -> None:
    room = 500 - 400 - len("/") - len(prefix.removeprefix("store:"))
    assert len(parse_destination(prefix + room * "x").file_path("y" * 400)) == 500
    with pytest.raises(ConfigurationError, match="too long"):
        parse_destination(prefix + (room + 1) * "x")


def test_an_ipv6_address_has_brackets_for_rsync_and_none_for_ssh() -> None:
    destination = parse_destination("me@[fe80::1%eth0]:/srv")
    assert destination.rsync_root == "me@[fe80::1%eth0]:/srv/"
    assert destination.ssh_host == "me@fe80::1%eth0"
