//! The server reads a text's literals and names when it prepares it, by the session's settings and temporary tables:
//! whoever has others prepares it for himself.

use anyhow::{Context, Result};

use super::pair::Pair;
use super::raw::Raw;
use super::support::{Scene, on_both};

const TIME: &str = "SELECT timestamptz '2024-01-02 00:00' AT TIME ZONE 'UTC'";
const UTC: &str = "2024-01-02 00:00:00";
const TOKYO: &str = "2024-01-01 15:00:00";

/// What a client reads by a statement of its own that it prepares.
async fn prepares(client: &mut Raw, name: &str, sql: &str) -> Result<String> {
    client.taken();
    let tags = client.parse(name, sql).run(name).sync().await?;
    anyhow::ensure!(tags == "12DCZ", "{tags}");
    let rows = client.taken();
    rows.first().cloned().context("no row")
}

async fn settings_of_who_prepared_first(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    for (set, sql, of_a, of_b) in [
        ("SET TIME ZONE 'Asia/Tokyo'", TIME, TOKYO, UTC),
        (
            "SET datestyle = 'SQL, DMY'",
            "SELECT extract(month FROM date '01/02/2024')",
            "2",
            "1",
        ),
        (
            "SET client_encoding = 'LATIN1'",
            "SELECT length('\u{e9}')",
            "2",
            "1",
        ),
        (
            "SET transform_null_equals = on",
            "SELECT (1 = NULL) IS NULL",
            "f",
            "t",
        ),
    ] {
        let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
        b.query("SET TIME ZONE 'UTC'").answer().await?;
        a.query(set).answer().await?;
        assert_eq!(prepares(&mut a, "s", sql).await?, of_a, "a after {set}");
        assert_eq!(prepares(&mut b, "s", sql).await?, of_b, "b after {set}");
        assert_eq!(prepares(&mut a, "t", sql).await?, of_a, "a after {set}");
    }
    Ok(())
}

async fn settings_of_a_transaction(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    for set in [
        "SET LOCAL TIME ZONE 'Asia/Tokyo'",
        "SET timezone = 'Asia/Tokyo'",
        "SELECT set_config('TimeZone', 'Asia/Tokyo', true)",
    ] {
        for a_is_first in [true, false] {
            let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
            for client in [&mut a, &mut b] {
                client.query("SET TIME ZONE 'UTC'").answer().await?;
            }
            // Nobody has prepared it before.
            let sql = format!("{TIME} -- {set} {a_is_first}");
            if !a_is_first {
                assert_eq!(prepares(&mut b, "s", &sql).await?, UTC, "{sql}");
            }
            a.query("BEGIN").answer().await?;
            a.query(set).answer().await?;
            assert_eq!(prepares(&mut a, "s", &sql).await?, TOKYO, "{sql}");
            a.query("SET LOCAL TIME ZONE 'UTC'").answer().await?;
            assert_eq!(prepares(&mut a, "u", &sql).await?, UTC, "{sql}");
            a.query("ROLLBACK").answer().await?;
            assert_eq!(prepares(&mut b, "t", &sql).await?, UTC, "{sql}");
            assert_eq!(prepares(&mut a, "t", &sql).await?, UTC, "{sql}");
        }
    }
    Ok(())
}

async fn tables_that_are_shadowed(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    // From here on the connection knows of temporary tables.
    b.query("CREATE TEMP TABLE t (i int)").answer().await?;
    b.query("DROP TABLE t").answer().await?;
    let sql = "SELECT count(*) FROM scratch";
    assert_eq!(prepares(&mut b, "s", sql).await?, "0");
    a.query("BEGIN").answer().await?;
    a.query("CREATE TEMP TABLE scratch AS VALUES (1), (2)")
        .answer()
        .await?;
    assert_eq!(prepares(&mut a, "s", sql).await?, "2");
    a.query("COMMIT").answer().await?;
    assert_eq!(prepares(&mut a, "t", sql).await?, "2");
    a.query("DROP TABLE scratch").answer().await?;
    assert_eq!(prepares(&mut b, "t", sql).await?, "0");
    assert_eq!(prepares(&mut a, "u", sql).await?, "0");
    Ok(())
}

/// Functions that set something without a word of it in the statement, and one that does not.
const FUNCTIONS: &str = "
    CREATE FUNCTION away() RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN PERFORM set_config('Time' || 'Zone', 'Asia/Tokyo', false); END $$;
    CREATE FUNCTION within() RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN PERFORM set_config('TimeZone', 'Asia/Tokyo', true); END $$;
    CREATE FUNCTION far() RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN EXECUTE 'SET time' || 'zone = ''Asia/Tokyo'''; END $$;
    CREATE FUNCTION still() RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN EXECUTE 'SELECT ' || '1'; END $$";

