# Everything runs in a virtual environment of its own with the pinned set of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= ../shared/data
WEIGHTS ?= ../shared/weights/edgenext_xx_small_tinyimagenet.safetensors

# How many inputs `make fuzz` reads, and how many commands `make kills` kills.
fuzz: N ?= 20000
kills: N ?= 200

# What needs no converter, no emulated device and no minutes.
QUICK = tests/benchmark tests/data tests/export tests/graph tests/metrics tests/models tests/report tests/system

.PHONY: demo test quick lint format bench fuzz kills clean

demo: $(VENV)/installed ## retrain, export, quantize, benchmark and report on embedded data
	$(BIN)/edgenext run demo.toml

test: lint ## everything CI checks
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: lint ## the short check, while working
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow' $(QUICK)

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

fuzz: $(VENV)/testing ## mutated inputs for every reader, as many as N: see tests/fuzz
	PYTHONPATH=tests $(BIN)/python -m fuzz.campaign --n $(N) --write results/trust.json

kills: $(VENV)/testing ## commands killed at random times and run again, N of them
	PYTHONPATH=tests $(BIN)/python -m fuzz.kills --n $(N) --write results/trust.json

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/testing: $(VENV)/installed ## every converter and runtime, and the vendors' compilers
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,vendors,coreml,devices,executorch,tflite]'
	$(BIN)/python -m pip install --quiet --no-deps tflite-support==0.4.4 # its metadata schema, to read ours with
	$(BIN)/edgenext env tflite
	$(BIN)/edgenext env tensorflow
	PYTHONPATH=tests $(BIN)/python -m peers.install || test $$? = 77 # emulated devices, with root on Debian
	touch $@

clean:
	rm -rf $(VENV) demo runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
