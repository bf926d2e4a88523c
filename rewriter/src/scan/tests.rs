//! What the scan sees, and what it must not.

use super::*;

fn names() -> Names {
    let builtin = [
        "count",
        "from",
        "now",
        "values",
        "in",
        "as",
        "set_config",
        "distinct",
        "select",
        "pg_advisory_xact_lock",
        "on",
        "numeric",
        "copy",
        "table_to_xml",
        "database_to_xml_and_xmlschema",
        "schema_to_xml",
    ];
    let builtin = builtin.map(|name| name.as_bytes().into());
    Names::new(
        std::sync::Arc::new(builtin.into()),
        ["add_one".to_owned()],
        [(
            "Touch_Session".to_owned(),
            Uses {
                called: Effects::SETTINGS | Effects::STATE,
                ..Uses::default()
            },
        )],
        Effects::NONE,
        Effects::NONE,
    )
}

fn effects(sql: &str) -> Effects {
    scan(sql.as_bytes(), &names(), true)
}

#[test]
fn plain_statements_leave_nothing() {
    for sql in [
        "",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 1;",
        "INSERT INTO t VALUES ('SET x = 1; LISTEN a')",
        "SELECT $$ @include set_config( $$, $1, 'it''s'",
        "BEGIN",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SELECT pg_advisory_xact_lock(1)",
        "INSERT INTO public.t (a, b) VALUES (1, 2) RETURNING count(*)",
        "SELECT add_one(1), \"add_one\" (2) FROM (VALUES (1)) AS v(a) WHERE a IN (1)",
        "SELECT x FROM (SELECT now()) later(x) /* c */ -- d",
        "WITH RECURSIVE t(n) AS (SELECT 1) SELECT n::numeric(10, 2) FROM t",
        "UPDATE t SET note = 'set_config(' WHERE id = 1",
        "SET CONSTRAINTS ALL DEFERRED",
        "TRUNCATE t",
        "CALL add_one(1)",
        "/* plain @include */ SELECT 1 -- a @b",
        "DECLARE c CURSOR FOR SELECT 1",
        "SELECT 1 /* a /* nested */ still */",
        "WITH a AS (SELECT 1) INSERT INTO t (a) SELECT 1",
        "WITH RECURSIVE a(n) AS (SELECT 1), b AS (INSERT INTO t (a) VALUES (1) RETURNING 1) MERGE INTO t USING b ON 1 = 1 WHEN NOT MATCHED THEN INSERT VALUES (1)",
        "EXPLAIN ANALYZE INSERT INTO t (a) VALUES (1)",
        "COPY (INSERT INTO t (a) VALUES (1) RETURNING 1) TO STDOUT",
    ] {
        assert_eq!(effects(sql), Effects::NONE, "{sql}");
    }
}

#[test]
fn settings_are_seen() {
    for sql in [
        "SET a.b = 'x'",
        "set session authorization bob",
        "RESET ALL",
        "SELECT 1; SET x = 2",
        "SELECT pg_catalog.set_config('a', 'b', false)",
        "SELECT \"set_config\"('a', 'b', false)",
        "DO $$ BEGIN SET x = 1; END $$",
        "SELECT Touch_Session()",
        "/* c */ -- d\n SET x = 1",
        "SET \"search_path\" = 'evil'",
        "SET search_path = 'evil'",
        "SET local.tenant = 'x'",
        "SET transaction.tenant = 'x'",
        "SET /* c */ SESSION \"x\" = 1",
        "DO 'BEGIN SET x = 1; END'",
        "DO LANGUAGE plpgsql E'begin end'",
        "UPDATE \"pg_settings\" SET setting = '8MB' WHERE name = 'work_mem'",
        "SELECT U&\"s\\0065t_config\"('work_mem', '1MB', false)",
        "SELECT \"a\"\"b\"()",
        "SELECT unknown_function(1)",
        "SELECT DISTINCT ON (a) unknown_function(1)",
        "SELECT unknown_function /* c */ -- d\n (1)",
        "SELECT s.unknown_function (1)",
        "SELECT t.touch_session FROM t",
        "SELECT 1; CHECK THIS",
        "SELECT E'a'\n'\\'', 'b' ; SET x = 1 --'",
        "SELECT 'a' OPERATOR(pg_catalog.||) set_config('a', 'b', false)",
        "SELECT 'a' OPERATOR /* c */ (pg_catalog.||) unknown_function(1)",
        "SELECT (1) set_config('a', 'b', false)",
        "SELECT 1 AS touch_session (a)",
        "SELECT table_to_xml('v', true, false, '')",
        "SELECT database_to_xml_and_xmlschema(true, false, '')",
        "SELECT schema_to_xml('s', true, false, '')",
    ] {
        assert!(effects(sql).contains(Effects::SETTINGS), "{sql}");
    }
}

