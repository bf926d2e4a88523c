//! What the scan sees, and what it must not.

use super::*;

fn effects(sql: &str) -> Effects {
    scan(sql.as_bytes(), &HashSet::from(["touch_session".to_owned()]))
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
        "PREPARE TRANSACTION 'x'",
        "/* plain @include */ SELECT 1 -- a @b",
        "DECLARE c CURSOR FOR SELECT 1",
        "SELECT 1 /* a /* nested */ still */",
        "DO $$ BEGIN PERFORM 1; END $$",
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
    assert_eq!(effects("LOAD 'auto_explain'"), Effects::LOAD);
    assert_eq!(effects("SET LOCAL search_path = a"), Effects::LOCAL);
    assert_eq!(effects("ROLLBACK TO SAVEPOINT a"), Effects::LOCAL);
    assert_eq!(effects("ROLLBACK"), Effects::NONE);
}

proptest::proptest! {
    #[test]
    fn never_panics(sql in ".{0,200}") {
        let _ = effects(&sql);
    }
}
