#!/usr/bin/env bash
# Makes the virtual environments that the Makefile asks for, and says what it is doing.
#
#   scripts/setup.sh backend|label-studio|label-studio-ml|browser|postgres
#
# Output of pip goes to .cache/setup-*.log; its end is shown when something fails.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
TORCH=${TORCH:-2.14.1}
TORCHVISION=${TORCHVISION:-0.29.1}
LABEL_STUDIO=${LABEL_STUDIO:-1.23.2}
LABEL_STUDIO_ML=${LABEL_STUDIO_ML:-1.0.9}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

die() {
    printf '\n%s\n' "$*" >&2
    exit 1
}

need_python() {
    command -v "$PYTHON" >/dev/null || die "There is no $PYTHON. Install Python 3.10 or newer, or name one: make PYTHON=/path/to/python3"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        die "$("$PYTHON" --version 2>&1) ($PYTHON) is too old: Python 3.10 or newer is needed. Name one: make PYTHON=python3.11"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$PYTHON cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv"
}

need_disk() { # GIGABYTES WHAT
    local free_kb
    free_kb=$(df -Pk . | awk 'NR == 2 {print $4}')
    [ "$free_kb" -ge $(($1 * 1000000)) ] ||
        die "$2 needs $1 GB on the disk of $PWD; $((free_kb / 1000000)) GB are free. Make room, then run the same command again."
}

# A venv that an interrupted run left half made has no working pip.
need_venv() { # DIRECTORY
    "$1/bin/python" -m pip --version >/dev/null 2>&1 && return
    rm -rf "$1"
    "$PYTHON" -m venv "$1"
}

run() { # LOG TITLE COMMAND...
    local log=$1 title=$2 started=$SECONDS pid
    shift 2
    mkdir -p .cache
    printf '  … %s\n' "$title"
    printf '$ %s\n' "$*" >>"$log"
    "$@" >>"$log" 2>&1 </dev/null &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        [ $(((SECONDS - started) % 20)) -ne 19 ] || printf '    still at it: %d s\n' $((SECONDS - started))
    done
    if ! wait "$pid"; then
        printf '\n%s failed. The end of %s:\n' "$title" "$log" >&2
        tail -n 25 "$log" >&2
        exit 1
    fi
    printf '  ✓ done [%d s]\n' $((SECONDS - started))
}

backend() {
    local log=.cache/setup-backend.log
    need_python
    [ -e .venv/bin/tam-backend ] || need_disk 9 "The backend's environment (.venv; PyTorch is most of it)"
    need_venv .venv
    run "$log" "Installing PyTorch $TORCH into .venv (2 to 6 minutes the first time)" \
        .venv/bin/python -m pip install "torch==$TORCH" "torchvision==$TORCHVISION"
    run "$log" "Installing the backend and its developers' tools into .venv (1 to 3 minutes)" \
        .venv/bin/python -m pip install -e ".[dev]"
    # SAM 2.1 comes as source. Built on its own it would download PyTorch once more; its extension in CUDA is not needed.
    run "$log" "Installing what builds packages into .venv (a few seconds)" \
        .venv/bin/python -m pip install "setuptools>=77" wheel
    SAM2_BUILD_CUDA=0 run "$log" "Installing SAM 2.1 and Cutie into .venv, whose networks are tried (a minute)" \
        .venv/bin/python -m pip install --no-build-isolation -e ".[sam2,cutie]"
}

label_studio() {
    need_python
    [ -e .venv-labelstudio/bin/label-studio ] || need_disk 2 "Label Studio's environment (.venv-labelstudio)"
    need_venv .venv-labelstudio
    run .cache/setup-label-studio.log "Installing Label Studio $LABEL_STUDIO into .venv-labelstudio (1 to 4 minutes)" \
        .venv-labelstudio/bin/python -m pip install "label-studio==$LABEL_STUDIO"
}

# label-studio-ml pins releases of 2021, so it comes without its pins, on top of the backend's environment.
label_studio_ml() {
    local log=.cache/setup-label-studio-ml.log sites='import sysconfig; print(sysconfig.get_path("purelib"))' extra
    need_venv .venv-labelstudio-ml
    # addsitedir, unlike a bare path in a .pth file, also reads the .pth file of the editable install there.
    printf 'import site; site.addsitedir("%s")\n' "$(.venv/bin/python -c "$sites")" \
        >"$(.venv-labelstudio-ml/bin/python -c "$sites")/tam_backend_environment.pth"
    extra=$(.venv/bin/python -c '
from importlib.metadata import requires
print(*(line.split(";")[0].strip() for line in requires("tam-backend") if "label-studio-ml" in line.split(";")[-1]))')
    run "$log" "Installing label-studio-ml $LABEL_STUDIO_ML into .venv-labelstudio-ml (a few seconds)" \
        .venv-labelstudio-ml/bin/python -m pip install --no-deps "label-studio-ml==$LABEL_STUDIO_ML"
    # shellcheck disable=SC2086 # one word per requirement
    run "$log" "Installing what label-studio-ml forgets to declare (a few seconds)" \
        .venv-labelstudio-ml/bin/python -m pip install $extra
}

browser() {
    if command -v chromedriver >/dev/null && { command -v chromium || command -v google-chrome; } >/dev/null; then
        return
    fi
    die "The browser test needs Chromium and its driver. On Debian and Ubuntu: apt-get install chromium chromium-driver"
}

# Debian keeps its programs off the path.
postgres() {
    command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
        die "Tests on PostgreSQL need its server, and are skipped without. On Debian and Ubuntu: apt-get install postgresql"
}

case ${1:-} in
backend) backend ;;
label-studio) label_studio ;;
label-studio-ml) label_studio_ml ;;
browser) browser ;;
postgres) postgres ;;
*) die "usage: scripts/setup.sh backend|label-studio|label-studio-ml|browser|postgres" ;;
esac
