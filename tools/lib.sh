# SPDX-License-Identifier: ISC
#
# tools/lib.sh: what the commands in tools/ share. Sourced by bash, never run.

say() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }
die() { printf '%s\n' "${0##*/}: $*" >&2; exit 1; }

# as_root COMMAND...: through sudo unless we are root already.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root: run it as root, or install sudo"
    fi
}

# build PRESET [TARGET...]: configures, then builds; ninja shows how far it is.
build() {
    local preset=$1 log
    shift
    say "Building ($preset)"
    log=$(cmake --preset "$preset" 2>&1) || { printf '%s\n' "$log"; return 1; }
    cmake --build "build/$preset" ${1:+--target "$@"}
}
