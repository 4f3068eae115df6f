# Two commands matter: `make glow` trains and draws, `make test` checks everything.
# Needed beforehand: Python 3.11 to 3.13 and make. All else goes into .venv* folders beside this file.

BACKEND ?= $(or $(KERAS_BACKEND),jax)
RECIPE  ?= glow/fashion-mnist
ARGS    ?=
PROFILE ?= fast
PYTEST  ?= -n auto --maxprocesses 4 --dist worksteal

ENGINES := jax torch tensorflow
CHECKS  := check-tests check-contracts check-kills check-exports
ifneq ($(filter glow,$(MAKECMDGOALS)),)
  ifeq ($(filter $(BACKEND),$(ENGINES)),)
    $(error BACKEND=$(BACKEND): expected one of $(ENGINES))
  endif
endif

# The default engine has the plain names; the others sit beside it.
SUFFIX := $(if $(filter-out jax,$(BACKEND)),-$(BACKEND))
VENV   := .venv$(SUFFIX)
RUN    ?= runs/$(subst /,-,$(basename $(RECIPE)))$(SUFFIX)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export TF_CPP_MIN_LOG_LEVEL ?= 2

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help glow test lint types doctest test-jax test-torch test-tensorflow test-keras check $(CHECKS) bench docs lock clean

help:
	@echo "make glow                  train Glow on the images that flowkit carries, with JAX; draws $(RUN)/samples.png"
	@echo "make glow BACKEND=torch    the same on PyTorch (or BACKEND=tensorflow)"
	@echo "make glow RUN=runs/small ARGS='--epochs 5 --set model.steps=4'    other values (RECIPE=... another recipe)"
	@echo "make test                  lint, types, doctests, every test on PyTorch, on JAX what depends on the engine, each"
	@echo "                           layer once, the core of that on TensorFlow, what depends on Keras most on the oldest Keras"
	@echo "make test-jax PYTEST='-x tests/bijectors'    a part of it: lint types doctest test-jax test-torch test-tensorflow test-keras"
	@echo "make test-keras KERAS='--pre keras-nightly'      the same with any other Keras"
	@echo "make check                 what make test leaves out (an hour or more): every test on JAX and TensorFlow too; every clause of the"
	@echo "                           contract for each of our layers, on JAX and PyTorch, with what each took, where make test"
	@echo "                           asks round trips and log-dets alone (PROFILE=full asks all there too); and ten kills of a"
	@echo "                           process that trains with another, where make test kills once;"
	@echo "                           in parts: $(CHECKS)"
	@echo "make bench                 speed and memory beside other libraries, on JAX and PyTorch, and what is slower than at the"
	@echo "                           last release; writes runs/bench (ARGS=--keep: and benchmarks/released.json)"
	@echo "make docs                  the documentation, into site/: every block and picture on it runs, on JAX (or BACKEND=torch)"
	@echo "                           (FLOWKIT_DOCS_SLOWER=3 where pictures may take three times 20 s: a busy machine)"
	@echo "make lock                  backends/*/lock.txt: the versions that the tests run with, which container files install"
	@echo "make clean                 remove environments and caches; runs/ stays"

# A run that is there already goes on from its last epoch; a finished one is scored again.
glow: $(VENV)/.installed
	@if [ -e "$(RUN)/metrics.json" ]; then \
	  echo "$(RUN) is trained already; to train anew, remove that folder or give another with RUN=..."; \
	  echo "samples $(RUN)/samples.png"; \
	  KERAS_BACKEND=$(BACKEND) $(VENV)/bin/flowkit evaluate "$(RUN)"; \
	else \
	  if [ -e "$(RUN)/recipe.toml" ]; then resume=--resume; else resume=; fi; \
	  $(VENV)/bin/flowkit train "$(RECIPE)" --backend $(BACKEND) --out "$(RUN)" $$resume $(ARGS); \
	fi

# In the order in which failures are cheapest to find. `make --keep-going test` goes through all.
test: lint types doctest test-keras test-tensorflow test-torch test-jax

lint: .venv-test/.installed
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .

# The package itself, and short scripts as a user writes them, which both type checkers read.
types: .venv-test/.installed
	.venv-test/bin/mypy
	.venv-test/bin/mypy tests/typing
	.venv-test/bin/basedpyright --level error --pythonpath .venv-test/bin/python tests/typing