const FAR: &str = "DO $$ BEGIN EXECUTE 'SET LOCAL time' || 'zone = ''Asia/Tokyo'''; END $$";

async fn settings_of_functions(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene.admin.batch_execute(FUNCTIONS).await?;
    pair.learned().await?;
    let changes = ["SELECT away()", "SELECT within()", "SELECT far()", FAR];
    for (number, change) in changes.into_iter().enumerate() {
        for a_is_first in [true, false] {
            let (mut a, mut b) = (pair.scene.raw().await?, pair.scene.raw().await?);
            for client in [&mut a, &mut b] {
                client.query("SET TIME ZONE 'UTC'").answer().await?;
            }
            let sql = format!("{TIME} -- {number} {a_is_first}");
            if !a_is_first {
                assert_eq!(prepares(&mut b, "s", &sql).await?, UTC, "{change}");
            }
            a.query("BEGIN").answer().await?;
            a.query(change).answer().await?;
            assert_eq!(prepares(&mut a, "s", &sql).await?, TOKYO, "{change}");
            a.query("ROLLBACK").answer().await?;
            assert_eq!(prepares(&mut b, "t", &sql).await?, UTC, "{change}");
            assert_eq!(prepares(&mut a, "t", &sql).await?, UTC, "{change}");
        }
    }
    Ok(())
}

async fn settings_of_functions_in_a_pipeline(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene.admin.batch_execute(FUNCTIONS).await?;
    pair.learned().await?;
    let changes = ["SELECT within()", "SELECT far()", FAR];
    for (number, change) in changes.into_iter().enumerate() {
        for b_is_first in [true, false] {
            let (mut a, mut b) = (pair.scene.raw().await?, pair.scene.raw().await?);
            for client in [&mut a, &mut b] {
                client.query("SET TIME ZONE 'UTC'").answer().await?;
                client.taken();
            }
            let sql = format!("{TIME} -- {number} {b_is_first}");
            if b_is_first {
                assert_eq!(prepares(&mut b, "s", &sql).await?, UTC, "{change}");
            }
            a.query("BEGIN").answer().await?;
            a.parse("", change).run("").parse("s", &sql).run("s");
            a.sync().await?;
            assert_eq!(a.taken().last().map(String::as_str), Some(TOKYO));
            a.query("ROLLBACK").answer().await?;
            assert_eq!(prepares(&mut b, "t", &sql).await?, UTC, "{change}");
            assert_eq!(prepares(&mut a, "t", &sql).await?, UTC, "{change}");
        }
    }
    Ok(())
}

async fn settings_that_no_server_reports(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene
        .admin
        .batch_execute(
            "CREATE FUNCTION equal() RETURNS void LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM set_config('transform_null_equals', 'on', false); END $$;
             CREATE FUNCTION equal_within() RETURNS void LANGUAGE plpgsql AS
                 $$ BEGIN SET LOCAL transform_null_equals = on; END $$;
             CREATE FUNCTION shade() RETURNS void LANGUAGE plpgsql AS
                 $$ BEGIN CREATE TEMP TABLE scratch AS VALUES (1), (2); END $$",
        )
        .await?;
    pair.learned().await?;
    // From here on the connection knows of temporary tables.
    pair.b
        .batch_execute("CREATE TEMP TABLE t (); DROP TABLE t")
        .await?;
    let (mut a, mut b) = (pair.scene.raw().await?, pair.scene.raw().await?);
    for (change, sql, of_a, of_b) in [
        ("SELECT equal()", "SELECT (1 = NULL) IS NULL", "f", "t"),
        (
            "SELECT equal_within()",
            "SELECT (2 = NULL) IS NULL",
            "f",
            "t",
        ),
        ("SELECT shade()", "SELECT count(*) FROM scratch", "2", "0"),
    ] {
        assert_eq!(prepares(&mut b, "s", sql).await?, of_b, "{change}");
        a.query("BEGIN").answer().await?;
        a.query(change).answer().await?;
        assert_eq!(prepares(&mut a, "s", sql).await?, of_a, "{change}");
        a.query("ROLLBACK").answer().await?;
        assert_eq!(prepares(&mut b, "t", sql).await?, of_b, "{change}");
        assert_eq!(prepares(&mut a, "t", sql).await?, of_b, "{change}");
        for client in [&mut a, &mut b] {
            client.close("s").close("t").sync().await?;
        }
    }
    Ok(())
}

