"""A bare Debian in a folder, in place of the Docker image of it, which takes packages from where this machine does."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

MIRROR = "http://deb.debian.org/debian"
_CERTIFICATES_FOR_PIP = "etc/pip-certificates.crt"
_FOLDERS_OF_PACKAGES = {"find-links", "index-url", "extra-index-url"}


def make_debian_root(root: Path, suite: str) -> list[Path]:
    """Debian in the new folder ``root``, about 200 MB, which then takes apt's and pip's packages from where we do.

    Returns the folders of this machine that have to be shown inside, under their own names, while packages are
    installed: local collections of packages can be large.
    """
    sources = _apt_sources(suite)
    mirror = sources[0].split()[1] if sources else MIRROR
    debootstrap = ["debootstrap", "--variant=minbase", suite, str(root), mirror]
    subprocess.run(debootstrap, stdout=subprocess.DEVNULL, check=True)
    if sources:
        (root / "etc/apt/sources.list").write_text("".join(f"{line}\n" for line in sources))
    (root / "etc/apt/apt.conf.d/99machine").write_text(_apt_settings())
    # Certificates of a proxy: the package ca-certificates takes them up when it is installed.
    certificates = Path("/usr/local/share/ca-certificates")
    if certificates.is_dir():
        shutil.copytree(certificates, root / "usr/local/share/ca-certificates", dirs_exist_ok=True)
    settings = _pip_settings()
    if "cert" in settings:
        shutil.copyfile(settings["cert"], root / _CERTIFICATES_FOR_PIP)
        settings["cert"] = f"/{_CERTIFICATES_FOR_PIP}"
    lines = [f"{name} = {' '.join(value.split())}\n" for name, value in settings.items()]
    (root / "etc/pip.conf").write_text("".join(["[global]\n", *lines]))
    return _package_folders(settings)


def _apt_sources(suite: str) -> list[str]:
    """Where this machine has the suite from, with its updates; nothing if it is another Debian, or none."""
    command = ["apt-get", "indextargets", "--no-release-info", "--format=$(REPO_URI) $(RELEASE) $(COMPONENT)"]
    output = subprocess.run([*command, "Created-By: Packages"], capture_output=True, text=True, check=True).stdout
    targets = [line.split() for line in dict.fromkeys(output.splitlines())]
    return [
        f"deb {uri} {release} main"
        for uri, release, component in targets
        if component == "main" and release in (suite, f"{suite}-updates", f"{suite}-security")
    ]


def _apt_settings() -> str:
    """Proxies, time limits, checks of dates."""
    output = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    kept = re.compile(r"Acquire::(?!IndexTargets|Languages|cdrom|Changelogs)[\w:-]+ ")
    return "".join(f"{line}\n" for line in output.splitlines() if kept.match(line))


def _pip_settings() -> dict[str, str]:
    """From files and from the environment, which goes before them."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    settings: dict[str, dict[str, str]] = {"global": {}, ":env:": {}}
    for line in output.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in settings:
            settings[section][option] = ast.literal_eval(value)
    return settings["global"] | settings[":env:"]


def _package_folders(settings: dict[str, str]) -> list[Path]:
    folders = set()
    for option in _FOLDERS_OF_PACKAGES & settings.keys():
        for location in settings[option].split():
            path = Path(urlsplit(location).path)
            if urlsplit(location).scheme in ("", "file") and path.is_dir():
                # The pages of an index lead to files beside it.
                folders.add(path if option == "find-links" else path.parent)
    return sorted(folders, key=os.fspath)
