#!/usr/bin/env bash
# psql (libpq) against the port. Runs named checks, prints `ok NAME` or `not ok NAME: reason` for
# each, and exits non-zero if any failed.
set -u

url=$TWINPORT_TEST_URL
single=$TWINPORT_TEST_SINGLE_URL
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The server's own version of the programs, if it has them.
PATH=${TWINPORT_TEST_BIN:+$TWINPORT_TEST_BIN:}$PATH
export PGCONNECT_TIMEOUT=10 PSQLRC=/dev/null
unset PGPASSWORD PGHOST PGPORT PGUSER PGDATABASE
failed=0

sql() { # ADDRESS then psql's arguments
    local address=$1
    shift
    psql "$address" -X -q -A -t "$@"
}

# equal GOT EXPECTED: the reason goes to where check finds it.
equal() {
    [ "$1" = "$2" ] || {
        printf 'expected [%s], got [%s]\n' "$2" "$1" >>"$folder/reason"
        return 1
    }
}

check() { # NAME is also the function's
    : >"$folder/reason"
    if "$1" 2>>"$folder/reason"; then
        echo "ok $1"
    else
        failed=1
        echo "not ok $1: $(tr '\n' ' ' <"$folder/reason")"
    fi
}

connect_scram_tls() {
    local info
    info=$(psql "$url&channel_binding=require" -X -c '\conninfo')
    case $info in
    *TLSv1.3*) ;;
    *) equal "$info" "a TLS connection" ;;
    esac
}

plain_text_by_choice() {
    equal "$(sql "${url/sslmode=verify-full/sslmode=disable}" -c 'SELECT 1')" 1
}

wrong_password_refused() {
    local out
    out=$(sql "${url/app-secret/not-it}" -c 'SELECT 1' 2>&1) && return 1
    case $out in
    *"authentication failed"*) ;;
    *) equal "$out" "authentication failed" ;;
    esac
}

types_text() {
    equal "$(sql "$url" -c "SET TimeZone = 'UTC'" -c "
        INSERT INTO types (num, bytes, at, ints, doc, mood, nothing)
        VALUES (12345678901234567890.000000000123, '\\x00ff5c', '2024-02-29 23:59:59.123456+00', '{1,NULL,3}',
                '{\"a\": [1, 2.5, null]}', 'Very Keen', NULL)
        RETURNING num, bytes, at, ints, doc, mood, nothing IS NULL")" \
        '12345678901234567890.000000000123|\x00ff5c|2024-02-29 23:59:59.123456+00|{1,NULL,3}|{"a": [1, 2.5, null]}|Very Keen|t'
}

prepared_by_sql() {
    equal "$(sql "$url" -c 'PREPARE mine (int) AS SELECT $1 + 1' -c 'EXECUTE mine(1)' -c 'EXECUTE mine(2)' \
        -c 'DEALLOCATE mine')" $'2\n3'
}

transaction_and_savepoint() {
    equal "$(sql "$url" <<'SQL' 2>/dev/null
DELETE FROM scratch;
BEGIN;
INSERT INTO scratch VALUES (1, 'kept');
SAVEPOINT here;
INSERT INTO scratch VALUES (1, 'twice');
ROLLBACK TO here;
INSERT INTO scratch VALUES (3, 'kept');
COMMIT;
SELECT string_agg(id::text, ',' ORDER BY id) FROM scratch;
SQL
    )" 1,3
}

error_then_usable() {
    equal "$(sql "$url" -v VERBOSITY=sqlstate -c 'SELECT 1/0' -c 'SELECT 1' 2>&1)" $'ERROR:  22012\n1'
}

notices_come_through() {
    local out
    out=$(sql "$url" -c "DO \$\$ BEGIN RAISE WARNING 'mind the gap'; END \$\$" 2>&1)
    equal "$out" "WARNING:  mind the gap"
}

several_statements_in_one_query() {
    equal "$(sql "$url" -c 'SELECT 1; SELECT 2; BEGIN; SELECT 3; COMMIT')" $'1\n2\n3'
}

rows_in_portions() {
    equal "$(sql "$url" -v FETCH_COUNT=100 -c 'SELECT n FROM generate_series(1, 1000) AS n' | awk '{ sum += $1 } END { print sum }')" 500500
}

copy_in_and_out() {
    seq 1 20000 | awk '{ print $1 "\trow " $1 " é" }' >"$folder/in"
    sql "$url" -c 'DELETE FROM scratch' -c "\\copy scratch FROM '$folder/in'" \
        -c "\\copy (SELECT * FROM scratch ORDER BY id) TO '$folder/out'" -c 'DELETE FROM scratch' &&
        cmp "$folder/in" "$folder/out"
}

