# Two commands matter: `make glow` trains and draws, `make test` checks everything.
# They need Python 3.11 to 3.13 and make. Everything else is installed into .venv* folders beside this file.

BACKEND ?= $(or $(KERAS_BACKEND),jax)
RECIPE  ?= glow/fashion-mnist
ARGS    ?=
PROFILE ?= fast
PYTEST  ?= -n auto --maxprocesses 4 --dist worksteal

ENGINES := jax torch tensorflow
CHECKS  := check-tests check-contracts check-flows check-kills check-exports check-newest
ifneq ($(filter glow,$(MAKECMDGOALS)),)
  ifeq ($(filter $(BACKEND),$(ENGINES)),)
    $(error BACKEND=$(BACKEND): expected one of $(ENGINES))
  endif
endif

# The default backend has the plain names; the others get a suffix.
SUFFIX := $(if $(filter-out jax,$(BACKEND)),-$(BACKEND))
VENV   := .venv$(SUFFIX)
RUN    ?= runs/$(subst /,-,$(basename $(RECIPE)))$(SUFFIX)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pytest rewrites every test module, which takes each worker ten seconds: keep what the first worker wrote.
unexport PYTHONDONTWRITEBYTECODE
export TF_CPP_MIN_LOG_LEVEL ?= 2

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help glow test lint types doctest test-jax test-torch test-tensorflow test-keras check $(CHECKS) bench docs lock clean

help:
	@echo "make glow                  train Glow on the embedded images with JAX; writes $(RUN)/samples.png"
	@echo "make glow BACKEND=torch    the same on PyTorch (or BACKEND=tensorflow)"
	@echo "make glow RUN=runs/small ARGS='--epochs 5 --set model.steps=4'    with other values (RECIPE=... for another recipe)"
	@echo "make test                  run lint, types, doctests, every test that is not long on PyTorch, those that depend on the"
	@echo "                           backend on JAX, the mathematics on TensorFlow, and what uses Keras's internals on its oldest"
	@echo "make test-jax PYTEST='-x tests/bijectors'    run one part: lint types doctest test-jax test-torch test-tensorflow test-keras"
	@echo "make test-keras KERAS='--pre keras-nightly'      run that part with another Keras"
	@echo "make check                 run the rest (three and a half hours on two cores): long tests too; every clause of the"
	@echo "                           contract for each layer, where make test checks round trips and log-dets (PROFILE=full"
	@echo "                           checks all clauses there too);"
	@echo "                           2,600 drawn flows, others each time; ten kills of a process in a group, where make test"
	@echo "                           kills once; slow exports; the newest versions of all packages. One part each:"
	@echo "                           $(CHECKS)"
	@echo "make bench                 compare speed and memory with other libraries on JAX and PyTorch, and with the last release;"
	@echo "                           writes runs/bench (ARGS=--keep: also benchmarks/released.json)"
	@echo "make docs                  build the documentation into site/; runs every block and picture, on JAX (or BACKEND=torch)"
	@echo "                           (FLOWKIT_DOCS_SLOWER=3 allows each picture three times 20 s, for a slow machine)"
	@echo "make lock                  write backends/*/lock.txt, the versions that the tests run with and container files install"
	@echo "make clean                 remove environments and caches; keep runs/"

# Resume an existing run from its last epoch; score a finished run again.
glow: $(VENV)/.installed
	@if [ -e "$(RUN)/metrics.json" ]; then \
	  echo "$(RUN) is trained already. To train again, remove that folder or choose another with RUN=..."; \
	  echo "samples $(RUN)/samples.png"; \
	  KERAS_BACKEND=$(BACKEND) $(VENV)/bin/flowkit evaluate "$(RUN)"; \
	else \
	  if [ -e "$(RUN)/recipe.toml" ]; then resume=--resume; else resume=; fi; \
	  $(VENV)/bin/flowkit train "$(RECIPE)" --backend $(BACKEND) --out "$(RUN)" $$resume $(ARGS); \
	fi

# Cheapest checks first. `make --keep-going test` runs all of them despite failures.
test: lint types doctest test-keras test-tensorflow test-torch test-jax

