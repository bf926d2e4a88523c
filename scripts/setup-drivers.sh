#!/usr/bin/env bash
# Installs what the tests with real drivers need and this machine lacks: client programs, a Python
# environment, node modules, Go modules, the Java drivers, ActiveRecord, and the sources of asyncpg's and
# PyMongo's own tests. Versions are pinned by the files beside the suites, ActiveRecord's by the system.
# Quick when all is there; fails loudly when it can't be.
#
# Everything that is not of the system goes to ~/.cache/twinport (TWINPORT_CACHE names another
# folder), save node_modules, which node looks for beside the suite.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
drivers=$(cd "$here/../integration/drivers" && pwd)
cache=${TWINPORT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/twinport}
pgjdbc=42.7.8
mongo_java=5.14.0
ferretdb=v2.7.0
mongo_server=1.46.0
# What mongo-java-server $mongo_server is built with.
netty=4.1.116.Final
slf4j=2.0.16

say() { printf 'setup-drivers: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
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

# need PROGRAM PACKAGE…: installs the packages unless the program is there.
need() { need_that "command -v $1" "\`$1\`" "${@:2}"; }

# need_that TEST NAME PACKAGE…: installs the packages unless the test, a command, succeeds.
need_that() {
    local test=$1 name=$2
    shift 2
    eval "$test" >/dev/null 2>&1 && return
    command -v apt-get >/dev/null || die "$name is missing: install it (Debian's package: $*)"
    say "installing $*"
    [ -n "${updated:-}" ] || as_root apt-get -qq update || die "$name is missing, and only root can install it: apt install $*"
    updated=yes
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null ||
        die "apt could not install $*"
    eval "$test" >/dev/null 2>&1 || die "$name is still missing after installing $*"
}

# done_as FILE…: whether the mark holds what these files say now; MARK is set by the caller.
done_as() { [ -f "$mark" ] && cat "$@" | cmp -s - "$mark"; }
record() { cat "$@" >"$mark"; }

mkdir -p "$cache"
# Two runs at once would fill the same folders.
exec 9>"$cache/setup-drivers.lock"
command -v flock >/dev/null && flock 9

# The oldest server that the suites run against; the newest comes by setup-postgres-18.sh.
if [ ! -x /usr/lib/postgresql/15/bin/postgres ] && [ -z "${TWINPORT_POSTGRES_BIN:-}" ]; then
    PATH=$PATH:/usr/lib/postgresql/15/bin need postgres postgresql-15
fi
need psql postgresql-client
need python3 python3 python3-venv
need node nodejs
need npm npm
need java default-jdk-headless
need javac default-jdk-headless
need mvn maven
need go golang-go
need ruby ruby
need_that "ruby -e 'require \"active_record\"; require \"pg\"'" "ActiveRecord for $(command -v ruby)" ruby-activerecord ruby-pg

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or newer is needed, found $(python3 --version)"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || die "node 20 or newer is needed, found $(node --version)"

requirements=$drivers/python/requirements.txt
mark=$cache/python/requirements.txt
if ! done_as "$requirements"; then
    say "filling the Python environment"
    python3 -m venv --clear "$cache/python" || die "\`python3 -m venv\` failed: apt install python3-venv"
    "$cache/python/bin/pip" --disable-pip-version-check install -q -r "$requirements"
    record "$requirements"
fi

mark=$cache/asyncpg/requirement
requirement=$(grep '^asyncpg==' "$requirements")
if ! printf '%s\n' "$requirement" | done_as -; then
    say "unpacking the tests of $requirement"
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    "$cache/python/bin/pip" --disable-pip-version-check download -q --no-deps --no-binary asyncpg -d "$scratch" "$requirement"
    tar -xzf "$scratch"/asyncpg-*.tar.gz -C "$scratch"
    rm -rf "$cache/asyncpg"
    mkdir -p "$cache/asyncpg"
    # Only the tests: beside the package's own folder they would import that instead of the driver.
    mv "$scratch"/asyncpg-*/tests "$cache/asyncpg/tests"
    printf '%s\n' "$requirement" | record -
fi

# PyMongo's tests, with what they import beside the driver.
packages=$here/../integration/pymongo/requirements.txt
mark=$cache/pymongo/requirement
requirement=$(grep '^pymongo==' "$requirements")
if ! printf '%s\n' "$requirement" | done_as - "$packages"; then
    say "unpacking the tests of $requirement"
    sources=$(mktemp -d)
    trap 'rm -rf "${scratch:-}" "$sources"' EXIT
    pip() { "$cache/python/bin/pip" --disable-pip-version-check "$@"; }
    pip download -q --no-deps --no-binary pymongo -d "$sources" "$requirement"
    tar -xzf "$sources"/pymongo-*.tar.gz -C "$sources"
    rm -rf "$cache/pymongo"
    mkdir -p "$cache/pymongo"
    pip install -q --target "$cache/pymongo/packages" -r "$packages"
    mv "$sources"/pymongo-*/test "$cache/pymongo/test"
    printf '%s\n' "$requirement" | record - "$packages"
fi

for folder in node node-mongo; do
    mark=$drivers/$folder/node_modules/.twinport-lock
    if ! done_as "$drivers/$folder/package-lock.json"; then
        say "filling $folder/node_modules"
        (cd "$drivers/$folder" && npm ci --silent --no-audit --no-fund)
        record "$drivers/$folder/package-lock.json"
    fi
done

# Prisma writes a client for the suite's schema. Neither that nor the client needs the engines that its
# packages' scripts and its program would fetch from a host of their own.
mark=$drivers/node-prisma/node_modules/.twinport-lock
if ! done_as "$drivers/node-prisma/package-lock.json" "$drivers/node-prisma/schema.prisma"; then
    say "filling node-prisma/node_modules"
    (cd "$drivers/node-prisma" && npm ci --silent --no-audit --no-fund --ignore-scripts &&
        PRISMA_SCHEMA_ENGINE_BINARY=$(type -P true) PRISMA_HIDE_UPDATE_MESSAGE=1 CHECKPOINT_DISABLE=1 \
            node_modules/.bin/prisma generate --schema schema.prisma >/dev/null)
    record "$drivers/node-prisma/package-lock.json" "$drivers/node-prisma/schema.prisma"
fi

if [ ! -f "$cache/java/postgresql-$pgjdbc.jar" ]; then
    say "fetching pgjdbc $pgjdbc"
    mkdir -p "$cache/java"
    mvn -q -B -ntp -Dstyle.color=never dependency:copy -Dartifact=org.postgresql:postgresql:$pgjdbc -DoutputDirectory="$cache/java"
fi
ln -sf "postgresql-$pgjdbc.jar" "$cache/java/postgresql.jar"

mark=$cache/java/hibernate/pom.xml
if ! done_as "$drivers/java/hibernate.xml"; then
    say "fetching Hibernate"
    rm -rf "$cache/java/hibernate"
    mvn -q -B -ntp -Dstyle.color=never -f "$drivers/java/hibernate.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$cache/java/hibernate"
    record "$drivers/java/hibernate.xml"
fi

mark=$cache/java/morphia/pom.xml
if ! done_as "$drivers/java/morphia.xml"; then
    say "fetching Morphia"
    rm -rf "$cache/java/morphia"
    mvn -q -B -ntp -Dstyle.color=never -f "$drivers/java/morphia.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$cache/java/morphia"
    record "$drivers/java/morphia.xml"
fi

# The suites are run from their source, which can't be in several files.
mark=$cache/java/Checks.java
if ! done_as "$drivers/java/checks/Checks.java"; then
    say "compiling what the Java suites share"
    rm -rf "$cache/java/checks"
    javac -d "$cache/java/checks" "$drivers/java/checks/Checks.java"
    record "$drivers/java/checks/Checks.java"
fi

mark=$cache/java/mongo/version
if [ ! -f "$mark" ] || [ "$(cat "$mark")" != $mongo_java ]; then
    say "fetching MongoDB's Java driver $mongo_java"
    rm -rf "$cache/java/mongo"
    mkdir -p "$cache/java/mongo"
    for jar in mongodb-driver-sync mongodb-driver-core bson; do
        mvn -q -B -ntp -Dstyle.color=never dependency:copy -Dartifact=org.mongodb:$jar:$mongo_java -DoutputDirectory="$cache/java/mongo"
    done
    echo $mongo_java >"$mark"
fi

mark=$cache/java/mongo-server/version
if [ ! -f "$mark" ] || [ "$(cat "$mark")" != $mongo_server ]; then
    say "fetching mongo-java-server $mongo_server"
    rm -rf "$cache/java/mongo-server"
    mkdir -p "$cache/java/mongo-server"
    jars=org.slf4j:slf4j-api:$slf4j
    for jar in mongo-java-server mongo-java-server-core mongo-java-server-memory-backend; do
        jars="$jars de.bwaldvogel:$jar:$mongo_server"
    done
    for jar in buffer codec common handler resolver transport transport-native-unix-common; do
        jars="$jars io.netty:netty-$jar:$netty"
    done
    for jar in $jars; do
        mvn -q -B -ntp -Dstyle.color=never dependency:copy -Dartifact="$jar" -DoutputDirectory="$cache/java/mongo-server"
    done
    echo $mongo_server >"$mark"
fi

mark=$cache/go-bin/ferretdb.version
if [ ! -f "$mark" ] || [ "$(cat "$mark")" != $ferretdb ]; then
    say "building FerretDB $ferretdb"
    GOBIN=$cache/go-bin go install github.com/FerretDB/FerretDB/v2/cmd/ferretdb@$ferretdb ||
        die "FerretDB could not be built: it needs the Go of its go.mod, or a newer one"
    echo $ferretdb >"$mark"
fi

for folder in go go-mongo; do
    mark=$cache/$folder.sum
    if ! done_as "$drivers/$folder/go.sum"; then
        say "building the suite in $folder"
        (cd "$drivers/$folder" && go build -o /dev/null .)
        record "$drivers/$folder/go.sum"
    fi
done

say "all there"