/// What the end of a transaction, or of a part of it, takes back counts at once for what is sent behind it.
async fn settings_that_are_taken_back_in_a_pipeline(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    let nulls = "SELECT (1 = NULL) IS NULL";
    let utc = "SET TIME ZONE 'UTC'";
    for (set, sql, within, outside) in [
        ("SET LOCAL TIME ZONE 'Asia/Tokyo'", TIME, TOKYO, UTC),
        ("SET LOCAL transform_null_equals = on", nulls, "f", "t"),
    ] {
        for back in ["ROLLBACK TO s", "ROLLBACK", "COMMIT"] {
            for turn in ["a batch", "a query", "waits"] {
                let mut a = scene.raw().await?;
                a.query(utc).answer().await?;
                a.query("BEGIN; SAVEPOINT s").answer().await?;
                a.query(set).answer().await?;
                // Nobody has prepared it before.
                let sql = format!("{sql} -- {set} {back} {turn}");
                assert_eq!(prepares(&mut a, "s", &sql).await?, within, "{sql}");
                a.taken();
                if turn == "a batch" {
                    a.parse("", back).run("");
                } else {
                    a.query(back);
                }
                if turn == "waits" {
                    a.answer().await?;
                }
                a.parse("t", &sql).run("t").end_batch().send().await?;
                while a.rows.is_empty() {
                    a.until(b'Z').await?;
                }
                assert_eq!(a.taken(), [outside], "{sql}");
                a.query("ROLLBACK").answer().await?;
            }
        }
    }
    Ok(())
}

/// Whoever may have changed something, and has not, shares as ever.
async fn functions_that_set_nothing(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene.admin.batch_execute(FUNCTIONS).await?;
    pair.learned().await?;
    let mut a = pair.scene.raw().await?;
    let sql = "SELECT 'shared'";
    assert_eq!(prepares(&mut a, "s", sql).await?, "shared");
    for _ in 0..3 {
        a.query("BEGIN").answer().await?;
        a.query("SELECT still()").answer().await?;
        assert_eq!(a.run("s").sync().await?, "2DCZ");
        a.query("COMMIT").answer().await?;
    }
    // It has not been prepared anew: the next to be prepared is the second.
    assert_eq!(prepares(&mut a, "t", "SELECT 'next'").await?, "next");
    let name = "SELECT name FROM pg_prepared_statements WHERE statement = 'SELECT ''next'''";
    assert_eq!(a.ask(name).await?.1, ["_tp2"]);
    Ok(())
}

async fn tables_made_earlier_in_the_path(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    scene
        .admin
        .batch_execute(
            "CREATE SCHEMA app AUTHORIZATION app; CREATE SCHEMA far AUTHORIZATION app;
             ALTER ROLE app SET search_path = app, public",
        )
        .await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    let sql = "SELECT count(*) FROM scratch";
    let fill = "AS VALUES (1), (2)";
    for (number, [make, bring]) in [
        ["SELECT 1", "CREATE TABLE app.scratch"],
        ["SELECT 1", "CREATE VIEW app.scratch"],
        [
            "CREATE TABLE app.other",
            "ALTER TABLE app.other RENAME TO scratch",
        ],
        [
            "CREATE TABLE far.scratch",
            "ALTER TABLE far.scratch SET SCHEMA app",
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let filled = |sql: &str| match sql.strip_prefix("CREATE") {
            Some(_) => format!("{sql} {fill}"),
            None => sql.to_owned(),
        };
        let name = |place: &str| format!("{place}{number}");
        a.query(&filled(make)).answer().await?;
        assert_eq!(prepares(&mut b, &name("s"), sql).await?, "0");
        a.query("BEGIN").answer().await?;
        a.query(&filled(bring)).answer().await?;
        assert_eq!(prepares(&mut a, &name("s"), sql).await?, "2", "{bring}");
        a.query("COMMIT").answer().await?;
        assert_eq!(prepares(&mut a, &name("t"), sql).await?, "2", "{bring}");
        assert_eq!(prepares(&mut b, &name("t"), sql).await?, "2", "{bring}");
        let kind = if bring.contains("VIEW") {
            "VIEW"
        } else {
            "TABLE"
        };
        a.query(&format!("DROP {kind} app.scratch"))
            .answer()
            .await?;
        for client in [&mut a, &mut b] {
            assert_eq!(prepares(client, &name("u"), sql).await?, "0", "{bring}");
        }
    }
    Ok(())
}

on_both! {
    tables_made_earlier_in_the_path,
    settings_of_functions,
    settings_of_functions_in_a_pipeline,
    settings_that_are_taken_back_in_a_pipeline,
    settings_that_no_server_reports,
    functions_that_set_nothing,
    tables_that_are_shadowed,
    settings_of_who_prepared_first,
    settings_of_a_transaction,
}