lint: .venv-test/.installed
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .

# Check the package with mypy, and short user scripts with both type checkers.
types: .venv-test/.installed
	.venv-test/bin/mypy
	.venv-test/bin/mypy tests/typing
	.venv-test/bin/basedpyright --level error --pythonpath .venv-test/bin/python tests/typing

doctest: .venv-test/.installed
	KERAS_BACKEND=torch .venv-test/bin/pytest $(PYTEST) --doctest-modules flowkit --ignore flowkit/engines

# One thread per worker: on two cores, two workers with two PyTorch threads each mostly wait for each other.
doctest test-jax test-torch test-tensorflow test-keras $(CHECKS): export OMP_NUM_THREADS ?= 1

# Share one compilation cache between workers and the processes that tests start. The cache is deleted before each run,
# because JAX never removes old entries.
test-jax $(CHECKS) docs: export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.jax_cache
test-jax $(CHECKS) docs: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0
test-jax $(CHECKS) docs: export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES ?= -1

# Code that runs once spends nearly all its time in the compiler; without its optimizer XLA takes less than half as long.
# `make check` keeps the optimizer, as users do, but for the drawn flows. XLA aborts on unknown flags, and its flags change
# between versions, so try them first.
UNOPTIMIZED := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false
QUICK_XLA = $(shell XLA_FLAGS='$(UNOPTIMIZED)' .venv-test/bin/python -c \
  'import jax; jax.devices()' 2>/dev/null && echo '$(UNOPTIMIZED)')
test-jax: export XLA_FLAGS ?= $(QUICK_XLA)

# PyTorch finds failures of any backend fastest; tests/engines_asked.py chooses the tests for the other two. `make check`
# runs the tests marked `long`. Compile training steps that must be equal bit for bit with XLA's optimizer.
test-torch test-keras: EACH := -m 'not long'
test-jax: EACH := -m 'jax and not optimized and not long'
test-tensorflow: EACH := -m 'tensorflow and not long'

test-jax: .venv-test/.installed
	rm -rf .jax_cache
	KERAS_BACKEND=jax .venv-test/bin/pytest --bijector-profile $(PROFILE) $(EACH) $(PYTEST)
	KERAS_BACKEND=jax XLA_FLAGS= .venv-test/bin/pytest -m 'optimized and not long' tests/flows tests/transforms

test-torch: .venv-test/.installed
	KERAS_BACKEND=torch .venv-test/bin/pytest --bijector-profile $(PROFILE) $(EACH) $(PYTEST)

test-tensorflow: .venv-test/.installed
	KERAS_BACKEND=tensorflow .venv-test/bin/pytest --bijector-profile $(PROFILE) $(EACH) $(PYTEST)

# Run the tests of Keras's internals with another Keras; all other tests use the newest. This environment borrows every
# package but Keras from .venv-test, which takes seconds; installing a second PyTorch takes minutes.
KERAS ?= keras==$(shell sed -n 's/^  "keras>=\(.*\)",$$/\1/p' pyproject.toml)
ON_KERAS := tests/test_keras_internals.py tests/contract tests/data/test_batch_order.py \
            $(addprefix tests/training/test_,adamax.py guard.py resume.py) \
            $(addprefix tests/flows/test_,failed_step.py whole_files.py saving.py training.py)
test-keras: .venv-test/.installed
	.venv-test/bin/python -m venv --clear .venv-keras
	.venv-keras/bin/python -m pip install --quiet --no-deps $(KERAS)
	.venv-test/bin/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	  > `.venv-keras/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'`/borrowed.pth
	KERAS_BACKEND=torch .venv-keras/bin/python -c 'import keras; print("Keras", keras.__version__)'
	KERAS_BACKEND=torch .venv-keras/bin/python -m pytest --bijector-profile $(PROFILE) $(EACH) $(PYTEST) $(ON_KERAS)
	KERAS_BACKEND=jax .venv-keras/bin/python -m pytest --bijector-profile $(PROFILE) $(EACH) $(PYTEST) $(firstword $(ON_KERAS)) \
	  tests/flows/test_failed_step.py

