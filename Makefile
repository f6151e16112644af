# The few commands a developer types. Everything is installed into .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EMBEDDED := $(shell $(PYTHON) -c "import sys; print('embedded,' if sys.version_info < (3, 13) else '')")

.DEFAULT_GOAL := help
.PHONY: help demo test check bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One stamp per set of extras: pip runs again only when pyproject.toml changes.
$(VENV)/.run: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[$(EMBEDDED:,=)]'
	@touch $@

$(VENV)/.dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[$(EMBEDDED)dev]'
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run ## run everything on a simulated day (DATA=dir: on the files of a folder)
	@$(BIN)/acaflow demo $(if $(DATA),--data '$(DATA)')

test: $(VENV)/.dev ## run every test this machine can run
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev ## format, lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.dev ## measure against floors of the same run
	@$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove what the commands above made
	rm -rf $(VENV) .demo .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