copy_error_then_usable() {
    printf 'bad\n' >"$folder/bad"
    equal "$(sql "$url" -v VERBOSITY=sqlstate -c "\\copy scratch FROM '$folder/bad'" -c 'SELECT 1' 2>&1)" $'ERROR:  22P02\n1'
}

large_rows() {
    equal "$(sql "$url" -c "SELECT repeat('x', 30000000)" | wc -c)" 30000001
}

# psql sends a cancel request when it is interrupted.
cancel() {
    psql "$url" -X -q -A -t -v VERBOSITY=sqlstate -c 'SELECT pg_sleep(30)' >"$folder/cancelled" 2>&1 &
    local process=$! began=$SECONDS
    sleep 0.5
    kill -INT $process
    wait $process
    equal "$(grep -c 57014 "$folder/cancelled")" 1 && [ $((SECONDS - began)) -lt 5 ]
}

settings_apart() {
    (
        echo 'SET search_path = tenant_a; SET application_name = mine;'
        for _ in 1 2 3 4 5; do
            echo 'SELECT owner || current_setting($$application_name$$) FROM secrets;'
            sleep 0.1
        done
    ) | sql "$single" >"$folder/a" &
    local process=$! turn
    for turn in 1 2 3 4; do
        sql "${single}&options=-csearch_path%3Dtenant_b" -c 'SELECT owner FROM secrets'
        sleep 0.1
    done >"$folder/b"
    wait $process
    equal "$(sort -u "$folder/a")" amine && equal "$(sort -u "$folder/b")" b && equal "$(wc -l <"$folder/b")" 4
}

listen_notify() {
    equal "$(sql "$url" -c 'LISTEN news' -c "NOTIFY news, 'hello'" -c 'SELECT 1' | grep -c 'with payload "hello"')" 1
}

described_tables() {
    psql "$url" -X -c '\d books' | grep -q books_author_id_fkey
}

dump_through_the_port() {
    pg_dump "$url" --schema=public >"$folder/dump.sql" && grep -q 'CREATE TABLE public.authors' "$folder/dump.sql" &&
        grep -q 'Ursula K. Le Guin' "$folder/dump.sql"
}

bench_in_every_mode() {
    local mode
    sql "$url" -c 'SELECT 1' >/dev/null || return 1
    printf '%s\n' '\set id random(1, 6)' 'SELECT title FROM books WHERE id = :id;' >"$folder/bench.sql"
    for mode in simple extended prepared; do
        pgbench "$url" -n -M $mode -c 12 -j 2 -t 50 -f "$folder/bench.sql" >"$folder/bench.out" 2>&1 ||
            { cat "$folder/bench.out" >>"$folder/reason"; return 1; }
        grep -q 'actually processed: 600/600' "$folder/bench.out" || return 1
    done
}

include() {
    equal "$(sql "$url" -c '/* @include(books(order: id, columns: [id, title])) */ SELECT id FROM authors WHERE id IN (2, 4) ORDER BY id' |
        tr -d ' ')" $'2|[{"id":4,"title":"SmallGods"},{"id":5,"title":"Mort"}]\n4|[]' &&
        equal "$(sql "$url" -c "SELECT title FROM books WHERE id = 4 -- @include(publisher)" | grep -c London)" 1
}

include_of_nothing_known() {
    local out
    out=$(sql "$url" -c '/* @include(boks) */ SELECT id FROM authors' -c 'SELECT 1' 2>&1)
    case $out in
    *ERROR*HINT*books*1) ;;
    *) equal "$out" "an error with a hint, then 1" ;;
    esac
}

upsert() {
    equal "$(sql "$url" <<'SQL'
BEGIN;
/* @upsert(email) */ INSERT INTO authors (name, email) VALUES ('First', 'psql@example.org');
/* @upsert(email) */ INSERT INTO authors (name, email) VALUES ('Second', 'psql@example.org');
SELECT name FROM authors WHERE email = 'psql@example.org';
ROLLBACK;
SQL
    )" Second
}

for name in connect_scram_tls plain_text_by_choice wrong_password_refused types_text prepared_by_sql \
    transaction_and_savepoint error_then_usable notices_come_through several_statements_in_one_query \
    rows_in_portions copy_in_and_out copy_error_then_usable large_rows cancel settings_apart listen_notify \
    described_tables dump_through_the_port bench_in_every_mode; do
    check $name
done
if [ "${TWINPORT_TEST_ANNOTATED:-}" = 1 ]; then
    for name in include include_of_nothing_known upsert; do
        check $name
    done
fi
exit $failed