# Run what `make test` leaves out, with XLA's optimizer: every test on PyTorch, and those that depend on the backend on the
# other two, the `long` ones too; all clauses of the checker for every layer on PyTorch, and for the first of each kind on
# JAX, where `make test` uses the fast profile; 2,000 drawn flows on PyTorch and 300 on each other backend, where
# `make test` draws 40 and 6; ten kills at random moments in a group of two processes, where `make test` kills once;
# exports that take minutes; and the tests of `make test` with the newest versions. This takes three and a half hours on
# two cores. `make --keep-going check` runs all parts despite failures, and `make check-kills` runs one.
CONTRACTS := tests/bijectors/test_contract.py tests/zoo/test_family_contracts.py tests/testing/test_drawing_layers.py
check: $(CHECKS)

# check-contracts asks more of the same layers.
check-tests: .venv-test/.installed
	rm -rf .jax_cache
	@failed=0; for engine in torch jax tensorflow; do echo; echo "Tests on $$engine"; \
	  if [ $$engine = torch ]; then only=; else only="-m $$engine"; fi; \
	  KERAS_BACKEND=$$engine .venv-test/bin/pytest --bijector-profile fast $(PYTEST) $$only $(addprefix --ignore ,$(CONTRACTS)) \
	    || failed=1; \
	done; exit $$failed

# torch.compile takes six seconds for each layer: compile the first of each kind there too.
check-contracts: .venv-test/.installed
	@echo; echo "Contracts on torch"; failed=0; \
	KERAS_BACKEND=torch .venv-test/bin/pytest --bijector-profile full $(PYTEST) -k 'not compiled or jax' $(CONTRACTS) || failed=1; \
	echo; echo "Contracts on jax"; \
	KERAS_BACKEND=jax .venv-test/bin/pytest --bijector-profile full $(PYTEST) -m jax $(CONTRACTS) || failed=1; exit $$failed

check-flows: .venv-test/.installed
	@failed=0; for engine in torch jax tensorflow; do echo; echo "Drawn flows on $$engine"; \
	  if [ $$engine = jax ]; then export XLA_FLAGS='$(QUICK_XLA)'; else unset XLA_FLAGS; fi; \
	  KERAS_BACKEND=$$engine .venv-test/bin/pytest $(PYTEST) tests/flows/many_drawn_flows.py || failed=1; \
	done; exit $$failed

check-kills: .venv-test/.installed
	@failed=0; for engine in torch jax; do echo; echo "Ten kills on $$engine"; \
	  KERAS_BACKEND=$$engine .venv-test/bin/pytest --capture no tests/distributed/ten_kills.py || failed=1; \
	done; exit $$failed

check-exports: .venv-test/.installed
	@echo; echo "Exports that take minutes, on PyTorch"; \
	KERAS_BACKEND=torch .venv-test/bin/pytest $(PYTEST) tests/flows/slow_exports.py

# The tests of PyTorch, JAX and groups of processes on the newest of all: Python 3.13, Keras's nightly, and a JAX that
# some of the tests' packages do not allow yet.
check-newest: export CUDA_VISIBLE_DEVICES ?=
check-newest: .venv-newest/.installed
	@.venv-newest/bin/pip list 2>/dev/null | grep -E '^(jax|keras-nightly|numpy|torch) '
	@failed=0; for engine in torch jax; do echo; echo "Newest versions on $$engine"; \
	  if [ $$engine = torch ]; then only='not long'; else only='jax and not long'; fi; \
	  KERAS_BACKEND=$$engine .venv-newest/bin/pytest --bijector-profile fast $(PYTEST) -m "$$only" || failed=1; \
	done; exit $$failed

# Run the small set, about ten minutes on two idle cores, and compare it with the last release. ARGS=--keep makes this run
# the reference of later ones. benchmarks/*.py take other sizes; benchmarks/gpu.sh runs on a GPU.
bench: .venv-bench/.installed
	@mkdir -p runs/bench
	.venv-bench/bin/python benchmarks/speed.py --depths 8 16 32 --json runs/bench/speed.json $(ARGS)
	@for engine in torch jax; do echo; echo "Memory on $$engine"; \
	  KERAS_BACKEND=$$engine .venv-bench/bin/python benchmarks/memory.py --width 32 --steps 4 16 --repeats 3 || exit; \
	done

