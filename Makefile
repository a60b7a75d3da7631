# make demo    the main job on a real video: Label Studio and the backend side by side (KEEP=0: end at once)
# make test    linters, types, unit tests, end-to-end tests against a real Label Studio
# make fuzz    thousands of odd requests to a real server
# make serve   the backend alone on http://localhost:9090
# make clean   remove everything that make made
#
# Each does its own set-up, once: a stamp file in each virtual environment says that it is complete, and is renewed
# when what it was made from changes.

export PYTHON ?= python3
export TORCH ?= 2.14.1
export TORCHVISION ?= 0.29.1
export LABEL_STUDIO ?= 1.23.2
export LABEL_STUDIO_ML ?= 1.0.9
KEEP ?= 1
# Test processes side by side, each of one thread: many tests wait for a server or a process, and the others compute.
WORKERS ?= 2
ARGS ?=

BACKEND := .venv/.complete
LABEL_STUDIO_READY := .venv-labelstudio/.complete
LABEL_STUDIO_ML_READY := .venv-labelstudio-ml/.complete

.DELETE_ON_ERROR:
.PHONY: help demo test lint unit e2e bench-quality bench-speed bench-peers bench-memory bench-loop bench-long bench-adapt bench-store bench-export bench-scale bench-scale-sim bench-e2e train-smoke fuzz serve release clean .venv-labelstudio

help:
	@sed -n '1,5s/^# //p' Makefile

demo: $(BACKEND) $(LABEL_STUDIO_READY)
	@.venv/bin/python -m demo.run --keep $(KEEP) $(ARGS)

test: lint unit e2e

lint: $(BACKEND)
	.venv/bin/ruff check --no-cache .
	.venv/bin/ruff format --no-cache --check .
	.venv/bin/mypy
	.venv/bin/mypy --strict -p demo -p training -p benchmarks -p scripts

# Compiled modules are kept whatever the environment says: tests start dozens of processes.
unit: $(BACKEND)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 .venv/bin/python -m pytest -m "not e2e" -n $(WORKERS) --dist worksteal --durations=10 \
		--cov --cov-report=term:skip-covered --cov-fail-under=85 $(ARGS)

e2e: $(BACKEND) $(LABEL_STUDIO_READY) $(LABEL_STUDIO_ML_READY)
	@scripts/setup.sh browser
	.venv/bin/python -m pytest -m e2e -v --durations=10 $(ARGS)

bench-quality: $(BACKEND)
	.venv/bin/python -m benchmarks.quality ../shared/clips $(ARGS)

bench-speed: $(BACKEND)
	.venv/bin/python -m benchmarks.speed --objects 1 $(ARGS)
	.venv/bin/python -m benchmarks.speed --objects 3 $(ARGS)
	.venv/bin/python -m benchmarks.speed --profile compact $(ARGS)

# Our trackers beside Cutie and SAM 2.1 where these are installed (docs/performance.md).
bench-peers: $(BACKEND)
	TQDM_DISABLE=1 .venv/bin/python -m benchmarks.peers $(ARGS)
	.venv/bin/python -m benchmarks.sam2_speed --side 512 --frames 4

bench-memory: $(BACKEND)
	.venv/bin/python -m benchmarks.memory $(ARGS)

# What a correction brings, what refinement brings, and how well quality foretells the IoU.
bench-loop: $(BACKEND)
	.venv/bin/python -m benchmarks.loop ../shared/clips ../shared/data/videos --size 240 --clicks 6 --seeds 2 $(ARGS)
	.venv/bin/python -m benchmarks.quality ../shared/clips --starts mask --refine off on --no-baselines --no-clicks
	.venv/bin/python -m benchmarks.calibration ../shared/clips --variants clean "every 6th" "shifted midway" blur

bench-long: $(BACKEND)
	.venv/bin/python -m benchmarks.long_video ../shared/clips/chair --side 288 $(ARGS)

# What learning from a project brings on a clip that was not learnt from, and what comes of wrong labels. It takes half
# an hour of one core; both go on where their files end.
bench-adapt: $(BACKEND)
	mkdir -p runs
	.venv/bin/python -m benchmarks.adaptation runs/adaptation.json --iterations 60 chair=../shared/clips/chair:5 \
		tennis=../shared/data/videos/davis_tennis:5 penguins=../shared/data/videos/ytvos_003234408d:3 \
		schoolgirls=../shared/data/videos/davis_schoolgirls:5 bmx=../shared/data/videos/segtrack2_bmx:5 $(ARGS)
	.venv/bin/python -m benchmarks.bad_labels runs/bad_labels.json ../shared/clips/chair:5 --iterations 30

bench-store: $(BACKEND)
	.venv/bin/python -m benchmarks.store ../shared/clips $(ARGS)

bench-export: $(BACKEND)
	.venv/bin/python -m benchmarks.export $(ARGS)

# How much more two workers on this machine do than one.
bench-scale: $(BACKEND)
	.venv/bin/python -m benchmarks.scale --in-process --processes 1 2 $(ARGS)

# What people wait for, from a cold start to a dataset, through a real Label Studio.
bench-e2e: $(BACKEND) $(LABEL_STUDIO_READY)
	.venv/bin/python -m benchmarks.whole_product $(ARGS)

# How long clicks and jobs wait on 1 to 100 workers: a simulation, see docs/scale.md.
bench-scale-sim: $(BACKEND)
	.venv/bin/python -m benchmarks.scale_simulation $(ARGS)

# Both training commands for seconds, on made-up pictures (training/NOTES.md tells of real runs).
train-smoke: $(BACKEND)
	.venv/bin/python -m training.smoke $(ARGS)

fuzz: $(BACKEND)
	PYTHONPATH=.:tests:tests/service .venv/bin/python tests/server/fuzz_payloads.py $(ARGS)

serve: $(BACKEND)
	.venv/bin/tam-backend serve $(ARGS)

release: $(BACKEND)
	.venv/bin/python -m scripts.release $(VERSION) $(ARGS)

clean:
	rm -rf .venv .venv-labelstudio .venv-labelstudio-ml .demo .cache build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv-labelstudio: $(LABEL_STUDIO_READY)

$(BACKEND): pyproject.toml scripts/setup.sh
	@echo "Setting up the backend, once:"
	@scripts/setup.sh backend
	@touch $@

$(LABEL_STUDIO_READY): scripts/setup.sh
	@echo "Setting up Label Studio, once:"
	@scripts/setup.sh label-studio
	@touch $@

$(LABEL_STUDIO_ML_READY): $(BACKEND) scripts/setup.sh
	@echo "Setting up label-studio-ml for its tests, once:"
	@scripts/setup.sh label-studio-ml
	@touch $@
