# Every target sets up what it needs in .venv first; nothing is set up twice. Works with GNU make 3.81 and newer.
#
# make test PYTEST_ARGS='-k ema'    a part of the tests
# make demo PYTHON=python3.12       the interpreter of a new .venv
# make demo TORCH=cpu               PyTorch without CUDA in a new .venv (needs uv, or pip to fetch it)

BIN := .venv/bin
PYTEST_ARGS ?=
unexport PYTHONDONTWRITEBYTECODE # set-up leaves the bytecode to the first import

.PHONY: help demo test check docs constraints clean force

help:
	@echo 'make demo         train, score and export a classifier of handwritten digits'
	@echo 'make test         run the tests'
	@echo 'make check        format, lint, types, layers'
	@echo 'make docs         build the documentation into site/'
	@echo 'make constraints  renew the pinned versions (needs uv)'
	@echo 'make clean        remove .venv, the demo photos, caches and builds; runs/ stays'

demo: .venv/.ready
	@$(BIN)/classifier-training demo

test: .venv/.ready-dev
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile $(PYTEST_ARGS)

check: .venv/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Each stage has a stamp that holds the folder .venv was made in: if that was moved, or its Python is gone, it is rebuilt.
ifneq ($(shell test -x $(BIN)/python && cat .venv/.ready 2>/dev/null),$(shell pwd -P))
.venv/.ready: force
endif

.venv/.ready: pyproject.toml constraints.txt scripts/setup.sh
	@sh scripts/setup.sh demo

.venv/.ready-%: .venv/.ready
	@sh scripts/setup.sh $*

# The report of a demo is part of the site.
docs: .venv/.ready-docs
	$(BIN)/python scripts/settings_page.py
	@rm -rf build/docs && mkdir -p build/docs docs/demo
	$(BIN)/classifier-training demo --quiet --folder build/docs run.dir=build/docs run.name=demo
	@cp build/docs/demo/report.html docs/demo/report.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo 'open site/index.html'

constraints:
	uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --upgrade --all-extras \
	    --no-annotate --custom-compile-command 'make constraints' --output-file constraints.txt pyproject.toml

clean:
	rm -rf .venv build dist site docs/demo demo-data .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
