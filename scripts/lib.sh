# Shared by the scripts of this folder; sourced, not run. Bash 5.
set -euo pipefail
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SWIFT_VERSION_MIN=6.3
# Attempts at what needs the network, and the pause between them in seconds.
NETWORK_ATTEMPTS=3
NETWORK_PAUSE=3

# Brokers live in /usr/sbin, which a user's PATH may lack; toolchains where their installers put them.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:${SWIFT_HOME:-/opt/swift}/usr/bin:${HOME:-/nonexistent}/.local/share/swiftly/bin

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else
    BOLD='' RED='' GREEN='' PLAIN=''
fi

say() { printf '%s\n' "$*"; }
heading() { printf '\n%s== %s%s\n' "$BOLD" "$*" "$PLAIN"; }
fail() {
    printf '%s%s: %s%s\n' "$RED" "$(basename "$0")" "$*" "$PLAIN" >&2
    exit 1
}

# retry <command...>: try what needs the network a few times.
retry() {
    local attempt
    for ((attempt = 1; attempt <= NETWORK_ATTEMPTS; attempt++)); do
        "$@" && return 0
        if ((attempt < NETWORK_ATTEMPTS)); then
            say "attempt $attempt of $NETWORK_ATTEMPTS failed: $1" >&2
            sleep "$NETWORK_PAUSE"
        fi
    done
    return 1
}

# as_root <command...>
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

# install_packages <package...>: with apt, without questions, and without starting a service.
install_packages() {
    local policy=/usr/sbin/policy-rc.d is_policy_ours=0 code=0
    command -v apt-get >/dev/null || fail "this is not Debian; install what these packages hold: $*"
    [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null ||
        fail "neither root nor sudo without a password; run: apt-get install --no-install-recommends $*"
    # An unreachable index is no reason to stop: the packages may be known already.
    retry as_root apt-get update -qq || say "the package index could not be updated; going on with the one at hand"
    # Debian starts a broker as soon as it is installed. A policy of the machine's own stays as it is.
    if [ ! -e $policy ]; then
        is_policy_ours=1
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod 755 $policy
    fi
    retry as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" || code=$?
    [ $is_policy_ours -eq 0 ] || as_root rm -f $policy
    [ $code -eq 0 ] || fail "apt-get install failed: $*"
}

# version_at_least <minimum> <version>
version_at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# free_port: print a port of 127.0.0.1 that nobody listens on, below the range of outgoing connections.
free_port() {
    local port
    for _ in {1..200}; do
        port=$((20000 + RANDOM % 12000))
        if ! port_answers "$port"; then
            echo "$port"
            return
        fi
    done
    fail "no free port was found"
}

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# wait_until <seconds> <command...>: true as soon as the command succeeds, false when it did not in time.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

is_running() { kill -0 "$1" 2>/dev/null; }
is_gone() { ! is_running "$1"; }

# stop_process <pid>: SIGTERM, then SIGKILL after five seconds. Reaps it when it is a child.
stop_process() {
    kill "$1" 2>/dev/null || return 0
    wait_until 5 is_gone "$1" || kill -9 "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}
