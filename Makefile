# SPDX-License-Identifier: Apache-2.0
# Every target sets up what it needs, then runs; see `make help`.
#   PYTHON=python3.12   another interpreter (delete .venv* after changing it)
#   ARGS='-k adam -x'   further arguments for pytest (test, parity, sanitize) or bench

PYTHON ?= python3
ARGS ?=
TORCH_VERSION ?= torch==2.13.*
# The release made for this PyTorch; with another one, what needs FBGEMM is skipped.
FBGEMM := $(if $(filter torch==2.13.*,$(TORCH_VERSION)),fbgemm-gpu-cpu==1.8.*)
comma := ,
export PYTHON

VENV := .venv
PARITY := .venv-parity
PEERS := .venv-bench
TORCH := .venv-torch
RANKS := .venv-ranks
DOCS := .venv-docs
# The environment with all peers, if it has been made; else the one with TensorFlow.
BENCH := $(if $(wildcard $(PEERS)/bin/python),$(PEERS),$(PARITY))
# The tests that start processes as ranks, of MPI or of PyTorch, where these are.
OF_RANKS := $(addprefix tests/distributed/test_,checkpoints_processes.py communicators.py engines.py faults.py \
	prefetch.py starting.py)
PIP := -m pip --disable-pip-version-check --quiet
SOURCES := CMakeLists.txt pyproject.toml README.md LICENSE \
	$(shell find cmake csrc python ! -name '*.pyc' ! -name __pycache__)
WHEEL := build/wheel/.stamp
PY_CODE := python tests bench examples scripts
CXX_CODE = $(shell find csrc \( -name '*.h' -o -name '*.cc' \))
CMAKE_CODE := CMakeLists.txt cmake

.PHONY: help demo demo-torch demo-ranks test docs crash fuzz mutate lint tidy format parity torch ranks bench bench-peers sanitize sanitize-asan-ubsan sanitize-tsan wheels clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo      build, install into .venv, train on digits, words and clicks'
	@echo 'make demo-torch  the same with PyTorch, in its own environment: a DLRM, with torch and with slotwise, then on two processes'
	@echo 'make demo-ranks  the same with an MPI, installed into .venv: clicks on two processes, in a minute'
	@echo 'make test      build, install into .venv, run the tests'
	@echo 'make parity    compare with the real TensorFlow, live, in its own environment'
	@echo 'make torch     the tests of slotwise.torch, beside PyTorch, in its own environment'
	@echo 'make ranks     the tests of ranks that are processes of MPI, in their own environment'
	@echo 'make docs      the pages as a site that needs no network, in build/site'
	@echo 'make lint      ruff, mypy --strict, codespell, formats, the order of the rooms'
	@echo 'make tidy      clang-tidy on the parts that are not vector code'
	@echo 'make format    let ruff, clang-format and gersemi rewrite the sources'
	@echo 'make sanitize  the tests under ASan+UBSan, then under TSan'
	@echo 'make crash     kill a process that saves, a few hundred times'
	@echo 'make fuzz      forge a few thousand checkpoints, interrupt a few hundred saves and loads,'
	@echo '               call everything with odd arguments, 120,000 times'
	@echo 'make mutate    make small wrong changes, one at a time, each of which the tests must notice'
	@echo 'make bench     measure for five minutes, against the peers installed: TensorFlow, or all'
	@echo 'make bench-peers  install all peers, in .venv-bench'
	@echo 'make wheels    the source distribution and the wheels of a release into dist/, see RELEASING.md'
	@echo 'make clean     remove everything that make made'

demo: $(VENV)/.project $(VENV)/.tools-demo
	$(VENV)/bin/python examples/digits.py
	$(VENV)/bin/python examples/words.py
	$(VENV)/bin/python examples/clicks.py

# A worker per core (ARGS='-n 0': none). Each has threads for all cores: those that wait must not spin.
test: $(VENV)/.project $(VENV)/.tools-test
	OMP_WAIT_POLICY=passive $(VENV)/bin/python -m pytest -n auto --dist worksteal $(ARGS)

crash: $(VENV)/.project $(VENV)/.tools-test
	SLOTWISE_CRASH_KILLS=400 $(VENV)/bin/python -m pytest tests/state/test_crash.py \
		tests/distributed/test_checkpoints_faults.py $(ARGS)