# Run all pages and pictures again: cached outputs may be wrong for the current code.
DOCS := .venv-docs$(SUFFIX)
docs: export KERAS_BACKEND := $(BACKEND)
docs: export OMP_NUM_THREADS ?= 1
docs: $(DOCS)/.installed
	rm -rf .jax_cache
	$(DOCS)/bin/python -m sphinx --fail-on-warning --keep-going --fresh-env --write-all --jobs 2 --quiet \
	  -d build/doctrees docs site
	@echo "read site/index.html"

# Write one constraints file per backend, for CPU and CUDA, every Python and every system. Packages in .venv-test keep the
# tested version; others, such as CUDA, get the newest.
lock: .venv-test/.installed
	.venv-test/bin/python -m venv --clear .venv-lock
	.venv-lock/bin/python -m pip install --quiet uv
	.venv-test/bin/python -m pip list --format freeze --exclude-editable | sed 's/+cpu$$//' > .venv-lock/tested.txt
	@for engine in $(ENGINES); do \
	  .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --upgrade --constraint .venv-lock/tested.txt \
	    --no-annotate --custom-compile-command "make lock" --extra $$engine --output-file backends/$$engine/lock.txt \
	    pyproject.toml backends/$$engine/requirements-gpu.txt || exit; \
	done

clean:
	rm -rf $(VENVS) .venv-keras .venv-lock site build dist jupyter_execute docs/gallery .jax_cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find flowkit tests -name __pycache__ -type d -prune -exec rm -rf {} +

# One folder per environment; the stamp file prevents a reinstallation until pyproject.toml changes.
VENVS := .venv .venv-torch .venv-tensorflow .venv-test .venv-newest .venv-bench .venv-docs .venv-docs-torch .venv-docs-tensorflow
IS_SUPPORTED := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

.venv/.installed:            EXTRAS := jax
.venv-torch/.installed:      EXTRAS := torch
.venv-tensorflow/.installed: EXTRAS := tensorflow
.venv-test/.installed:       EXTRAS := jax,torch,tensorflow,dev
.venv-newest/.installed:     EXTRAS := jax,torch,dev
.venv-bench/.installed:      EXTRAS := jax,torch
.venv-docs/.installed:            EXTRAS := jax,docs
.venv-docs-torch/.installed:      EXTRAS := torch,docs
.venv-docs-tensorflow/.installed: EXTRAS := tensorflow,docs

.venv-newest/.installed:     PYTHON ?= python3.13
.venv-newest/.installed:     NEWEST := --force-reinstall --pre keras-nightly jax jaxlib

.venv-bench/.installed:      PEERS := --requirement benchmarks/requirements.txt
.venv-bench/.installed:      benchmarks/requirements.txt

$(addsuffix /.installed,$(VENVS)): pyproject.toml
	@set -e; venv=$(@D); \
	if ! $$venv/bin/python -m pip --version >/dev/null 2>&1; then \
	  for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python) none; do \
	    if $$python -c '$(IS_SUPPORTED)' >/dev/null 2>&1; then break; fi; \
	  done; \
	  if [ $$python = none ]; then \
	    echo "flowkit needs Python 3.11, 3.12 or 3.13 with its venv module; $(if $(PYTHON),$(PYTHON) does not qualify,none was found)." >&2; \
	    echo "Install one (on Debian and Ubuntu also python3-venv), or pass its path: make PYTHON=/path/to/python3.12 ..." >&2; \
	    exit 1; \
	  fi; \
	  $$python -m venv --clear $$venv; \
	fi; \
	echo "installing flowkit[$(EXTRAS)] into $$venv (a few minutes the first time) ..."; \
	$$venv/bin/python -m pip install --quiet --editable '.[$(EXTRAS)]' $(PEERS); \
	if [ -n "$(NEWEST)" ]; then \
	  $$venv/bin/python -m pip uninstall --quiet --yes keras; \
	  $$venv/bin/python -m pip install --quiet --no-deps --upgrade $(NEWEST); \
	fi; \
	touch $@
