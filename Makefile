# make book    run every chapter and build the book      make test   prove that all of it works
# make serve   look at the built book on localhost       make env    the environment alone
# make book-student, make book-teacher   the pages without solutions; with open ones and slides
# make slides, make pdf, make bundle     slides of every chapter, the book on paper, the notebooks to take along
PYTHON ?= python3
PORT ?= 8000
NOTEBOOKS ?=
# Chapters at a time. Each computes on two cores: on two, two at a time are no faster. One alone is measured.
JOBS ?= 1
# Pages: self-study (solutions folded), student (none) or teacher (open).
EDITION ?= self-study
export TCCAM_EDITION := $(EDITION)
OUTPUT := $(if $(filter self-study,$(EDITION)),.,_build/$(EDITION))
SITE := $(OUTPUT)/_build/html

# Nothing is written outside this folder but the caches of the package installers.
CACHE := $(CURDIR)/.cache
export JUPYTER_CONFIG_DIR := $(CACHE)/jupyter/config
export JUPYTER_DATA_DIR := $(CACHE)/jupyter/data
export JUPYTER_RUNTIME_DIR := $(CACHE)/jupyter/runtime
export IPYTHONDIR := $(CACHE)/ipython
export MPLCONFIGDIR := $(CACHE)/matplotlib
export TCCAM_RUNS ?= $(CACHE)/runs
export TCCAM_FLOWS ?= $(CACHE)/flows
export PYTHON
# Where this is set, every kernel would compile PyTorch from its sources: six seconds each.
unexport PYTHONDONTWRITEBYTECODE
# glibc would give the memory of every training step back and fetch it again for the next: a fifth of
# the time at fine maps.
export MALLOC_TRIM_THRESHOLD_ := 4000000000
export MALLOC_MMAP_THRESHOLD_ := 4000000000

BIN := .venv/bin
SPHINX := $(BIN)/jupyter-book build . --path-output $(OUTPUT) --warningiserror --nitpick --keep-going

.NOTPARALLEL:
.PHONY: book test serve env lock notebooks html lint unit nbval browser colab bench clean
.PHONY: book-student book-teacher slides pdf bundle
book: notebooks html
	@echo "The book is ready: $(SITE)/index.html   (make serve opens it on localhost)"

book-student:
	$(MAKE) html EDITION=student
	$(BIN)/python tools/editions.py
	@echo "Without solutions: _build/student/_build/html   (make serve EDITION=student)"

book-teacher:
	$(MAKE) html slides EDITION=teacher
	@echo "For teachers: _build/teacher/_build/html   (make serve EDITION=teacher)"

slides: env
	$(BIN)/python tools/vendor.py
	$(BIN)/python tools/slides.py $(NOTEBOOKS)

pdf: env
	$(BIN)/python tools/pdf.py

bundle: env
	$(BIN)/python tools/bundle.py

test: lint unit nbval html browser

env:
	@sh tools/env.sh

notebooks: env
	$(if $(filter-out 1,$(JOBS)),OMP_WAIT_POLICY=passive) $(BIN)/python tools/regenerate.py --jobs $(JOBS) $(NOTEBOOKS)

html: env
	$(BIN)/python tools/vendor.py
	$(SPHINX)

serve: env
	@test -f $(SITE)/index.html || { echo "There is no book yet: run make book first."; exit 1; }
	@echo "http://localhost:$(PORT)   (Ctrl-C stops)"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory $(SITE) $(PORT)

lint: env
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_notebooks.py
	$(BIN)/python tools/claims.py

# Two workers with one thread each: with two each they would wait for one another.
unit: env
	OMP_NUM_THREADS=1 $(BIN)/pytest --doctest-modules tccam tests/unit -n 2 --dist worksteal

nbval: env
	$(BIN)/pytest --nbval-lax --nbval-current-env notebooks
	$(BIN)/pytest tests/notebooks

browser: env
	$(BIN)/pytest tests/book -n 2 --dist loadscope

# Not part of `make test`: it makes two environments, and downloads some gigabytes the first time.
colab: env
	$(BIN)/pytest tests/environments

bench: env
	$(BIN)/python -m benchmarks

# Resolve the newest versions that pyproject.toml admits, for every platform and Python at once.
lock: env
	PATH="$$PATH:.cache/uv/bin" uv pip compile --universal --python-version 3.11 --all-extras --upgrade --quiet \
		--no-header --no-annotate --no-emit-index-url --output-file requirements.lock pyproject.toml

clean:
	rm -rf _build .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