# Another seed: SLOTWISE_FUZZ_SEED=1 make fuzz
fuzz: $(VENV)/.project $(VENV)/.tools-test
	SLOTWISE_FUZZ=3000 SLOTWISE_FUZZ_CALLS=120000 $(VENV)/bin/python -m pytest \
		tests/state/test_forged.py tests/state/test_interrupts.py tests/library/test_fuzz_calls.py $(ARGS)

# Small wrong changes, one at a time, each of which the tests must notice.
mutate: $(VENV)/.project $(VENV)/.tools-test
	$(VENV)/bin/python scripts/mutate.py $(ARGS)

parity: $(PARITY)/.project
	SLOTWISE_TESTS_NEED=tensorflow,tf_keras,keras,jax,optax $(PARITY)/bin/python -m pytest -n auto tests/parity $(ARGS)

# The tests that need PyTorch: of slotwise.torch, of bags beside torch's, of its pages.
torch: $(TORCH)/.project
	SLOTWISE_TESTS_NEED=torch$(if $(FBGEMM),$(comma)fbgemm_gpu) OMP_WAIT_POLICY=passive $(TORCH)/bin/python -m pytest -n auto --dist worksteal \
		tests/pytorch $(OF_RANKS) tests/bench/test_torch_suite.py tests/library/test_docs.py tests/library/test_arrays.py \
		$(addprefix tests/parity/test_,coming_from.py torch_bags.py torch_parity.py variable_parity.py state_parity.py) \
		$(ARGS)
	SLOTWISE_TESTS_NEED=torch,mpi4py $(TORCH)/bin/python -m pytest tests/bench/test_ranks_suite.py -k over_two_ranks

# Pages for each public name are made of the docstrings, with charts of the published figures.
docs: $(DOCS)/.project
	PYTHONPATH=. NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --strict
	$(DOCS)/bin/python scripts/check_site.py build/site

# The tests of ranks that are processes of MPI: one job at a time, as each has several.
ranks: $(RANKS)/.project
	SLOTWISE_TESTS_NEED=mpi4py OMP_WAIT_POLICY=passive $(RANKS)/bin/python -m pytest $(OF_RANKS) \
		tests/bench/test_ranks_suite.py $(ARGS)

demo-torch: $(TORCH)/.project
	$(TORCH)/bin/python examples/dlrm_torch.py
	@echo 'Two processes of PyTorch train the model again, each with half of its tables: a minute.'
	@echo 'The loss is that of one process: $(TORCH)/bin/python examples/dlrm_ranks.py'
	SLOTWISE_NUM_THREADS=1 OMP_NUM_THREADS=1 $(TORCH)/bin/torchrun --standalone --nproc-per-node 2 \
		examples/dlrm_ranks.py

demo-ranks: $(VENV)/.project $(VENV)/.tools-demo $(VENV)/.tools-mpi
	@echo 'Two processes of MPI train the model of examples/clicks.py, each with half of its tables: a minute.'
	@echo 'Loss and digest are those of one process: $(VENV)/bin/python examples/clicks_ranks.py'
	SLOTWISE_NUM_THREADS=1 $(VENV)/bin/mpiexec -n 2 $(VENV)/bin/python examples/clicks_ranks.py

bench: $(BENCH)/.project
	$(BENCH)/bin/python -m bench $(ARGS)

bench-peers: $(PARITY)/.project
	$(PARITY)/bin/python -m bench --install-peers --environment $(PEERS)

lint: $(VENV)/.tools-lint
	PRE_COMMIT_HOME=build/pre-commit $(VENV)/bin/pre-commit run --all-files

# GCC's headers come last: clang-tidy brings its own, except for OpenMP's.
tidy: $(VENV)/.tools-tidy
	$(VENV)/bin/cmake -S . -B build/tidy -G 'Unix Makefiles' -DCMAKE_BUILD_TYPE=Debug \
		-DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DCMAKE_UNITY_BUILD=OFF \
		-DPython_EXECUTABLE=$(abspath $(VENV))/bin/python \
		-Dpybind11_DIR="$$($(VENV)/bin/python -m pybind11 --cmakedir)"
	$(VENV)/bin/python $(VENV)/bin/run-clang-tidy.py -quiet -p build/tidy \
		-clang-tidy-binary $(VENV)/bin/clang-tidy \
		-extra-arg=-idirafter"$$($${CXX:-g++} -print-file-name=include)" \
		'csrc/(core|bindings)/.*[.]cc$$'