#[test]
fn state_is_seen() {
    for sql in [
        "LISTEN a",
        "UNLISTEN *",
        "CREATE TEMP TABLE x (a int)",
        "CREATE LOCAL TEMPORARY TABLE x (a int)",
        "CREATE TABLE pg_temp.x (a int)",
        "SELECT 1 INTO TEMP x",
        "SELECT 1 AS a INTO pg_temp.x",
        "EXPLAIN ANALYZE CREATE TEMP TABLE x AS SELECT 1",
        "SELECT pg_advisory_lock(1)",
        "select PG_TRY_ADVISORY_LOCK_SHARED(1)",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "PREPARE a AS SELECT 1",
        "SELECT E'a\\'; LISTEN x', 1; LISTEN y",
        "SELECT 1 AS a INTO LOCAL TEMP x",
        "SELECT 1 AS a INTO GLOBAL TEMPORARY x",
        "SELECT 1 AS a INTO x",
        "SELECT insert INTO TEMP x FROM (SELECT 1 AS insert) y",
        "SELECT merge INTO x FROM y",
        "SELECT (1) insert INTO TEMP x",
        "SELECT 1 AS insert INTO TEMP x",
        "SELECT a, insert INTO TEMP x FROM y",
        "WITH insert AS (SELECT 1) SELECT (1) insert INTO TEMP x",
        "WITH a AS (SELECT 1) SELECT count(insert) INTO TEMP x",
        "WITH a AS (SELECT 1) SELECT merge INTO TEMP x",
        "SELECT 1 OPERATOR(pg_catalog.=) pg_try_advisory_lock(1)",
        "SELECT (1) pg_advisory_lock(1)",
        "CREATE TABLE \"pg_temp\".x (a int)",
        "CREATE TABLE x (a int)",
        "CREATE FUNCTION PG_TEMP.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "PREPARE \"a\" AS SELECT 1",
        "SELECT pg_create_physical_replication_slot('a', true, true)",
        "SELECT query_to_xml('SELECT set_config(1)', true, false, '')",
    ] {
        assert!(effects(sql).contains(Effects::STATE), "{sql}");
    }
}

#[test]
fn annotations_are_seen_wherever_they_stand() {
    for sql in [
        "/* @include(books) */ SELECT 1",
        "/*@include(books)*/ SELECT 1",
        "SELECT 1 -- @timeout(1s)",
        "SELECT 1 /*\n @timeout(1s) */",
        "--\t\x0b@timeout(1s)",
        "SELECT 1j..RR$a$ -- @timeout(1s)",
        "SELECT $1abc$x$ -- @timeout(1s)",
    ] {
        assert!(effects(sql).contains(Effects::ANNOTATED), "{sql}");
    }
    assert!(!effects("SELECT '/* @include(x) */'").contains(Effects::ANNOTATED));
}

#[test]
fn several_statements_are_counted() {
    assert!(effects("SELECT 1; SELECT 2").contains(Effects::SEVERAL));
    assert!(!effects("SELECT 1;;  ").contains(Effects::SEVERAL));
    assert!(effects("DISCARD ALL").contains(Effects::DISCARD_ALL));
    assert!(effects("CREATE TABLE a (b int)").contains(Effects::DDL));
    let temporary = effects("SELECT 1; CREATE OR REPLACE TEMP VIEW v AS SELECT 1");
    assert!(temporary.contains(Effects::STATE) && !temporary.contains(Effects::DDL));
    assert!(effects("CREATE TABLE temp (a int)").contains(Effects::DDL));
    assert_eq!(effects("LOAD 'auto_explain'"), Effects::LOAD);
    assert_eq!(effects("SET LOCAL search_path = a"), Effects::LOCAL);
    assert_eq!(effects("SET LOCAL \"a.b\" = 1"), Effects::LOCAL);
    assert_eq!(
        effects("SELECT set_config('a.b', $1, true)"),
        Effects::LOCAL
    );
    assert_eq!(effects("ROLLBACK TO SAVEPOINT a"), Effects::LOCAL);
    assert_eq!(effects("ROLLBACK"), Effects::NONE);
}

