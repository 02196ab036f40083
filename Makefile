# One command from a fresh machine: Python 3.10-3.12, pip, make and a C compiler are all it needs.
#
#   make demo        songs, training, evaluation, WAVs: what README.md promises, with README.md's own commands
#   make reproduce-liveband   LiveBand's claims at pocket size, three seeds each: hours, and it can be stopped at any time
#   make test        lint, types and the quick tests
#   make test-slow   the proofs that take minutes
#   make test-live   an hour of music through the real-time engine, minutes over OSC and in a browser, and a real sound card
#   make test-slurm  jobs on a Slurm cluster of its own (Debian, as root), stopped at SIGNALS=50 random moments
#   make test-slurm-short   those of its cases that fit into a quarter of an hour
#   make test-gpu    the recipes on CUDA, where there is a GPU: step times, memory, waits
#   make test-resume   every recipe killed with kill -9 and continued: equal to a run without a break
#   make test-export   exported models in the runtimes that play them
#   make test-portable   the tests of numbers as on another processor (PROCESSOR='ATEN_CPU_CAPABILITY=avx2' chooses it)
#   make web         the page that plays without a server, build/web (MODEL=C exports another model)
#   make docs        the documentation as a site, build/site/index.html (Python 3.11 or 3.12)
#   make lint | types | env | clean | distclean

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell for python in python3.11 python3.12 python3.10 python3; do \
	if $$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; \
	then command -v $$python; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCUMENTED := $(VENV)/.documented
MOTO := build/moto/bin/moto_server
OPENVINO := build/openvino
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# Where there is no network, it gives up soon.
APT := DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -o Acquire::Retries=0 -o Acquire::http::Timeout=20
CONFIG := configs/quickstart.yaml
RUN := runs/quickstart
MODEL := liveband-pocket

# torch's kernels, oneDNN's and MKL's for the oldest processor that each of them knows, and two threads; the passive
# ones leave the cores to the other tests.
PROCESSOR := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE \
	OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive
NUMERICS := tests/metrics tests/callbacks tests/lightning_modules tests/datamodules/test_latent_bank.py \
	$(addprefix tests/livejam/,codecs export networks objectives reference sampling sketch streaming systems test_noise.py)

.PHONY: help env demo reproduce-liveband test test-slow test-gpu test-slurm test-slurm-short slurm test-resume test-live test-export test-portable web docs lint types clean distclean

help:
	@sed -n 's/^#  *\(make .*\)/\1/p' Makefile

env: $(INSTALLED)

