#!/usr/bin/env bash
# Makes .venv in the root of the repository, with the tested set and this
# package (editable) in it. Run by quickstart.sh and run_tests.sh; when nothing
# has changed since the last time it returns at once.
#
#   setup_env.sh [REQUIREMENTS ...]   files of further requirements to install
#
#   PYTHON=/path/to/python   the interpreter to build on (3.10 to 3.14)
#
# pip's own variables apply; with an index of CPU builds PyTorch is small.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "setup_env: $*" >&2
    exit 1
}

# Whether $1 runs, has a supported version and can make environments. A name
# on PATH says none of this: pyenv's shims and Debian's python3 without
# python3-venv are there, too.
usable() {
    "$1" -c '
import sys, venv, ensurepip
sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' &> /dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} \
        python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        elif [ "$candidate" = "${PYTHON:-}" ]; then
            fail "PYTHON=$PYTHON is no Python 3.10 to 3.14 with venv."
        fi
    done
    fail 'no Python 3.10 to 3.14 with venv found on PATH;' \
        'install one (Debian: python3 and python3-venv) or set PYTHON.'
}

# All that decides what is in .venv, word by word.
inputs() {
    "$python" -VV
    echo "$PWD"
    cat requirements/tested.txt setup.py pyproject.toml \
        selfy_mmaction/__init__.py tools/setup_env.sh
}

make_env() {
    # An environment whose making was cut short has no whole pip.
    if ! "$python" -m pip help install &> /dev/null; then
        base=$(find_python)
        echo "Making .venv with $("$base" --version) ..."
        "$base" -m venv --clear .venv
    elif ! usable "$python"; then
        fail ".venv holds $("$python" --version), not Python 3.10 to 3.14;" \
            'remove it (rm -rf .venv) and run this again.'
    fi
    rm -f "$stamp"
    # pip writes INSTALLER after a package's files: without it the installation
    # was cut short, though pip would take the package for whole.
    for info in .venv/lib/python3*/site-packages/*.dist-info; do
        [ -e "$info/INSTALLER" ] || rm -rf "$info"
    done

    echo 'Installing requirements/tested.txt into .venv ...'
    "$python" -m pip install --no-input --disable-pip-version-check \
        -r requirements/tested.txt
    # It requires decord, which has no wheel on ARM: there it is left out.
    "$python" -m pip install --no-input --disable-pip-version-check --quiet \
        --no-deps "$(grep -o '^mmaction2==[^;]*' requirements/tested.txt)"
    "$python" -m pip install --no-input --disable-pip-version-check --quiet \
        --no-build-isolation --no-deps -e .

    # mmengine and mmaction2 want two builds of OpenCV that share one folder,
    # and both want libGL, which a headless machine lacks: put a build that
    # does without over them.
    if ! "$python" -c 'import cv2' 2> /dev/null; then
        opencv=$("$python" -m pip freeze | grep '^opencv-contrib-python==')
        "$python" -m pip install --no-input --disable-pip-version-check \
            --force-reinstall --no-deps "${opencv/==/-headless==}"
        "$python" -c 'import cv2' || fail 'OpenCV does not import.'
    fi
    inputs > "$stamp"
}

python=.venv/bin/python
stamp=.venv/selfy_mmaction.stamp
if [ ! -e "$stamp" ] || ! inputs 2> /dev/null | cmp -s - "$stamp"; then
    make_env
fi
for file in "$@"; do
    installed=.venv/$(basename "$file").stamp
    if ! cmp -s "$file" "$installed"; then
        echo "Installing $file into .venv ..."
        "$python" -m pip install --no-input --disable-pip-version-check \
            -r "$file"
        cp "$file" "$installed"
    fi
done
