#!/usr/bin/env bash
# Makes a machine ready. Usage: tools/bootstrap.sh THING... with these things:
#
#   base          C compiler, Python, cargo; makes .venv and writes .venv/cargo-directory
#   packages ARG  Python packages into .venv, ARG as for pip install (must come last)
#   browser       Chromium, Node.js, and the packages of tests/browser
#   sipp, baresip, iproute2, kamailio, c++, rust-lints
#                 the programs of the tests (three), the benchmark, fuzzing, the checks
#
# Installs only what is missing: Debian packages when run as root, Python packages always. What it
# cannot install it names in one line with the remedy, and ends with exit code 1.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
python_minimum="3.11"
rust_minimum=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)

fail() {
    echo "bootstrap: $1 Remedy: $2" >&2
    exit 1
}

# True when version $1 is at least version $2.
at_least() {
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

can_apt() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

lists_are_fresh=no
# Installs Debian packages; false when that is not possible here.
apt_install() {
    can_apt || return 1
    echo "bootstrap: installing $*" >&2
    if [ "$lists_are_fresh" = no ]; then
        apt-get update -qq >/dev/null || return 1
        lists_are_fresh=yes
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need COMMAND WHAT PACKAGE...: makes COMMAND available from Debian packages.
need() {
    local command=$1 what=$2
    shift 2
    command -v "$command" >/dev/null && return
    apt_install "$@" && hash -r && command -v "$command" >/dev/null && return
    fail "$what ($command) is missing." "as root: apt-get install $*"
}

find_python() {
    local candidate path
    # The distribution's interpreter first: it is built with profile-guided optimisation, a self-built
    # one mostly is not, and policy then costs 1.7 times the CPU.
    for candidate in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
        path=$(command -v "$candidate") || continue
        "$path" - "$python_minimum" 2>/dev/null <<'PYTHON' && echo "$path" && return
import sys, venv, ensurepip
minimum = tuple(int(part) for part in sys.argv[1].split("."))
sys.exit(sys.version_info[:2] < minimum)
PYTHON
    done
    return 1
}

make_venv() {
    [ -x "$venv/bin/python" ] && "$venv/bin/python" -c '' 2>/dev/null && return
    local python
    if ! python=$(find_python); then
        apt_install python3 python3-venv python3-dev || true
        python=$(find_python) || fail "Python $python_minimum or newer with venv is missing." \
            "as root: apt-get install python3 python3-venv python3-dev"
    fi
    "$python" -m venv --clear "$venv"
    # Dependency groups need pip 25.1.
    "$venv/bin/python" -m pip install --quiet --upgrade "pip>=25.1" ||
        fail "pip cannot reach a package index." "check the network and pip's settings"
}

# The directory of the first cargo that is new enough.
find_cargo() {
    local directory version
    for directory in $(dirname "$(command -v cargo || echo /)") "${HOME:-/root}/.cargo/bin" /usr/bin; do
        [ -x "$directory/cargo" ] && [ -x "$directory/rustc" ] || continue
        version=$("$directory/rustc" --version 2>/dev/null | awk '{print $2}') || continue
        [ -n "$version" ] && at_least "$version" "$rust_minimum" && echo "$directory" && return
    done
    return 1
}

need_cargo() {
    local directory
    if ! directory=$(find_cargo); then
        # Debian keeps a recent toolchain in these two, for its browsers.
        apt_install cargo-web rustc-web || true
        directory=$(find_cargo) || fail "cargo $rust_minimum or newer is missing." \
            "as root: apt-get install cargo-web rustc-web, or install Rust with rustup"
    fi
    echo "$directory" >"$venv/cargo-directory"
}

need_rust_lints() {
    # The tools must be those of the cargo that was chosen.
    local PATH="$(cat "$venv/cargo-directory"):$PATH"
    need cargo-fmt rustfmt rustfmt-web
    need cargo-clippy clippy rust-web-clippy
}

install_packages() {
    "$venv/bin/python" -m pip install --quiet "$@" ||
        fail "Python packages cannot be installed ($*)." "check the network and pip's settings"
}

install_browser() {
    need chromium Chromium chromium
    need node Node.js nodejs
    need npm "Node's package manager" npm
    npm ci --loglevel=error --prefix tests/browser >/dev/null ||
        fail "Node packages cannot be installed." "check the network and npm's settings"
}

while [ $# -gt 0 ]; do
    thing=$1
    shift
    case $thing in
        base)
            need cc "a C compiler" gcc libc6-dev
            make_venv
            need_cargo
            ;;
        packages)
            install_packages "$@"
            break
            ;;
        browser) install_browser ;;
        baresip) need baresip baresip baresip-core ;;
        sipp) need sipp SIPp sip-tester ;;
        iproute2) need ip "the ip command" iproute2 ;;
        kamailio) need kamailio Kamailio kamailio ;;
        c++) need c++ "a C++ compiler" g++ ;;
        rust-lints) need_rust_lints ;;
        *) fail "nothing is known of '$thing'." "read the head of this file" ;;
    esac
done
