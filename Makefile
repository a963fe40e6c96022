# Each target sets up .venv by itself on a fresh machine with Python 3.11 to 3.13.
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3 2>/dev/null))
VENV := .venv
PY := $(VENV)/bin/python
# tests/conftest.py orders the files.
PYTEST := $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder
export TF_CPP_MIN_LOG_LEVEL ?= 2

# Tests of report pages in a browser need this, chromium and chromedriver; without them they are skipped.
AXE := $(VENV)/axe/node_modules/axe-core/axe.min.js

.PHONY: setup browser test test-slow lint audit demo bench torture clean
setup: $(VENV)/.ready

REQUIREMENTS := $(addprefix requirements, .txt -cluster.txt -dev.txt -export.txt)
$(VENV)/.ready: $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
	  f"Python 3.11 to 3.13 is needed, found {v[0]}.{v[1]}; name one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

browser: setup
	@test -f $(AXE) || npm install --prefix $(VENV)/axe --no-audit --no-fund --silent axe-core@4.14.1 || \
	  echo "note: axe-core was not installed, so the tests of report pages in a browser are skipped"
	@command -v chromium chromedriver >/dev/null || \
	  echo "note: chromium or chromedriver is missing (Debian: apt-get install chromium chromium-driver)"

# The test processes share the cores.
test test-slow: export TF_NUM_INTRAOP_THREADS ?= 1
test test-slow: export OMP_NUM_THREADS ?= 1

test: setup
	$(PYTEST) -m "not slow"

test-slow: setup browser
	$(PYTEST) -m slow

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-logo

# Asks PyPI for known vulnerabilities; --strict fails for packages that it cannot ask for.
audit: setup
	$(VENV)/bin/pip-audit --strict --progress-spinner off --requirement requirements-export.txt \
	  --requirement requirements-cluster.txt

demo: setup
	$(PY) reproduce.py --output_path demo

bench: setup
	$(PY) benchmarks/extraction.py --clips 60 --repeats 1

# 1,000 kills in total.
torture: setup
	$(PY) benchmarks/kills.py extraction --kills 300
	$(PY) benchmarks/kills.py training --kills 180
	$(PY) benchmarks/kills.py reproduce --kills 160

clean:
	rm -rf demo .pytest_cache .ruff_cache .hypothesis
