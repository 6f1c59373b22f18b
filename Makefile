# make demo and make test do their whole set-up themselves; the second time it is a look at one file.
# PYTHON=... names the Python that .venv is made with, ARGS=... goes to the command that runs.

BIN := .venv/bin
STAMP := .venv/.ready
# Several processes share the machine: a maths library with a thread per core makes all of them slower.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: setup check test demo bench soak docs clean

setup: $(STAMP)

$(STAMP): pyproject.toml tools/setup.sh
	PYTHON="$(PYTHON)" sh tools/setup.sh
	@touch $@

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# A file's tests stay together: what a file makes once (an environment, a trained model) is made once.
test: check
	$(PYTEST) -n 2 --dist loadfile $(ARGS)

demo: setup
	$(BIN)/winnow demo $(ARGS)

# Each prints its own table; loop takes a quarter of an hour, selection half an hour.
bench: setup
	@set -e; for name in edge learning loop selection rescore steel_line stream uplink; do $(BIN)/python -m "benchmarks.$$name" $(ARGS); done

# The long tests, the faults at full length among them (docs/faults.md), and every property with many more examples.
soak: setup
	$(PYTEST) --soak -m "soak or hypothesis" $(ARGS)

# What is generated from the code: the page of commands and the state diagrams.
docs: setup
	$(BIN)/python tools/pages.py

# .venv and .wheels stay: remove them by hand to begin from nothing.
clean:
	rm -rf build dist demo-out .out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
