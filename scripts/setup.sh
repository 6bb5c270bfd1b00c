#!/bin/sh
# Installs one stage of the project into .venv; make calls it when the stage's stamp is missing or out of date.
#
#   sh scripts/setup.sh demo    the package and what the demo needs     stamp .venv/.ready
#   sh scripts/setup.sh dev     the tools of `make test`, `make check`  stamp .venv/.ready-dev
#   sh scripts/setup.sh docs    the tools of `make docs`                stamp .venv/.ready-docs
#
# uv installs: the one on the PATH, else one that pip puts into .venv; plain pip where that fails. PYTHON=... names the
# interpreter of a new .venv, TORCH=cpu takes PyTorch without CUDA. A run ends with a complete stage and its stamp, or
# with one line that gives the reason and no stamp; what an interrupted run left behind is rebuilt.
set -eu
cd "$(dirname "$0")/.."
stage=${1:?the stage: demo, dev or docs}

# Settings of the caller's shell that would send packages elsewhere. Bytecode is written at the first import: compiling
# all of 12,600 files, most of them never imported, took 40 of 90 seconds.
unset PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH UV_SYSTEM_PYTHON PIP_USER PIP_TARGET PIP_PREFIX
export UV_PYTHON_DOWNLOADS=never PIP_DISABLE_PIP_VERSION_CHECK=1

venv=.venv
python=$venv/bin/python
unfinished=$venv/.unfinished

fail() {
    echo "set-up: $1" >&2
    exit 1
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

version() {
    "$1" -c 'import platform; print("Python " + platform.python_version())' 2>/dev/null || echo "not a Python that runs"
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" || fail "PYTHON=$PYTHON is $(version "$PYTHON"); Python 3.11 or newer is needed"
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        if new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    uv python find --system --no-python-downloads '>=3.11' 2>/dev/null ||
        fail "Python 3.11 or newer is needed, and python3 is $(version python3); install one, or name it: make PYTHON=/path/to/python3 demo"
}

find_uv() {
    for candidate in uv "$venv/bin/uv"; do
        # not command -v: a version manager's shim may stand for a tool that is missing
        if "$candidate" --version >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
}

make_venv() {
    base=$(find_python)
    rm -rf "$venv"
    mkdir "$venv"
    : >"$unfinished"
    if [ -n "$(find_uv)" ]; then
        uv venv --quiet --allow-existing --python "$base" "$venv" || fail "uv could not make $venv (see above)"
        return
    fi
    "$base" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$base ($(version "$base")) has no venv module; install it (Debian, Ubuntu: apt install python3-venv) or uv, then run make again"
    "$base" -m venv "$venv" || fail "$base could not make $venv (see above)"
}

install() {
    uv=$(find_uv)
    if [ -z "$uv" ]; then
        "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip # a .venv that uv made has no pip
        "$python" -m pip install --quiet uv || echo "uv could not be installed; pip takes longer" >&2
        uv=$(find_uv)
    fi
    if [ -n "$uv" ]; then
        "$uv" pip install --python "$python" ${TORCH:+"--torch-backend=$TORCH"} -e ".[$stage]" -c constraints.txt
        return
    fi
    [ -z "${TORCH:-}" ] || fail "TORCH=$TORCH needs uv; install it, or install PyTorch into $venv by hand and leave TORCH out"
    "$python" -m pip install --no-compile -e ".[$stage]" -c constraints.txt
}

complete() {
    # Scripts and the editable install hold absolute paths: a .venv that was moved or copied cannot be used.
    new_enough "$python" && [ ! -e "$unfinished" ] || return 1
    for made in "$venv"/.ready*; do
        [ ! -e "$made" ] || [ "$(cat "$made")" = "$(pwd -P)" ] || return 1
    done
}

case $stage in
demo) stamp=$venv/.ready ;;
dev | docs) stamp=$venv/.ready-$stage ;;
*) fail "there is no stage $stage; the stages are demo, dev and docs" ;;
esac
complete || make_venv
rm -f "$stamp"
: >"$unfinished"
echo "Setting up $venv for $stage ($(version "$python")); the first time takes some minutes"
install || fail "the installation failed (see above); once the cause is fixed, the same command starts again"
"$python" -m compileall -q src || fail "a source file does not compile (see above)"
rm -f "$unfinished"
pwd -P >"$stamp"
