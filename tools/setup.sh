#!/bin/sh
# Makes .venv ready from nothing: Python packages from the registry that pip is configured with, mosquitto, fuse3 and
# python3-venv from apt where they are missing. Running it again checks and adds what is new.
set -eu
cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

say() { printf 'setup: %s\n' "$*"; }
refuse() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# Installs one Debian package, or says what a person must do instead.
apt_install() {
    command -v apt-get >/dev/null 2>&1 ||
        refuse "$1 is missing and there is no apt-get here; install $1 with this system's package manager, then run make again"
    if [ "$(id -u)" -eq 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null 2>&1; then
        as_root="sudo"
    else
        refuse "$1 is missing, this user is not root and there is no sudo; run 'apt-get install $1' as root, then run make again"
    fi
    say "installing $1 with apt-get"
    # An update that fails (no network, a stale mirror) matters only if the package cannot be had without it.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update ||
        say "apt-get update did not succeed; trying with the lists that are there"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "$1" ||
        refuse "apt-get could not install $1; install it by hand, then run make again"
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    refuse "no Python from 3.11 to 3.13 found (tried ${PYTHON:-python3 python3.13 python3.12 python3.11}); install one or name it: make PYTHON=/path/to/python"
}

has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

make_venv() {
    python=$(find_python)
    if ! has_venv "$python"; then
        # Debian and Ubuntu keep venv in a package of its own, named after the Python it belongs to.
        apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
        has_venv "$python" || refuse "$python still has no venv module; install it, then run make again"
    fi
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
}

has_mosquitto() {
    command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ] || [ -x /usr/local/sbin/mosquitto ]
}

has_mosquitto || {
    apt_install mosquitto
    has_mosquitto || refuse "mosquitto was installed but is not in /usr/sbin; put it in PATH, then run make again"
    # winnow starts its own brokers; the service that comes with the package would only hold port 1883.
    if [ -d /run/systemd/system ]; then
        $as_root systemctl disable --now --quiet mosquitto || say "the mosquitto service stays on"
    fi
}

# Only the power-loss tests mount a file system of their own: without fuse3 they are skipped, and say so.
command -v fusermount3 >/dev/null 2>&1 || (apt_install fuse3) || say "going on without fuse3: no power-loss tests"

.venv/bin/python -c 'import pip' 2>/dev/null || make_venv

if ! .venv/bin/python -c 'from importlib.metadata import version; version("torch"), version("torchvision")' 2>/dev/null; then
    say "installing torch and torchvision (a few GB the first time)"
    # One command: the resolver then takes two that belong together.
    .venv/bin/python -m pip install torch torchvision
fi
say "installing winnow and what it stands on"
.venv/bin/python -m pip install --quiet --editable '.[edge,cpu,trainer,deploy,dev]'

# tests/test_lean_install.py installs a bare node from these without the network.
say "keeping the wheels of a bare node in .wheels"
mkdir -p .wheels
.venv/bin/python - >.wheels/requirements.txt <<'PYTHON'
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
print("\n".join(project["dependencies"] + extras["edge"] + extras["cpu"]))
PYTHON
.venv/bin/python -m pip wheel --quiet --wheel-dir .wheels --requirement .wheels/requirements.txt
say "done"
