#!/usr/bin/env bash
# Make .venv with the locked packages and this project in it. Instant when nothing changed; repairs an interrupted run:
# the stamp is written last and names what was installed.
#   usage: scripts/setup.sh            (PYTHON=... picks the interpreter)
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/.installed
log=.cache/logs/setup.log
mkdir -p .cache/logs

trap 'echo; echo "setup: interrupted; run it again and it goes on" >&2; exit 130' INT TERM

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3 python3.12 python3.13 /usr/bin/python3; do
        if new_enough "$candidate"; then command -v "$candidate"; return; fi
        if [[ -n ${PYTHON:-} ]]; then fail "PYTHON=$PYTHON is not a Python of 3.11 or later"; fi
    done
    fail "no Python of 3.11 or later found: install one, or say which with PYTHON=/path/to/python3"
}

on_debian_as_root() { [[ $EUID == 0 ]] && grep -qsE '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release; }

ensure_venv_module() {
    if "$1" -c 'import venv, ensurepip' 2>/dev/null; then return; fi
    local package
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    on_debian_as_root || fail "$1 has no venv module: install it (Debian, Ubuntu: apt-get install $package)"
    say "$1 has no venv module; we are root on Debian or Ubuntu: apt-get install $package"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$package"; } >/dev/null ||
        fail "apt-get could not install $package: install it by hand and try again"
}

pip_install() {
    "$venv/bin/python" -m pip --disable-pip-version-check install "$@" >"$log" 2>&1 && return
    grep -v '^WARNING' "$log" | tail -n 30 >&2
    fail "pip could not install $* (all it said: $log); check the network and try again"
}

# What the environment was made from: another lock, another project file or another directory makes another one.
wanted=$(cat requirements/dev.txt pyproject.toml <(pwd -P) | sha256sum | cut -d' ' -f1)
if [[ -x $venv/bin/python && $(cat "$stamp" 2>/dev/null) == "$wanted" ]] && "$venv/bin/python" -c '' 2>/dev/null; then exit 0; fi

python=$(find_python)
ensure_venv_module "$python"
say "making $venv with $("$python" --version) ($python)"
rm -f "$stamp"
"$python" -m venv --clear "$venv"
say "installing $(grep -c '==' requirements/dev.txt) locked packages into $venv (about half a minute)"
pip_install --require-hashes -r requirements/dev.txt
pip_install --no-deps --no-build-isolation -e .
echo "$wanted" >"$stamp"
say "done"
