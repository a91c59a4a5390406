# What quickstart and test need from the system, and how it gets there. Sourced, never run.
# shellcheck shell=bash disable=SC2034

# cargo build: a linker, and perl and make for the OpenSSL that is compiled in.
BUILD_PACKAGES=(gcc libc6-dev make perl pkg-config)

# examples/heat: an MPI, and a clang that can instrument with LLVM's programs of its version.
SAMPLE_PACKAGES=(openmpi-bin libopenmpi-dev clang libclang-rt-dev llvm)

# The tests: the other MPI, the LLVM that this Rust is made with (22), servers and modules to test against.
TEST_PACKAGES=(mpich libmpich-dev clang-14 llvm-14 clang-22 llvm-22 libclang-rt-22-dev environment-modules
    git jq openssh-client openssh-server python3 util-linux
    # The writers and readers of reports.
    g++ cmake libgtest-dev catch2 libbenchmark-dev python3-pytest python3-mpi4py python3-junitparser libxml2-utils)

# `ci/test --full` compares with every LLVM that Debian 12 has and with the reference clients of PyPI and npm, opens the dashboard
# in a browser, and has cron run the nightly line.
FULL_PACKAGES=(clang-16 llvm-16 libclang-rt-16-dev clang-19 llvm-19 libclang-rt-19-dev chromium cron python3-venv rsync)
command -v npm >/dev/null || FULL_PACKAGES+=(nodejs npm)

say() { printf '%s\n' "==> $*" >&2; }
die() { say "$@"; exit 1; }

# Rust's own installer changes PATH for later logins only.
find_cargo() {
    command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    command -v cargo >/dev/null || die "Rust is missing; https://rustup.rs says how to install it"
}

has_apt() { command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; }

# install PACKAGE...: those that are missing; says so of those that apt does not know, and goes on.
install() {
    local name known=() missing=()
    for name in "$@"; do is_installed "$name" || missing+=("$name"); done
    [ ${#missing[@]} != 0 ] || return 0

    local root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "neither root nor sudo; ask for: apt-get install ${missing[*]}"
        root=(sudo)
    fi
    # `env`, because sudo drops variables that are set in front of it.
    local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    "${apt[@]}" update </dev/null
    for name in "${missing[@]}"; do
        if apt-cache show "$name" >/dev/null 2>&1; then known+=("$name"); else say "apt knows no $name"; fi
    done
    [ ${#known[@]} != 0 ] || return 0
    say "installing ${known[*]}"
    without_daemons "${root[@]}"
    "${apt[@]}" install --yes --no-install-recommends "${known[@]}" </dev/null >/dev/null || die "apt-get failed"
    daemons_again "${root[@]}"
}

is_installed() { [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Packages with daemons ask /usr/sbin/policy-rc.d whether to start them. One that is there already stays.
POLICY=/usr/sbin/policy-rc.d
without_daemons() {
    OUR_POLICY=
    [ ! -e "$POLICY" ] || return 0
    OUR_POLICY=1
    # shellcheck disable=SC2064 # what to run it with is known now, and not at the end
    trap "daemons_again $*" EXIT
    printf '#!/bin/sh\nexit 101\n' | "$@" tee "$POLICY" >/dev/null
    "$@" chmod 755 "$POLICY"
}

daemons_again() {
    [ -z "$OUR_POLICY" ] || "$@" rm -f "$POLICY"
    OUR_POLICY=
}
