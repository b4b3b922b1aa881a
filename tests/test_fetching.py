"""``audioctl model fetch``, from a stand-in for the Hub: the real one is out of reach where tests run."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from workspace import Workspace

from audioctl.data import small_model_path

REPOSITORY = "group/tiny-model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class StandInForTheHub(http.server.BaseHTTPRequestHandler):
    """Serves the files of one folder as the only model there is."""

    def __init__(self, folder: Path, requests: list[str], *arguments: object) -> None:
        self.folder = folder
        self.requests = requests
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _answer(self, *, with_body: bool) -> None:
        self.requests.append(self.path)
        path = self.path.partition("?")[0]
        files = {file.name: file for file in self.folder.iterdir()}
        name = path.rpartition("/")[2]
        if path == f"/api/models/{REPOSITORY}/revision/main":
            body = {"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": name} for name in sorted(files)]}
            self._send(json.dumps(body).encode(), with_body)
        elif path == f"/api/models/{REPOSITORY}/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": "0"} for name, file in files.items()
            ]
            self._send(json.dumps(tree).encode(), with_body)
        elif path.startswith(f"/{REPOSITORY}/resolve/{COMMIT}/") and name in files:
            self._send(files[name].read_bytes(), with_body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _send(self, body: bytes, with_body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@pytest.fixture
def requests() -> list[str]:
    """What the Hub was asked for."""
    return []


@pytest.fixture
def hub(requests: list[str]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(StandInForTheHub, small_model_path(), requests))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run(hub: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "AUDIOCTL_"))}
    environment |= {"HF_ENDPOINT": hub, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, "-m", "audioctl", *arguments],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_fetched_model_is_found_by_its_name(hub: str, tmp_path: Path) -> None:
    fetched = run(hub, tmp_path, "model", "fetch", REPOSITORY)
    assert fetched.returncode == 0, fetched.stderr
    assert (Path(fetched.stdout.strip()) / "model.bin").read_bytes() == (small_model_path() / "model.bin").read_bytes()
    # From now on nobody asks the Hub: it is gone.
    check = run("http://127.0.0.1:9", tmp_path, "doctor", "--model", REPOSITORY, "--device", "cpu")
    assert f"{REPOSITORY} loads and runs" in check.stdout


def test_a_model_can_be_fetched_to_a_folder(hub: str, tmp_path: Path) -> None:
    fetched = run(hub, tmp_path, "model", "fetch", REPOSITORY, "--to", "models/tiny")
    assert fetched.returncode == 0, fetched.stderr
    assert (tmp_path / "models" / "tiny" / "tokenizer.json").is_file()


def test_a_model_on_the_shared_disk_is_all_that_a_job_needs_and_nobody_asks_the_hub(
    hub: str, requests: list[str], workspace: Workspace
) -> None:
    models = workspace.folder / "models"
    fetched = run(hub, workspace.folder, "model", "fetch", REPOSITORY, "--models", "models")
    assert Path(fetched.stdout.strip()) == models / "group--tiny-model", fetched.stderr
    assert requests
    requests.clear()
    workspace.configure("paths", models=str(models))
    workspace.configure("transcribe", model=REPOSITORY)
    workspace.write_clips(2)
    done = workspace.process_tar(environment={"HF_ENDPOINT": hub, "HF_HOME": str(workspace.folder / "home")})
    assert done.returncode == 0, done.stderr
    workspace.assert_all_was_heard()
    assert requests == []


def test_without_its_model_a_job_ends_before_it_reads_anything(
    hub: str, requests: list[str], workspace: Workspace
) -> None:
    workspace.configure("transcribe", model=REPOSITORY)
    workspace.write_clips(2)
    ended = workspace.process_tar(environment={"HF_ENDPOINT": hub, "HF_HOME": str(workspace.folder / "home")})
    assert ended.returncode == 4
    assert f"audioctl model fetch {REPOSITORY}" in ended.stderr
    assert workspace.event_names() == ["attempt_started", "attempt_ended"]
    assert requests == []


@pytest.mark.parametrize(
    ("name", "words"), [("no-such-model", "large-v3-turbo"), ("group/no-such-model", "cannot be fetched")]
)
def test_an_unknown_model_is_told_in_words(hub: str, name: str, words: str, tmp_path: Path) -> None:
    result = run(hub, tmp_path, "model", "fetch", name)
    assert result.returncode == 4
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_without_internet_it_says_so(tmp_path: Path) -> None:
    result = run("http://127.0.0.1:9", tmp_path, "model", "fetch", REPOSITORY)
    assert result.returncode == 4
    assert "internet" in result.stderr
