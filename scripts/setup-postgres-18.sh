#!/bin/sh
# Puts Postgres 18 with the DocumentDB extension into a folder of its own, next to whatever
# Postgres the system has, without root: Debian's packages are unpacked, not installed, and run
# with the loader and libraries that came with them, since they need a newer glibc.
#
#   scripts/setup-postgres-18.sh           do it, unless it is done
#   scripts/setup-postgres-18.sh --path    print the folder of the binaries and exit
#
# The folder is ~/.cache/twinport/postgres-18 ($XDG_CACHE_HOME counts), for root
# /var/cache/twinport/postgres-18, which other users can enter: Postgres does not run as root.
# Set TWINPORT_DEBIAN_MIRROR to take the packages from elsewhere than apt does.
set -eu

say() { printf 'setup-postgres-18: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

if [ "$(id -u)" = 0 ]; then
    cache=/var/cache/twinport
else
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/twinport
fi
target=$cache/postgres-18
bin=usr/lib/postgresql/18/bin

if [ "${1-}" = --path ]; then
    echo "$target/$bin"
    exit
fi
if [ -x "$target/$bin/postgres" ]; then
    say "already there: $target"
    exit
fi

for tool in apt-get dpkg-deb flock; do
    command -v $tool >/dev/null || die "\`$tool\` is missing. This script needs Debian or a" \
        "descendant; elsewhere install Postgres 18 by your system's means, and name its folder" \
        "of binaries in TWINPORT_POSTGRES_BIN."
done

mkdir -p "$cache"
exec 9>"$cache/postgres-18.lock"
flock 9
# Someone else may have made it while we waited.
[ -x "$target/$bin/postgres" ] && exit

work=$(mktemp -d "$cache/postgres-18.new.XXXXXX")
chmod 755 "$work"
server=
finish() {
    [ -z "$server" ] || as_user "$root/$bin/pg_ctl" -s -w -m immediate -D "$server" stop || true
    rm -rf "$work" "${scratch-}"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
root=$work/root
mkdir "$root"

# --- Download, with an apt of our own that shares nothing with the system's but the mirror.

main_archive() {
    # By apt's own reading of its sources, whatever their format.
    apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(COMPONENT) $(REPO_URI)' \
        'Created-By: Packages' | awk '$1 == "Debian" && $2 !~ /-/ && $3 == "main" { print $4; exit }'
}
mirror=${TWINPORT_DEBIAN_MIRROR:-$(main_archive)}
[ -n "$mirror" ] || die "apt knows no Debian mirror; name one in TWINPORT_DEBIAN_MIRROR."
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f $keyring ] || die "$keyring is missing: install the package debian-archive-keyring."

apt=$work/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs" "$apt/none"
: >"$apt/status"
# The system's hooks are for the system's archives.
for hook in APT::Update::Pre-Invoke APT::Update::Post-Invoke APT::Update::Post-Invoke-Success; do
    echo "#clear $hook;"
done >"$apt/apt.conf"
our_apt() {
    tool=$1
    shift
    "$tool" -qq -c "$apt/apt.conf" -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts="$apt/none" \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts="$apt/none" \
        -o Dir::State="$apt" -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
        -o APT::Install-Recommends=false -o APT::Sandbox::User="$(id -un)" \
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}

wanted='postgresql-18 postgresql-18-documentdb'
packages=
for suite in forky sid; do
    echo "deb [signed-by=$keyring] $mirror $suite main" >"$apt/sources.list"
    our_apt apt-get update || die "cannot read suite $suite of $mirror (see above)."
    # shellcheck disable=SC2086
    if packages=$(our_apt apt-get --simulate install $wanted 2>"$work/why" | awk '/^Inst/ { print $2 }') &&
        [ -n "$packages" ]; then
        say "taking Postgres 18 from Debian $suite"
        break
    fi
done
[ -n "$packages" ] || die "no suite offers $wanted: $(cat "$work/why")"

# What only an installed system needs.
needless='^(perl|libperl|systemd$|libsystemd-shared|gnupg|gpg|dirmngr|pinentry|locales|adduser|passwd|procps'
needless="$needless|fonts-|ucf|sensible-utils|debconf|libdebconf|libpam-|libsemanage|libtext-|libjson-perl"
needless="$needless|openssl\$|ssl-cert|libc-l10n|libc-bin|base-passwd|sysvinit|login|tzdata|postgresql-.*common)"
packages=$(echo "$packages" | grep -vE "$needless")
# shellcheck disable=SC2086
(cd "$apt/debs" && our_apt apt-get download $packages) || die "the download failed (see above)."

say "unpacking $(find "$apt/debs" -name '*.deb' | wc -l) packages"
for deb in "$apt"/debs/*.deb; do
    dpkg-deb --extract "$deb" "$root"
done
rm -rf "$apt" "${root:?}/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale"

# --- What the packages' own scripts would do.

triplet=$(basename "$(dirname "$(find "$root/usr/lib" -name libc.so.6 | head -n 1)")")
loader=$(cd "$root" && find usr/lib* -name 'ld-linux*.so.*' -type f | head -n 1)
[ -n "$loader" ] || loader=$(cd "$root" && find usr/lib* -name 'ld-linux*.so.*' | head -n 1)
[ -n "$loader" ] || die "the packages hold no loader."

extension=$root/usr/share/postgresql/18/extension
for control in "$extension"/postgis*-3.control; do
    [ -e "$control" ] || continue
    ln -sfn "$(basename "$control")" "${control%-3.control}.control"
done

lib=usr/lib/$triplet
real=usr/lib/postgresql/18/real
mv "$root/$bin" "$root/$real"
mkdir "$root/$bin"
for program in "$root/$real"/*; do
    name=$(basename "$program")
    # The programs find each other and their files by the path that they believe to run from.
    cat >"$root/$bin/$name" <<WRAPPER
#!/bin/sh
self=\$(readlink -f "\$0")
root=\${self%/$bin/$name}
export PROJ_DATA="\$root/usr/share/proj" GDAL_DATA="\$root/usr/share/gdal"
exec "\$root/$loader" \\
    --library-path "\$root/$lib:\$root/$lib/blas:\$root/$lib/lapack:\$root/usr/lib/postgresql/18/lib" \\
    --argv0 "\$self" "\$root/$real/$name" "\$@"
WRAPPER
    chmod 755 "$root/$bin/$name"
done
chmod -R go+rX "$root"

# --- Proof, as the user whom a server will run as.

as_user() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid="$runner" --regid="$(id -g "$runner")" --clear-groups -- "$@"
    else
        "$@"
    fi
}
runner=$(id -un)
if [ "$runner" = root ]; then
    runner=nobody
    ! id postgres >/dev/null 2>&1 || runner=postgres
fi
scratch=$(mktemp -d)
[ "$(id -u)" != 0 ] || chown "$runner" "$scratch"
as_user "$root/$bin/initdb" -D "$scratch/data" -U postgres -A trust --no-sync >"$scratch/log" 2>&1 ||
    die "initdb failed: $(cat "$scratch/log")"
server=$scratch/data
as_user "$root/$bin/pg_ctl" -s -w -t 60 -D "$server" -l "$scratch/server.log" -o "-k $scratch \
    -c listen_addresses= -c fsync=off -c wal_level=logical -c cron.database_name=postgres \
    -c shared_preload_libraries=pg_cron,pg_documentdb_core,pg_documentdb \
    -c documentdb.localhost_connection_string=host=$scratch" start >"$scratch/log" 2>&1 9>&- ||
    die "the server does not start: $(cat "$scratch/log" "$scratch/server.log")"
database="host=$scratch user=postgres dbname=postgres options='-c client_min_messages=warning'"
query() { as_user "$root/$bin/psql" -XAtq -v ON_ERROR_STOP=1 -d "$database" -c "$1"; }
query 'CREATE EXTENSION documentdb CASCADE' 2>"$scratch/err" ||
    die "the extension cannot be created: $(cat "$scratch/err")"
query "SELECT documentdb_api.insert_one('proof', 'things', '{\"_id\": 1, \"name\": \"twin\"}')" >/dev/null
found=$(query "SELECT document FROM documentdb_api.collection('proof', 'things')")
page=$(query "SELECT cursorpage FROM documentdb_api.find_cursor_first_page('proof', '{\"find\": \"things\", \"filter\": {\"name\": \"twin\"}}')")
case $found$page in
*7477696e*7477696e*) ;; # "twin", as BSON is shown in hexadecimal
*) die "a document was stored and not found again: $found $page" ;;
esac
as_user "$root/$bin/pg_ctl" -s -w -m fast -D "$server" stop
server=

mv -T "$root" "$target"
say "done: $target/$bin ($(du -sh "$target" | cut -f 1))"