#[test]
fn names_that_are_computed_are_told_apart() {
    for sql in [
        "SELECT set_config('app.' || $1, 'x', false)",
        "SELECT set_config(name, value, false) FROM t",
        "SELECT set_config(E'a\\x2eb', 'x', false)",
        "SELECT set_config('app.' /* c */ || 'b', 'x', true)",
        "DO 'begin perform set_config(''app.'' || x, ''x'', false); end'",
    ] {
        assert!(effects(sql).contains(Effects::UNTOLD), "{sql}");
    }
    for sql in [
        "SELECT set_config('app.tenant', 'it''s', false)",
        "SELECT set_config($1, f($2, ','), false)",
        "SET app.tenant = 'x'",
        "DO 'begin perform set_config(''app.tenant'', ''x'', false); end'",
    ] {
        assert!(!effects(sql).contains(Effects::UNTOLD), "{sql}");
        assert!(effects(sql).contains(Effects::SETTINGS), "{sql}");
    }
}

#[test]
fn what_ends_with_its_transaction_is_told_by_the_third_argument() {
    for sql in [
        "SELECT set_config('a', 'b', true)",
        "SELECT set_config('a', 'b,''true)', true)",
        "SELECT set_config('a', (array['x', 'y'])[1], TRUE )",
        "SELECT set_config('a', $1, true)",
    ] {
        assert_eq!(effects(sql), Effects::LOCAL, "{sql}");
    }
    for sql in [
        "SELECT set_config('a', $$b,true)$$, false)",
        "SELECT set_config('a', $x$b,true)$x$, false)",
        r#"SELECT set_config('a', E'b,"\',true)"', false)"#,
        r#"SELECT set_config('a', n'b\',true)', false)"#,
        "SELECT set_config('a', U&'b,true)', false)",
        "SELECT set_config('a', array[false, true, false]::text, false)",
        "SELECT set_config('a', array[false, true)",
        "SELECT set_config('a', 'b' /* , true) */, false)",
    ] {
        assert!(effects(sql).contains(Effects::SETTINGS), "{sql}");
    }
}

/// A table with a trigger, a view, and an event trigger.
fn used(sql: &str) -> Effects {
    let uses = |named, called, written| Uses {
        named,
        called,
        written,
    };
    let none = Effects::NONE;
    let keywords = [
        "select",
        "from",
        "set",
        "for",
        "values",
        "on",
        "numeric",
        "in",
        "as",
        "where",
        "using",
        "default",
        "recursive",
    ];
    let keywords = keywords.map(|name| name.as_bytes().into());
    let names = Names::new(
        std::sync::Arc::new(keywords.into()),
        ["plain".to_owned()],
        [
            ("fired".to_owned(), uses(none, none, Effects::HIDDEN)),
            ("seen".to_owned(), uses(Effects::UNTOLD, none, none)),
            ("status".to_owned(), uses(none, Effects::UNTOLD, none)),
            // A function of somebody's own, of the same name as the server's.
            ("set_config".to_owned(), uses(none, Effects::UNTOLD, none)),
        ],
        none,
        Effects::LOAD,
    );
    scan(sql.as_bytes(), &names, true)
}

#[test]
fn a_name_counts_by_how_it_is_used() {
    for sql in [
        "SELECT * FROM fired FOR UPDATE",
        "SELECT status, \"status\" FROM t AS status",
        "SELECT plain(status) FROM fired",
        "ANALYZE fired (a)",
    ] {
        assert_eq!(used(sql), Effects::NONE, "{sql}");
    }
    for sql in [
        "INSERT INTO fired VALUES (1)",
        "WITH a AS (DELETE FROM s.fired RETURNING 1) SELECT 1",
        "WITH a AS (SELECT * FROM fired) UPDATE t SET a = 1",
        "EXPLAIN ANALYZE UPDATE \"Fired\" SET a = 1",
        "COPY fired (a) FROM STDIN",
        "TRUNCATE fired",
        "MERGE INTO fired USING t ON 1 = 1 WHEN MATCHED THEN DELETE",
        "SELECT 1; CALL plain('fired'); SELECT * FROM fired",
        "ALTER TABLE fired ALTER a TYPE int",
    ] {
        assert!(used(sql).contains(Effects::HIDDEN), "{sql}");
    }
    for sql in [
        "SELECT * FROM seen",
        "SELECT status(1)",
        "SELECT status /* c */ (1)",
        "SELECT \"Status\"(1)",
        "SELECT t.status FROM t",
        "SELECT (t) . status FROM t",
        "SELECT 1 OPERATOR(pg_catalog.+) status(1)",
        "CALL status(1)",
        "SELECT set_config(1, 2, true)",
    ] {
        assert!(used(sql).contains(Effects::UNTOLD), "{sql}");
    }
    for sql in [
        "CREATE TABLE t (a int)",
        "CREATE TEMP TABLE t (a int)",
        "DROP TABLE t",
        "DO 'begin end'",
        "GRANT SELECT ON t TO x",
        "REINDEX TABLE t",
        "REFRESH MATERIALIZED VIEW v",
        "SELECT 1 AS a INTO t",
        "SELECT unknown(1)",
    ] {
        assert!(used(sql).contains(Effects::LOAD), "{sql}");
    }
}