doctest: .venv-test/.installed
	rm -rf .jax_cache
	KERAS_BACKEND=jax .venv-test/bin/pytest $(PYTEST) --doctest-modules flowkit --ignore flowkit/engines

# One thread for each worker: two torches of two threads each on two cores mostly wait for each other.
doctest test-jax test-torch test-tensorflow test-keras $(CHECKS): export OMP_NUM_THREADS ?= 1

# Workers, and the processes that tests start, compile much the same for JAX: what one has compiled, all read. Anew each
# time, since nothing would ever be taken out.
doctest test-jax $(CHECKS) docs: export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.jax_cache
doctest test-jax $(CHECKS) docs: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0
doctest test-jax $(CHECKS) docs: export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES ?= -1

# Of code that is run once, all but a few hundredths of the time goes into compiling it. XLA without its optimizer takes
# less than half as long. `make check` leaves all as users have it. XLA ends a process that gives it a flag that it does
# not know, and flags come and go with its versions: so it is asked first.
UNOPTIMIZED := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false
doctest test-jax: export XLA_FLAGS ?= $(shell XLA_FLAGS='$(UNOPTIMIZED)' .venv-test/bin/python -c \
  'import jax; jax.devices()' 2>/dev/null && echo '$(UNOPTIMIZED)')

# What any engine finds PyTorch finds soonest: tests/engines_asked.py tells whom else a test is asked, and why. Steps that are
# to be equal bit for bit are compiled as users compile them.
test-jax: EACH := -m 'jax and not optimized'
test-tensorflow: EACH := -m tensorflow

test-jax: .venv-test/.installed
	rm -rf .jax_cache
	KERAS_BACKEND=jax .venv-test/bin/pytest --bijector-profile $(PROFILE) $(EACH) $(PYTEST)
	KERAS_BACKEND=jax XLA_FLAGS= .venv-test/bin/pytest -m optimized tests/flows tests/transforms

test-torch: .venv-test/.installed
	KERAS_BACKEND=torch .venv-test/bin/pytest --bijector-profile $(PROFILE) $(PYTEST)

test-tensorflow: .venv-test/.installed
	KERAS_BACKEND=tensorflow .venv-test/bin/pytest --bijector-profile $(PROFILE) $(EACH) $(PYTEST)

# What depends on Keras most, with another Keras than the newest, which all other tests have. Its environment borrows all
# but Keras from theirs: seconds, where a second PyTorch takes minutes.
KERAS ?= keras==$(shell sed -n 's/^  "keras>=\(.*\)",$$/\1/p' pyproject.toml)
ON_KERAS := tests/test_keras_internals.py tests/contract tests/data/test_batch_order.py \
            $(addprefix tests/training/test_,adamax.py guard.py resume.py) \
            $(addprefix tests/flows/test_,failed_step.py same_bytes.py saving.py training.py)
test-keras: .venv-test/.installed
	.venv-test/bin/python -m venv --clear .venv-keras
	.venv-keras/bin/python -m pip install --quiet --no-deps $(KERAS)
	.venv-test/bin/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	  > `.venv-keras/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'`/borrowed.pth
	KERAS_BACKEND=torch .venv-keras/bin/python -c 'import keras; print("Keras", keras.__version__)'
	KERAS_BACKEND=torch .venv-keras/bin/python -m pytest --bijector-profile $(PROFILE) $(PYTEST) $(ON_KERAS)
	KERAS_BACKEND=jax .venv-keras/bin/python -m pytest --bijector-profile $(PROFILE) $(PYTEST) $(firstword $(ON_KERAS)) \
	  tests/flows/test_failed_step.py

# What `make test` leaves out: every test on JAX and on TensorFlow too, compiled as users compile it; all that the checker
# knows to ask of our own layers, where each answers the fast profile alone in `make test`; a group of two whose processes
# are killed at ten random moments, where `make test` kills once; and exports that take minutes. Takes more than an hour;
# `make --keep-going check` goes through all, and `make check-kills` is one part alone.
CONTRACTS := tests/bijectors/test_contract.py tests/zoo/test_family_contracts.py
check: $(CHECKS)

check-tests: .venv-test/.installed
	rm -rf .jax_cache
	@failed=0; for engine in jax tensorflow; do echo; echo "Every test on $$engine"; \
	  KERAS_BACKEND=$$engine .venv-test/bin/pytest --bijector-profile fast $(PYTEST) || failed=1; \
	done; exit $$failed

