"""Stands in for ``apptainer`` and ``singularity`` where no container engine runs. Needs root.

An image is a folder. ``build`` makes one from a definition file, with debootstrap for a base; ``test`` and ``exec`` run
in it with chroot. It takes the few options that we use, and no others, and it is stricter than the real ones: of the
host's files a command sees only its home and what ``--bind`` names (sites may have it so), while the real ones show
/tmp and the current folder as well. What environment a command gets follows ``SetContainerEnv`` and the action script
of Apptainer 1.x. The real ones stay and hand signals on (``MonitorContainer``); this one becomes the command.

Called by the script that ``install_stand_in`` writes, in a mount namespace of its own: whatever happens, nothing stays
mounted.
"""

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from apptainer_definition import Definition, labels_in, read_definition
from debian_root import make_debian_root

# What is passed on even with --cleanenv, besides variables with a prefix.
ALWAYS_PASSED = {"TERM"} | {
    case(f"{kind}_proxy") for kind in ("http", "https", "no", "all", "ftp") for case in (str.lower, str.upper)
}
# What a container has a value of its own for.
NEVER_PASSED = {"PATH", "HOME", "PWD", "LD_LIBRARY_PATH"}
PREFIXES = {"apptainer": ("APPTAINERENV_", "SINGULARITYENV_"), "singularity": ("SINGULARITYENV_",)}
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FAILED = 255
"""The exit code of the real ones for everything of their own that goes wrong."""

_POST = """
root=$1
shift
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
for folder; do mount --bind "$folder" "$root$folder"; done
exec chroot "$root" /usr/bin/env -i PATH="$PATH" HOME=/root LANG=C APPTAINER_LABELS=/.labels /bin/sh -ex /.post
"""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        fail(message)


def main(name: str, session: Path, arguments: list[str]) -> None:
    """``session``: an empty folder to mount on."""
    parser = Parser(prog=name, allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", allow_abbrev=False)
    build.add_argument("--fakeroot", action="store_true", required=True)
    build.add_argument("image", type=Path)
    build.add_argument("definition", type=Path)
    test = actions.add_parser("test", allow_abbrev=False)
    execute = actions.add_parser("exec", allow_abbrev=False)
    for action in (test, execute):
        action.add_argument("--nv", action="store_true")
        action.add_argument("--cleanenv", action="store_true")
        action.add_argument("--bind", action="append", default=[])
        action.add_argument("image", type=Path)
    execute.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)

    if options.action == "build":
        build_image(options.image, read_definition(options.definition), name)
        return
    command = ["/.singularity.d/test"] if options.action == "test" else options.command
    if not command or not (options.image / ".singularity.d").is_dir():
        fail(f"no image {options.image}, or no command")
    script = environment_script(name, options.image, dict(os.environ), options.cleanenv)
    show(options.image, session, [parse_bind(bind) for bind in options.bind])
    enter(session / "root", ["/bin/sh", "-c", script, "sh", *command])


def fail(message: str) -> NoReturn:
    print(f"FATAL:   {message}", file=sys.stderr)
    sys.exit(FAILED)


# --- building -------------------------------------------------------------------------------------


def build_image(image: Path, definition: Definition, name: str) -> None:
    base = re.fullmatch(r"debian:(\w+)-\d{8}-slim", definition.header["From"])
    if base is None or definition.header["Bootstrap"] != "docker":
        fail(f"there is no stand-in for the base {definition.header}")
    shown = make_debian_root(image, base.group(1))
    for source, target in definition.copies():
        shutil.copytree(source, image / target.removeprefix("/"))
    run_post(image, definition.sections["post"], shown)

    notes = image / ".singularity.d"
    (notes / "env").mkdir(parents=True)
    (notes / "env/90-environment.sh").write_text("#!/bin/sh\n" + definition.sections["environment"])
    (notes / "test").write_text("#!/bin/sh\n" + definition.sections["test"])
    (notes / "test").chmod(0o755)
    labels = definition.labels() | labels_in((image / ".labels").read_text())
    (notes / "labels.json").write_text(json.dumps(labels))
    (image / ".labels").unlink()
    # Its tests must not need a network.
    subprocess.run(["unshare", "--net", name, "test", "--cleanenv", image], cwd="/", check=True)