format: $(VENV)/.tools-lint
	$(VENV)/bin/ruff check --fix $(PY_CODE)
	$(VENV)/bin/ruff format $(PY_CODE)
	$(VENV)/bin/clang-format -i $(CXX_CODE)
	$(VENV)/bin/gersemi -i $(CMAKE_CODE)

sanitize: sanitize-asan-ubsan
	$(MAKE) sanitize-tsan

sanitize-asan-ubsan sanitize-tsan: sanitize-%: $(VENV)/.created
	scripts/sanitize.sh $* $(ARGS)

# Then: scripts/wheels/test.sh x86_64 && scripts/wheels/test.sh aarch64
wheels:
	scripts/wheels.sh

clean:
	rm -rf build dist .venv .venv-* examples/out
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- Environments ---------------------------------------------------------------------------------

$(VENV)/.created: scripts/setup.sh
	scripts/setup.sh
	$(PYTHON) -m venv $(VENV)
	@touch $@

# One wheel, built in build/ so that a rebuild compiles only what changed, serves all environments.
$(WHEEL): $(SOURCES) $(VENV)/.created
	scripts/wheel.sh $(VENV)/bin/python
	@touch $@

$(VENV)/.project: $(WHEEL)
	$(VENV)/bin/python $(PIP) install --force-reinstall --no-deps build/wheel/*.whl
	@touch $@

# The tests run the benchmark too, and types are checked beside what has them.
$(VENV)/.tools-test: EXTRAS := bench
$(VENV)/.tools-lint: EXTRAS := test bench demo
$(VENV)/.tools-tidy: EXTRAS := build
$(VENV)/.tools-%: pyproject.toml $(VENV)/.created
	$(VENV)/bin/python scripts/requirements.py $* $(EXTRAS) >$@.txt
	$(VENV)/bin/python $(PIP) install -r $@.txt
	@touch $@

$(PARITY)/.tools: pyproject.toml $(VENV)/.created
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python scripts/requirements.py test bench >$@.txt
	$(PARITY)/bin/python $(PIP) install -r $@.txt 'tensorflow-cpu==2.21.*' 'tf_keras==2.21.*' jax optax
	@touch $@

$(PARITY)/.project: $(WHEEL) $(PARITY)/.tools
	$(PARITY)/bin/python $(PIP) install --force-reinstall --no-deps build/wheel/*.whl
	@touch $@

$(TORCH)/.tools: pyproject.toml $(VENV)/.created
	$(PYTHON) -m venv $(TORCH)
	$(TORCH)/bin/python scripts/requirements.py test demo bench mpi >$@.txt
	$(TORCH)/bin/python $(PIP) install -r $@.txt '$(TORCH_VERSION)'
	$(if $(FBGEMM),$(TORCH)/bin/python $(PIP) install --no-deps '$(FBGEMM)')
	@touch $@

$(TORCH)/.project: $(WHEEL) $(TORCH)/.tools
	$(TORCH)/bin/python $(PIP) install --force-reinstall --no-deps build/wheel/*.whl
	@touch $@

$(RANKS)/.tools: pyproject.toml $(VENV)/.created
	$(PYTHON) -m venv $(RANKS)
	$(RANKS)/bin/python scripts/requirements.py test bench mpi >$@.txt
	$(RANKS)/bin/python $(PIP) install -r $@.txt
	@touch $@

$(RANKS)/.project: $(WHEEL) $(RANKS)/.tools
	$(RANKS)/bin/python $(PIP) install --force-reinstall --no-deps build/wheel/*.whl
	@touch $@

$(DOCS)/.tools: pyproject.toml $(VENV)/.created
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python scripts/requirements.py docs >$@.txt
	$(DOCS)/bin/python $(PIP) install -r $@.txt
	@touch $@

$(DOCS)/.project: $(WHEEL) $(DOCS)/.tools
	$(DOCS)/bin/python $(PIP) install --force-reinstall --no-deps build/wheel/*.whl
	@touch $@

$(PEERS)/.project: $(WHEEL)
	$(PEERS)/bin/python $(PIP) install --force-reinstall --no-deps build/wheel/*.whl
	@touch $@