check-contracts: .venv-test/.installed
	@failed=0; for engine in torch jax; do echo; echo "Contracts on $$engine"; \
	  KERAS_BACKEND=$$engine .venv-test/bin/pytest --bijector-profile full $(PYTEST) $(CONTRACTS) || failed=1; \
	done; exit $$failed

check-kills: .venv-test/.installed
	@failed=0; for engine in torch jax; do echo; echo "Ten kills on $$engine"; \
	  KERAS_BACKEND=$$engine .venv-test/bin/pytest --capture no tests/distributed/ten_kills.py || failed=1; \
	done; exit $$failed

check-exports: .venv-test/.installed
	@echo; echo "Exports that take minutes, on PyTorch"; \
	KERAS_BACKEND=torch .venv-test/bin/pytest $(PYTEST) tests/flows/slow_exports.py

# The small set, about ten minutes on two idle cores, and what is slower than at the last release: ARGS=--keep makes this
# run the one that later ones are compared with. benchmarks/*.py take other sizes; benchmarks/gpu.sh runs on a GPU.
bench: .venv-bench/.installed
	@mkdir -p runs/bench
	.venv-bench/bin/python benchmarks/speed.py --depths 8 16 32 --json runs/bench/speed.json $(ARGS)
	@for engine in torch jax; do echo; echo "Memory on $$engine"; \
	  KERAS_BACKEND=$$engine .venv-bench/bin/python benchmarks/memory.py --width 32 --steps 4 16 --repeats 3 || exit; \
	done

# Pages and pictures run anew each time: what was true of the code before may not be of this one.
DOCS := .venv-docs$(SUFFIX)
docs: export KERAS_BACKEND := $(BACKEND)
docs: export OMP_NUM_THREADS ?= 1
docs: $(DOCS)/.installed
	rm -rf .jax_cache
	$(DOCS)/bin/python -m sphinx --fail-on-warning --keep-going --fresh-env --write-all --jobs 2 --quiet \
	  -d build/doctrees docs site
	@echo "read site/index.html"

# One file for an engine on CPU and on CUDA, for every Python and system: pip takes it as constraints, so that it says which
# versions, and not what is installed. What the tests have they have run with; the rest, CUDA above all, is the newest.
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

# One folder for each environment; the stamp spares a second installation until pyproject.toml changes.
VENVS := .venv .venv-torch .venv-tensorflow .venv-test .venv-bench .venv-docs .venv-docs-torch .venv-docs-tensorflow
IS_SUPPORTED := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

.venv/.installed:            EXTRAS := jax
.venv-torch/.installed:      EXTRAS := torch
.venv-tensorflow/.installed: EXTRAS := tensorflow
.venv-test/.installed:       EXTRAS := jax,torch,tensorflow,dev
.venv-bench/.installed:      EXTRAS := jax,torch
.venv-docs/.installed:            EXTRAS := jax,docs
.venv-docs-torch/.installed:      EXTRAS := torch,docs
.venv-docs-tensorflow/.installed: EXTRAS := tensorflow,docs

.venv-bench/.installed:      PEERS := --requirement benchmarks/requirements.txt
.venv-bench/.installed:      benchmarks/requirements.txt

$(addsuffix /.installed,$(VENVS)): pyproject.toml
	@set -e; venv=$(@D); \
	if ! $$venv/bin/python -m pip --version >/dev/null 2>&1; then \
	  for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python) none; do \
	    if $$python -c '$(IS_SUPPORTED)' >/dev/null 2>&1; then break; fi; \
	  done; \
	  if [ $$python = none ]; then \
	    echo "flowkit needs Python 3.11, 3.12 or 3.13 with its venv module; $(if $(PYTHON),$(PYTHON) is not that,none was found)." >&2; \
	    echo "Install one (on Debian and Ubuntu also python3-venv), or name it: make PYTHON=/path/to/python3.12 ..." >&2; \
	    exit 1; \
	  fi; \
	  $$python -m venv --clear $$venv; \
	fi; \
	echo "installing flowkit[$(EXTRAS)] into $$venv (a few minutes the first time) ..."; \
	$$venv/bin/python -m pip install --quiet --editable '.[$(EXTRAS)]' $(PEERS); \
	touch $@