#[test]
fn lists_of_columns_are_not_called() {
    for sql in [
        "COPY t (a, b) FROM STDIN",
        "COPY s.t (a) TO STDOUT",
        "WITH a(x) AS (SELECT 1), b(y) AS (SELECT 2), c (z) AS (SELECT plain(3)) SELECT 1 FROM a",
        "WITH RECURSIVE a(x) AS (SELECT 1), b(y) AS (SELECT 2) INSERT INTO t (a) SELECT 1",
        "SELECT i FROM t p (i, j), s.u \"q\" (k)",
        "ANALYZE t (a), u (b)",
        "VACUUM t (a)",
    ] {
        assert_eq!(used(sql), Effects::NONE, "{sql}");
    }
    for sql in [
        "COPY (SELECT unknown(1)) TO STDOUT",
        "COPY t (a) FROM STDIN WHERE unknown(a)",
        "WITH a(x) AS (SELECT unknown(1)) SELECT 1",
        "WITH a(x) AS (SELECT 1), b(y) AS (SELECT unknown(1)) SELECT 1",
        "WITH a(x) AS (SELECT 1) SELECT unknown(1)",
        "WITH a(x) AS (SELECT 1) SELECT 1, unknown(1)",
        "SELECT unknown(1)",
        "SELECT i FROM t p (i), unknown(1)",
        "SELECT fired(1)",
        "CREATE TABLE t AS SELECT unknown(1)",
        "CREATE TABLE t (a int DEFAULT unknown(1))",
        "ALTER TABLE t ALTER a TYPE int USING unknown(a)",
        "CREATE INDEX i ON t (unknown(a))",
    ] {
        assert!(used(sql).contains(Effects::OPAQUE), "{sql}");
    }
    for sql in [
        "CREATE TABLE IF NOT EXISTS t (a numeric(1, 2) REFERENCES u (b))",
        "CREATE TEMP TABLE t (a int)",
        "CREATE INDEX i ON s.t USING btree (plain(a))",
        "CREATE FUNCTION unknown(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION unknown(int)",
    ] {
        assert!(!used(sql).contains(Effects::OPAQUE), "{sql}");
    }
}

#[test]
fn strings_are_read_as_the_server_reads_them() {
    let sql = br"select 'x\''; set search_path = evil --'";
    assert!(scan(sql, &names(), true).is_empty());
    assert!(scan(sql, &names(), false).contains(Effects::SETTINGS));
    let sql = br"select 'x\'; set search_path = evil --'";
    assert!(scan(sql, &names(), true).contains(Effects::SETTINGS));
    assert!(scan(sql, &names(), false).is_empty());
}

#[test]
fn long_names_and_other_alphabets_are_not_trusted() {
    let long = "x".repeat(64);
    assert!(effects(&format!("SELECT {long}()")).contains(Effects::ANYTHING));
    let caf = Names::new(
        std::sync::Arc::default(),
        [],
        [(
            "caf\u{e9}".to_owned(),
            Uses {
                named: Effects::SETTINGS,
                ..Uses::default()
            },
        )],
        Effects::NONE,
        Effects::NONE,
    );
    let latin1 = b"SELECT * FROM caf\xe9";
    assert_eq!(scan(latin1, &caf, true), Effects::SETTINGS);
    assert_eq!(scan(b"SELECT * FROM cafe", &caf, true), Effects::NONE);
}

proptest::proptest! {
    #[test]
    fn never_panics(sql in ".{0,200}") {
        let _ = effects(&sql);
    }
}