# The stamp is younger than what it was made from, so a second `make` goes straight to work.
# madmom's setup.py imports Cython, numpy and pkg_resources: they come first, and its build is not isolated.
$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "livejam needs Python 3.10, 3.11 or 3.12: install one, or name it with 'make PYTHON=/path/to/python3.11'" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || { echo "$(PYTHON) is not Python 3.10, 3.11 or 3.12: name one with 'make PYTHON=/path/to/python3.11'" >&2; exit 2; }
	@command -v "$${CC:-gcc}" >/dev/null || { echo "no C compiler: madmom is built from source, install gcc" >&2; exit 2; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt cython numpy 'setuptools<81' wheel
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation madmom
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable '.[metrics,live,serve,export,codecs,sweep,store,songs,dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/lightning fit --config $(CONFIG) --overwrite
	$(BIN)/lightning test --config $(CONFIG) --config configs/overlays/untrained.yaml
	$(BIN)/lightning test --config $(CONFIG) --ckpt_path $(RUN)/checkpoints/last.ckpt
	@echo
	@echo "The table above is $(RUN)/results.json. Listen to $(RUN)/audio/*.wav, and look at the curves with:"
	@echo "    $(BIN)/tensorboard --logdir $(RUN)"
	@echo "Let the model play to a song of yours, and listen to what is then in the folder played:"
	@echo "    $(BIN)/livejam play --checkpoint $(RUN)/checkpoints/last.ckpt --mix song.wav --instrument drums --out played"

# Two trainings of one thread each; what is finished is not done again.
reproduce-liveband: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.reproduce_liveband --jobs 2

# Tests take one thread each, so there is one process per core; each needs about 2 GB.
test: lint types
	$(BIN)/python -m pytest -n auto --maxprocesses 4

# What rounds: a result that hangs on the width of a vector or the number of threads shows here.
test-portable: $(INSTALLED)
	$(PROCESSOR) $(BIN)/python -m pytest -n auto --maxprocesses 4 $(NUMERICS)

# A server that speaks S3. It has an environment of its own, as boto3 wants an older python-dateutil than we have.
$(MOTO): $(INSTALLED)
	"$(PYTHON)" -m venv build/moto
	build/moto/bin/pip install --quiet 'moto[s3]==5.2.5' flask flask-cors
	touch $@

test-slow: $(INSTALLED) $(MOTO)
	$(BIN)/python -m pytest -m 'slow and not slurm' --timeout 3600

test-slurm: $(INSTALLED) slurm
	$(BIN)/python -m pytest -n 0 -m slurm -rs

# Where no Slurm can be installed or started, the tests say that they are skipped, and why.
test-slurm-short: $(INSTALLED)
	-@$(MAKE) --no-print-directory slurm
	SLURM_OPTIONAL=1 $(BIN)/python -m pytest -n 0 -m 'slurm and not slow' -rs

slurm:
	@PATH="/usr/sbin:$$PATH"; { command -v slurmctld && command -v munged; } >/dev/null || \
		{ $(APT) update -qq && $(APT) install -qq -y --no-install-recommends slurm-wlm munge >/dev/null; } || \
		{ echo "no Slurm here, and apt-get cannot install it: install slurm-wlm and munge" >&2; exit 2; }

# Other programs are tried where they are; as root on Debian, those that are missing are installed.
test-live: $(INSTALLED)
	@{ command -v pd && command -v oscsend && command -v chromium; } >/dev/null || { $(APT) update -qq && \
		$(APT) install -qq -y --no-install-recommends \
		puredata-core liblo-tools chromium openssl >/dev/null; } || \
		echo "no Pure Data, liblo or Chromium here, and apt-get cannot install them: their tests are skipped" >&2
	$(BIN)/python -m pytest -m live --timeout 3600

# Where there is no GPU, every test says that it is skipped, and why.
test-gpu: $(INSTALLED)
	$(BIN)/python -m pytest -m gpu --timeout 3600 -rs -s

test-resume: $(INSTALLED) $(MOTO)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m resume --timeout 900 tests/test_resume.py

# Whatever a player needs and this machine lacks is installed where that is possible, or its tests say that they are skipped.
# OpenVINO lies in a folder of its own: nothing but the C++ player takes it.
test-export: $(INSTALLED)
	@{ command -v cmake && command -v pd && command -v lv2proc && test -e /usr/include/nlohmann/json.hpp; } >/dev/null || \
		{ $(APT) update -qq && $(APT) install -qq -y --no-install-recommends cmake g++ nlohmann-json3-dev \
		libsndfile1-dev puredata-core puredata-dev lv2-dev lv2proc sordi >/dev/null; } || \
		echo "not all of CMake, nlohmann/json, libsndfile, Pure Data and LV2 are here, and apt-get cannot install them" >&2
	@test -d $(OPENVINO)/openvino/cmake || $(PIP) install --quiet --no-deps --target $(OPENVINO) openvino==2026.4.1 || \
		echo "no OpenVINO here, and pip cannot install it: its test is skipped" >&2
	OpenVINO_DIR="$${OpenVINO_DIR:-$(CURDIR)/$(OPENVINO)/openvino/cmake}" \
		$(BIN)/python -m pytest -n 0 -m export --timeout 1800 -rs

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

# Static files, for any host. npm fetches ONNX Runtime's package.
web: $(INSTALLED)
	rm -rf build/web
	$(BIN)/livejam export --checkpoint $(MODEL) --out build/web_model --overwrite
	$(BIN)/python hosts/web/assemble.py --model build/web_model --out build/web

# What builds the site is installed when a site is first built: `make env` does without it.
$(DOCUMENTED): $(INSTALLED)
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable '.[docs]'
	touch $@

docs: $(DOCUMENTED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "The site is build/site/index.html."

# What was learnt, rendered and measured stays; `distclean` takes that and the environment too.
clean:
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) data runs lightning_logs
