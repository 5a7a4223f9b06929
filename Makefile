# setup: the environment in .venv, from uv's lock where uv is present, else by pip from its export.
# demo: the service with a live simulated plant. demo-control: with that plant over OPC UA, collected and controlled. serve: the service alone. test, bench: what they say.
.PHONY: setup demo demo-control serve test tests-of-service tests-of-twin bench
.DEFAULT_GOAL := setup

FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do $$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
DONE := .venv/.done

setup: $(DONE)

$(DONE): pyproject.toml uv.lock requirements.txt
	@if command -v uv >/dev/null; then \
		uv sync --locked; \
	else \
		test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed (make PYTHON=/path/to/python3.12)" >&2; exit 1; }; \
		$(PYTHON) -m venv .venv && \
		$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt && \
		$(BIN)/python -m pip install --quiet --no-deps --editable .; \
	fi
	@touch $(DONE)

demo: setup
	@exec $(BIN)/twin demo

demo-control: setup
	@exec $(BIN)/twin demo --control

serve: setup
	@exec $(BIN)/twin serve

test: setup
	@if command -v uv >/dev/null; then $(EXPORT) | diff - requirements.txt \
		|| { echo "requirements.txt is stale: make requirements.txt" >&2; exit 1; }; fi
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory --jobs=2 tests-of-service tests-of-twin

# Side by side, a core each; and apart, as the compiled programs of all tests are too many memory maps for one process.
tests-of-service: setup
	$(BIN)/python -m pytest --ignore tests/twin
tests-of-twin: setup
	$(BIN)/python -m pytest tests/twin/*/
	$(BIN)/python -m pytest tests/twin/test_*.py

bench: setup
	@for script in tests/benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

EXPORT := uv export --locked --quiet --no-header --no-annotate --no-emit-project --format requirements-txt

requirements.txt: uv.lock
	@if command -v uv >/dev/null; then $(EXPORT) --output-file $@; else touch $@; fi
