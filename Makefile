# The two commands a stranger needs are `make demo` and `make test`. Both install what they need into .venv.

VENV := .venv
PIP := $(VENV)/bin/pip
AUDIOCTL := $(VENV)/bin/audioctl

.PHONY: help demo test lint format docs clean

help:
	@echo "make demo    process a sample day here, with nothing configured"
	@echo "make test    install what the tests need, run them all"
	@echo "make lint    ruff, mypy --strict"
	@echo "make format  let ruff mend what it can"
	@echo "make docs    write docs/configuration.md anew from the settings"
	@echo "make clean   remove the virtual environment and the demo's folder"

demo: $(VENV)/.worker
	$(AUDIOCTL) demo

test: $(VENV)/.dev
	scripts/install-system-packages tests
	$(VENV)/bin/python -m pytest -n 2 $(PYTEST_ARGUMENTS)

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(VENV)/.dev
	$(AUDIOCTL) config reference > docs/configuration.md

clean:
	rm -rf $(VENV) audioctl-demo

$(VENV)/.python:
	scripts/install-system-packages demo
	scripts/make-virtual-environment $(VENV)
	touch $@

$(VENV)/.worker: $(VENV)/.python pyproject.toml
	$(PIP) install --quiet --editable '.[worker]'
	touch $@

# torch first, at the version that is tested: left to a dependency, pip would take its newest build.
$(VENV)/.dev: $(VENV)/.python pyproject.toml
	$(PIP) install --quiet torch==2.13.0
	$(PIP) install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.worker
