#!/bin/sh
# Makes .venv and installs the project with its pinned dependencies; make calls it when .venv/.ready is missing or old.
#
# With uv where there is one, else with venv and pip. Packages are all it fetches: no Python, no uv.
# PYTHON=... names the interpreter of a new .venv. Every run either ends with a whole .venv and its stamp, or with
# one line that says why not and no stamp; what a killed run left half-made is made anew.
set -eu
cd "$(dirname "$0")/.."

# Settings of the caller's shell that would send packages elsewhere or leave the bytecode out.
unset PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH UV_SYSTEM_PYTHON PIP_USER PIP_TARGET PIP_PREFIX
export UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never

venv=.venv
python=$venv/bin/python
stamp=$venv/.ready
unfinished=$venv/.unfinished

fail() {
    echo "set-up: $1" >&2
    exit 1
}

have_uv() {
    uv --version >/dev/null 2>&1 # not command -v: a version manager's shim may stand for a tool that is not there
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

make_venv() {
    base=$(find_python)
    rm -rf "$venv"
    mkdir "$venv"
    : >"$unfinished"
    if have_uv; then
        uv venv --quiet --allow-existing --python "$base" "$venv" || fail "uv could not make $venv (see above)"
        return
    fi
    "$base" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$base ($(version "$base")) has no venv module; install it (Debian, Ubuntu: apt install python3-venv) or uv, then run make again"
    "$base" -m venv "$venv" || fail "$base could not make $venv (see above)"
}

install() {
    if have_uv; then
        uv pip install --python "$python" -e '.[dev,demo]' -c constraints.txt
        return
    fi
    "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip # a .venv that uv made has no pip
    "$python" -m pip install --disable-pip-version-check --compile -e '.[dev,demo]' -c constraints.txt
}

whole() {
    # Scripts and the editable install hold absolute paths: a .venv that was moved or copied is of no use.
    new_enough "$python" && [ ! -e "$unfinished" ] && { [ ! -e "$stamp" ] || [ "$(cat "$stamp")" = "$(pwd -P)" ]; }
}

whole || make_venv
rm -f "$stamp"
: >"$unfinished"
echo "Setting up $venv ($(version "$python")); the first time takes some minutes"
install || fail "the installation failed (see above); once the cause is mended, the same command starts again"
"$python" -m compileall -q src || fail "a source file does not compile (see above)"
rm -f "$unfinished"
pwd -P >"$stamp"
