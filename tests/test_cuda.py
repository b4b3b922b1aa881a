"""The recogniser's cuBLAS, which pip puts where the loader does not look."""

import ctypes
from itertools import count
from pathlib import Path
from typing import Literal

import pytest
from shared_libraries import write_library

from audioctl.engines import cuda
from audioctl.engines.loading import load_engine
from audioctl.errors import ModelError
from audioctl.settings import Transcribe

_numbers = count()


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a cuBLAS that nobody else has: what a test loads stays in this process."""
    name = f"libcublas-{next(_numbers)}.so.12"
    monkeypatch.setattr(cuda, "CUBLAS", name)
    monkeypatch.setattr(cuda, "_NEEDED", (f"nvidia/cuda_nvrtc/lib/nvrtc-{name}", f"nvidia/cublas/lib/Lt-{name}"))
    return name


def install(site_packages: Path, name: str) -> list[Path]:
    """As the wheels for CUDA 12 do."""
    compiler = write_library(site_packages / "nvidia" / "cuda_nvrtc" / "lib" / f"nvrtc-{name}", needs=["libc.so.6"])
    folder = site_packages / "nvidia" / "cublas" / "lib"
    light = write_library(folder / f"Lt-{name}", needs=["libc.so.6"])
    return [compiler, light, write_library(folder / name, needs=[f"Lt-{name}", "libc.so.6"])]


def is_loaded(library: Path) -> bool:
    return f"{library}" in Path("/proc/self/maps").read_text()


def refused(search_path: list[str]) -> ModelError:
    with pytest.raises(ModelError) as raised:
        cuda.load_cublas(search_path)
    assert raised.value.hint
    return raised.value


def test_what_pip_has_installed_is_found_by_its_name_from_then_on(tmp_path: Path, name: str) -> None:
    libraries = install(tmp_path / "site-packages", name)
    with pytest.raises(OSError, match="No such file"):
        ctypes.CDLL(name)

    cuda.load_cublas([str(tmp_path / "lib"), str(tmp_path / "site-packages")])

    for library in libraries:
        ctypes.CDLL(library.name)
        assert is_loaded(library)


def test_older_wheels_without_a_compiler_will_do(tmp_path: Path, name: str) -> None:
    compiler, _, cublas = install(tmp_path, name)
    compiler.unlink()
    cuda.load_cublas([str(tmp_path)])
    assert is_loaded(cublas)


def test_where_the_loader_finds_one_by_itself_that_is_taken(tmp_path: Path, name: str) -> None:
    ctypes.CDLL(str(write_library(tmp_path / "cuda" / name)))
    libraries = install(tmp_path / "site-packages", name)
    cuda.load_cublas([str(tmp_path / "site-packages")])
    assert not any(map(is_loaded, libraries))


def test_one_that_is_nowhere_is_told_with_what_to_install(tmp_path: Path, name: str) -> None:
    error = refused([str(tmp_path)])
    assert f"{name}: cannot open shared object file" in error.message
    assert "pip install 'audioctl[gpu]'" in str(error.hint)
    assert "transcribe.device" in str(error.hint)


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_one_that_is_damaged_is_named(tmp_path: Path, name: str, damaged: int) -> None:
    library = install(tmp_path, name)[damaged]
    library.write_bytes(library.read_bytes()[:100])
    error = refused([str(tmp_path)])
    assert error.message.startswith(f"{library} cannot be loaded: ")
    assert "--force-reinstall" in str(error.hint)


@pytest.mark.parametrize("device", ["cuda", "auto"])
@pytest.mark.usefixtures("name")
def test_on_a_gpu_it_is_missed_before_the_first_clip(
    device: Literal["cuda", "auto"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 1)
    with pytest.raises(ModelError, match="needs cuBLAS of CUDA 12"):
        load_engine(Transcribe(model="bundled", device=device))


@pytest.mark.usefixtures("name")
def test_on_a_cpu_it_is_not_needed() -> None:
    assert load_engine(Transcribe(model="bundled", device="cpu")).model == "bundled"
