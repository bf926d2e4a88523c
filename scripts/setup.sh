#!/bin/sh
# Installs what `make dev` and `make test` need and this machine lacks. With apt and root (or
# sudo) it does so itself; otherwise it says what is missing and how to get it.
#
#   scripts/setup.sh dev     a Rust toolchain, a Postgres server, and Postgres 18 with DocumentDB
#                            if it can be had
#   scripts/setup.sh test    Debian's Postgres with psql and pgbench, and Postgres 18
set -eu

here=$(cd "$(dirname "$0")" && pwd)
what=${1:-dev}
case $what in
dev | test) ;;
*)
    echo "usage: scripts/setup.sh [dev|test]" >&2
    exit 2
    ;;
esac

say() { printf 'setup: %s\n' "$*" >&2; }
missing=0
lacks() {
    say "missing: $*"
    missing=1
}

# Whether there is a server, on PATH or where Debian and we keep one.
has_postgres() {
    for folder in $(echo "${TWINPORT_POSTGRES_BIN-}:$PATH" | tr : ' ') /usr/lib/postgresql/*/bin \
        "$("$here/setup-postgres-18.sh" --path)"; do
        [ -x "$folder/postgres" ] && [ -x "$folder/initdb" ] && return 0
    done
    return 1
}
has_program() {
    command -v "$1" >/dev/null 2>&1 && return 0
    for path in /usr/lib/postgresql/*/bin/"$1"; do
        [ -x "$path" ] && return 0
    done
    return 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo "$@"
    else
        return 1
    fi
}
updated=
install() {
    command -v apt-get >/dev/null || return 1
    say "installing: $*"
    [ -n "$updated" ] || as_root apt-get -qq update || return 1
    updated=yes
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        "$@" >/dev/null
}

command -v cargo >/dev/null || [ -x "$HOME/.cargo/bin/cargo" ] ||
    lacks "Rust 1.95 or newer. Install it from https://rustup.rs"
command -v cc >/dev/null || install build-essential ||
    lacks "a C compiler and linker: \`apt install build-essential\` or your system's equivalent."

if [ "$what" = dev ]; then
    "$here/setup-postgres-18.sh" ||
        say "no Postgres 18 with DocumentDB (see above), so no MongoDB port; going on without it"
fi
if ! has_postgres && ! install postgresql; then
    say "apt cannot help; trying Postgres 18 in a folder of its own"
    "$here/setup-postgres-18.sh" ||
        lacks "a Postgres server: \`apt install postgresql\`, \`dnf install postgresql-server\` or" \
            "\`brew install postgresql\`; or name a folder of binaries in TWINPORT_POSTGRES_BIN."
fi

if [ "$what" = test ]; then
    for program in psql pgbench; do
        has_program $program || install postgresql postgresql-client postgresql-contrib ||
            lacks "$program: \`apt install postgresql postgresql-contrib\`."
    done
    "$here/setup-postgres-18.sh" ||
        lacks "Postgres 18: install it by other means and name its folder in TWINPORT_POSTGRES_BIN."
fi

exit $missing
