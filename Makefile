# Everything runs in a virtual environment of its own, installed from files whose sha256 is in locks/.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement
DATA ?= ../shared/data
WEIGHTS ?= ../shared/weights/edgenext_xx_small_tinyimagenet.safetensors

# How many inputs `make fuzz` reads, and how many commands `make kills` kills.
fuzz: N ?= 20000
kills: N ?= 200

# What needs no converter, no emulated device and no minutes.
QUICK = tests/benchmark tests/data tests/export tests/graph tests/metrics tests/models tests/report tests/results tests/system

.PHONY: demo test quick campaign fuzz kills lint format bench bench-peers docs sbom locks oracles clean

demo: $(VENV)/installed ## retrain, export, quantize, benchmark and report on embedded data
	$(BIN)/edgenext demo

test: lint ## everything CI checks
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: lint ## the short check, while working
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow and not campaign' $(QUICK)

campaign: $(VENV)/testing ## what takes minutes a test: all architectures in all formats, every bench on emulated devices
	$(BIN)/edgenext env rknn || echo 'tests of RKNN are skipped' # Rockchip's toolkit, for Linux on x86-64
	$(BIN)/python -m pytest -n 2 --dist loadfile -m campaign

lint: $(VENV)/testing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/testing
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/testing ## the published figures, again, on this machine: see results/
	$(BIN)/python results/measure.py --data $(DATA) --weights $(WEIGHTS)

bench-peers: $(VENV)/testing ## other tools beside this package, each in an environment of its own: see results/peers
	$(BIN)/python results/peers/rivals.py --work $(VENV)/rivals --data $(DATA) --weights $(WEIGHTS)

fuzz: $(VENV)/testing ## mutated inputs for every reader, as many as N: see tests/fuzz
	PYTHONPATH=tests $(BIN)/python -m fuzz.campaign --n $(N) --write results/trust.json

kills: $(VENV)/testing ## commands killed at random times and run again, N of them
	PYTHONPATH=tests $(BIN)/python -m fuzz.kills --n $(N) --write results/trust.json

docs: $(VENV)/testing ## the documentation site, into site/, and the JSON Schemas of TOML files
	PYTHONPATH=. $(BIN)/python docs/hooks/run_schema.py
	PYTHONPATH=. $(BIN)/python docs/hooks/sweep_schema.py
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/python -m mkdocs build --strict --quiet --site-dir site
	@echo site/index.html

sbom: $(VENV)/installed $(VENV)/tools ## the wheel, and a CycloneDX bill of what it is locked to
	rm -f dist/edgenext-*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(VENV)/tools/bin/python locks/sbom.py dist/edgenext-*.whl

locks: $(VENV)/tools ## the locks, after a change of pyproject.toml or constraints.txt
	$(VENV)/tools/bin/python locks/update.py

oracles: $(VENV)/oracles ## tract, IREE and TVM, in which `make campaign` then runs ONNX files

$(VENV)/oracles: locks/oracles.lock $(VENV)/installed
	$(BIN)/python -m venv $(VENV)/oracles
	$(VENV)/oracles/bin/python -m pip install --quiet --no-deps --require-hashes --requirement locks/oracles.lock
	touch $@

$(VENV)/tools: locks/tools.lock $(VENV)/installed
	$(BIN)/python -m venv $(VENV)/tools
	$(VENV)/tools/bin/python -m pip install --quiet --no-deps --require-hashes --requirement locks/tools.lock
	touch $@

$(VENV)/installed: pyproject.toml locks/run.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) locks/run.lock
	if $(BIN)/python -c 'from importlib.metadata import version; import sys; sys.exit(sys.platform != "linux" or "+" in version("torch"))'; \
	  then $(INSTALL) locks/cuda.lock; fi # what torch's build for CUDA cannot be imported without
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/testing: $(VENV)/installed locks/test.lock locks/metadata.lock ## every converter and runtime, and the vendors' compilers
	$(INSTALL) locks/test.lock
	$(INSTALL) locks/metadata.lock # its schema, to read our TFLite metadata with
	$(BIN)/edgenext env tflite
	$(BIN)/edgenext env tensorflow
	$(BIN)/edgenext env web || test $$? = 8 # with npm
	$(BIN)/edgenext env node || test $$? = 8
	PYTHONPATH=tests $(BIN)/python -m peers.install || test $$? = 77 # emulated devices, with root on Debian
	touch $@

clean:
	rm -rf $(VENV) demo runs site .pytest_cache .mypy_cache .ruff_cache .hypothesis
