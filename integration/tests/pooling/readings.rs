//! The server reads a text's literals and names when it prepares it, by the session's settings and temporary tables:
//! whoever has others prepares it for himself.

use anyhow::{Context, Result};

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

on_both! {
    tables_that_are_shadowed,
    settings_of_who_prepared_first,
    settings_of_a_transaction,
}
