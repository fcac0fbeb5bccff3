# Everything from nothing: needs Python >= 3.10, pip and make. `make demo` and `make test` do all of the set-up.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: demo test coverage slow soak lint docs app clean

demo: $(VENV)/.installed ## the demo portrait speaks: out/demo.mp4
	@mkdir -p out
	$(PY) -m anitalker render app/examples/portrait.webp app/examples/speech.flac -o out/demo.mp4
	@echo "Your video: $(CURDIR)/out/demo.mp4"

test: $(VENV)/.installed-dev ## the default tests on all cores: no GPU, no downloads
	$(PY) -m pytest -n auto --dist loadfile

coverage: $(VENV)/.installed-dev ## the default tests, and the lines that they do not reach
	$(PY) -m pytest -n auto --dist loadfile --cov=anitalker --cov=encoders --cov=app --cov-report=term:skip-covered

slow: $(VENV)/.installed-dev ## the tests with the shipped weights
	$(PY) -m pytest -m "slow and not soak"

soak: $(VENV)/.installed-dev ## tests of more than two minutes each
	$(PY) -m pytest -m soak

lint: $(VENV)/.installed-dev ## style, docstrings, types
	$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m pyright

docs: $(VENV)/.installed-dev ## the documentation site: build/site
	$(PY) -m pip install --disable-pip-version-check -q -e ".[docs]"
	$(PY) -m mkdocs build --strict

app: $(VENV)/.installed ## the web page on http://127.0.0.1:7860
	$(PY) -m app

# Debian and Ubuntu ship Python without ensurepip: then virtualenv, unpacked into build/, makes the environment.
$(PY):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("error: Python 3.10 or newer is needed, this is %d.%d; try make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); \
	  $(PYTHON) -m pip install --quiet --target build/virtualenv virtualenv && \
	  PYTHONPATH=build/virtualenv $(PYTHON) -m virtualenv --quiet $(VENV); }

$(VENV)/.installed: pyproject.toml | $(PY)
	$(PY) -m pip install --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(PY)
	$(PY) -m pip install --disable-pip-version-check -e ".[dev]"
	@touch $@ $(VENV)/.installed

clean: ## what was made here; the environment stays
	rm -rf out build *.egg-info .pytest_cache .ruff_cache
