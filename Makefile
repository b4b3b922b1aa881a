# The two commands a stranger needs are `make demo` and `make test`. Both install what they need into .venv.

VENV := .venv
PIP := $(VENV)/bin/pip
AUDIOCTL := $(VENV)/bin/audioctl

PYTHON := $(VENV)/bin/python

.PHONY: help demo test bench lint format docs clean

help:
	@echo "make demo    process a sample day here, with nothing configured"
	@echo "make test    install what the tests need, run them all"
	@echo "make bench   measure it beside the ways it replaces: a quarter of an hour on two idle cores"
	@echo "make lint    ruff, mypy --strict"
	@echo "make format  let ruff mend what it can"
	@echo "make docs    write anew what is made from the program: configuration.md, schemas, the man page"
	@echo "make clean   remove the virtual environment and the demo's folder"

demo: $(VENV)/.worker
	$(AUDIOCTL) demo

test: $(VENV)/.dev
	scripts/install-system-packages tests
	$(VENV)/bin/python -m pytest -n 2 $(PYTEST_ARGUMENTS)

# Sizes for two cores and a quarter of an hour; docs/performance.md says what each measures, and with which sizes its
# own figures were. A bound that is not reached is printed, and ends nothing.
bench: $(VENV)/.dev
	scripts/install-system-packages tests
	$(PYTHON) -m benchmarks.whole_job --clips 60 --batch 20 --repeats 1
	$(PYTHON) -m benchmarks.whole_job --clips 30 --batch 10 --repeats 1 --model tiny-shaped --compute-type int8
	$(PYTHON) -m benchmarks.whole_job --clips 100 --repeats 1 --stand-in 200
	$(PYTHON) -m benchmarks.whole_job --clips 120 --repeats 1 --stand-in 200 --short-clips
	$(PYTHON) -m benchmarks.busy --clips 300 3000
	$(PYTHON) -m benchmarks.extract --clips 200 --rounds 3
	$(PYTHON) -m benchmarks.convert --clips 60 --seconds 2 30
	$(PYTHON) -m benchmarks.convert --clips 30 --seconds 10 60
	$(PYTHON) -m benchmarks.upload --files 3000
	$(PYTHON) -m benchmarks.record
	$(PYTHON) -m benchmarks.search --days 60
	$(PYTHON) -m benchmarks.parquet --archives 10 40
	-$(PYTHON) -m benchmarks.memory --clips 600 3000

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(VENV)/.dev
	$(AUDIOCTL) config reference > docs/configuration.md
	$(PYTHON) -m tools.json_schemas
	$(PYTHON) -m tools.man_page > man/audioctl.1

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