def run_post(image: Path, script: str, shown: list[Path]) -> None:
    """``shown``: folders of this machine to show inside meanwhile."""
    inside = [image / folder.relative_to("/") for folder in shown]
    for folder in inside:
        folder.mkdir(parents=True)
    (image / ".post").write_text(script)
    subprocess.run(["unshare", "--mount", "sh", "-euc", _POST, "sh", image, *shown], check=True)
    (image / ".post").unlink()
    for folder in inside:
        folder.rmdir()


# --- the environment ------------------------------------------------------------------------------


def environment_script(name: str, image: Path, host: dict[str, str], clean: bool) -> str:
    """For a shell in the image that has only its defaults: sets everything, then becomes the command.

    A variable with a prefix goes before the image's own ``%environment``, and that before one that is passed on;
    where the image sets such a one to nothing, it is unset.
    """
    forced: dict[str, str] = {}
    for prefix in reversed(PREFIXES[name]):
        forced |= {key.removeprefix(prefix): value for key, value in host.items() if key.startswith(prefix)}
    passed = {key: value for key, value in host.items() if key in ALWAYS_PASSED or not clean}
    if clean:
        passed["LANG"] = "C"
    lines = [
        ". /.singularity.d/env/90-environment.sh",
        'export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/.singularity.d/libs"',
    ]
    if forced.keys() & {"HOME", "PATH"}:
        fail("HOME and PATH of the image cannot be set from outside in this way")
    lines += [f"export {key}={shlex.quote(value)}" for key, value in forced.items()]
    lines.append(f"export {name.upper()}_CONTAINER={shlex.quote(str(image))}")
    for key in passed.keys() - forced.keys() - NEVER_PASSED:
        if key.isidentifier() and not key.startswith(("APPTAINER", "SINGULARITY")):
            value = shlex.quote(passed[key])
            lines.append(f'if [ -z "${{{key}+set}}" ]; then export {key}={value}; fi')
            lines.append(f'if [ -z "${key}" ]; then unset {key}; fi')
    return "\n".join([*lines, 'exec "$@"'])


# --- files ----------------------------------------------------------------------------------------


def parse_bind(bind: str) -> tuple[Path, Path, bool]:
    """Source, target, and whether it is read-only."""
    source, target, mode, *more = [*bind.split(":"), "", ""] if bind.count(":") < 2 else bind.split(":")
    target = target or source
    if "," in bind or any(more) or mode not in ("", "ro", "rw") or not target.startswith("/"):
        fail(f"--bind {bind} is not understood")
    if not Path(source).exists():
        fail(f"container creation failed: mount {source}->{target} error: no such file or directory")
    return Path(source), Path(target), mode == "ro"


def show(image: Path, session: Path, binds: list[tuple[Path, Path, bool]]) -> None:
    """Mounts at ``session/root`` what a command is to see: the image read-only, and on it folders of the host."""
    mount("-t", "tmpfs", "tmpfs", session)
    root, changes, work = (session / folder for folder in ("root", "changes", "work"))
    for folder in (root, changes, work):
        folder.mkdir()
    # Mount points are made in a layer above the image, which stays as it is.
    mount("-t", "overlay", "overlay", root, "-o", f"lowerdir={image.resolve()},upperdir={changes},workdir={work}")
    for name in ("tmp", "var/tmp"):
        mount("-t", "tmpfs", "tmpfs", root / name, "-o", "mode=1777")
    files = (f"/etc/{name}" for name in ("passwd", "group", "hosts", "resolv.conf", "localtime"))
    usual = ["/proc", "/sys", "/dev", *filter(os.path.exists, files), str(Path.home())]
    for source, target, read_only in [*((Path(name), Path(name), False) for name in usual), *binds]:
        place = root / target.relative_to("/")
        if not place.exists():
            if source.is_dir():
                place.mkdir(parents=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
        mount("--rbind", source, place)
        if read_only:
            mount("-o", "remount,bind,ro", place)
    mount("-o", "remount,ro", root)


def mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(f"container creation failed: {done.stderr.strip()}")


def enter(root: Path, command: list[str]) -> NoReturn:
    home, here = str(Path.home()), str(Path.cwd())
    os.chroot(root)
    os.chdir("/")
    for folder in (here, home):
        with contextlib.suppress(OSError):
            os.chdir(folder)
            break
    # Python ignores it, and a program that is begun by exec would, too.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execve(command[0], command, {"HOME": home, "PATH": DEFAULT_PATH})


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
    except (ValueError, subprocess.CalledProcessError) as error:
        fail(str(error))
