//! A session from its lease to its end: what becomes of a transaction whose connection breaks, of a client that
//! waits, of a statement whose time is over.

use std::time::Duration;

use anyhow::Result;
use twinport_integration::eventually;

use crate::raw::Raw;
use crate::support::{Scene, on_both};

on_both! {
    a_transaction_that_is_lost_ends_its_session,
    a_statement_that_is_lost_alone_is_told_and_survived,
    settings_that_cannot_be_had_again_end_the_session,
    who_waits_in_the_queue_can_be_told_and_cancelled,
    a_reset_goes_to_what_was_asked_for_at_login,
    a_short_statement_timeout_does_not_pin,
    what_outlasts_the_shutdown_is_told_and_cancelled,
}

/// What follows must not run outside of the transaction that it belongs to.
async fn a_transaction_that_is_lost_ends_its_session(major: u32) -> Result<()> {
    let scene = Scene::on(major, 2, "").await?;
    let count = "SELECT count(*) FROM scratch";
    // While a statement of it runs; while the client is silent; in a pipeline whose transaction may have begun.
    for pipelined in [false, true] {
        let mut client = scene.raw().await?;
        client.query("BEGIN; INSERT INTO scratch VALUES (1, 'a')");
        if !pipelined {
            assert_eq!(client.answer().await?, "CCZ");
        }
        client.query("SELECT pg_sleep(60)").send().await?;
        eventually("the statement runs", async || {
            Ok(scene.running("pg_sleep").await? == 1)
        })
        .await?;
        client.query("INSERT INTO scratch VALUES (2, 'b')");
        client.query("COMMIT").send().await?;
        scene.terminate("pg_sleep").await?;
        let heard = client.until_closed().await?;
        assert!(heard.ends_with("E[57P01]"), "{heard}");
        let rows: i64 = scene.admin.query_one(count, &[]).await?.get(0);
        assert_eq!(rows, 0);
        eventually("its backend is gone", async || {
            Ok(scene.running("pg_sleep").await? == 0)
        })
        .await?;
    }
    let mut client = scene.raw().await?;
    client.query("BEGIN").answer().await?;
    client.query("SELECT 'silent'").answer().await?;
    scene.terminate("silent").await?;
    assert_eq!(client.until_closed().await?, "E[57P01]");
    Ok(())
}

async fn a_statement_that_is_lost_alone_is_told_and_survived(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    let mut client = scene.raw().await?;
    client.query("BEGIN; COMMIT").answer().await?;
    for extended in [false, true] {
        let sleep = "SELECT pg_sleep(60)";
        if extended {
            client.parse("", sleep).run("").flush().await?;
        } else {
            client.query(sleep).send().await?;
        }
        eventually("the statement runs", async || {
            Ok(scene.running("pg_sleep").await? == 1)
        })
        .await?;
        scene.terminate("pg_sleep").await?;
        let heard = client.until(b'E').await?;
        assert!(heard.ends_with("E[57P01]"), "{heard}");
        if extended {
            // The rest of its batch is passed over.
            assert_eq!(client.query("SELECT 1").sync().await?, "Z");
        } else {
            assert_eq!(client.until(b'Z').await?, "Z");
        }
        assert_eq!(client.query("SELECT 1").answer().await?, "TDCZ");
        // It is told before it goes, and would be taken for the next.
        eventually("its backend is gone", async || {
            Ok(scene.running("pg_sleep").await? == 0)
        })
        .await?;
    }
    // What an earlier statement under the same lease has set is lost, too.
    client.query("SET search_path = tenant_a");
    client.query("SELECT pg_sleep(60)").send().await?;
    eventually("the statement runs", async || {
        Ok(scene.running("pg_sleep").await? == 1)
    })
    .await?;
    scene.terminate("pg_sleep").await?;
    let heard = client.until_closed().await?;
    assert!(
        heard.starts_with('C') && heard.ends_with("E[57P01]"),
        "{heard}"
    );
    Ok(())
}

async fn settings_that_cannot_be_had_again_end_the_session(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    scene
        .admin
        .batch_execute("CREATE ROLE leaves; GRANT leaves TO app")
        .await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    a.query("SET role = leaves").answer().await?;
    b.query("SELECT 1").answer().await?;
    scene.admin.batch_execute("DROP ROLE leaves").await?;
    a.query("SELECT 1").send().await?;
    assert_eq!(a.until_closed().await?, "E[22023]");
    assert_eq!(b.query("SELECT 1").answer().await?, "TDCZ");
    Ok(())
}

async fn who_waits_in_the_queue_can_be_told_and_cancelled(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "wait_timeout = \"2s\"").await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    a.query("BEGIN").answer().await?;
    // The client of a Flush waits for the answer to what it has sent so far.
    b.parse("", "SELECT 1").flush().await?;
    assert_eq!(b.until(b'E').await?, "E[53300]");
    assert_eq!(b.run("").sync().await?, "Z");
    drop((a, b));

    let scene = Scene::on(major, 1, "wait_timeout = \"60s\"").await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    a.query("BEGIN").answer().await?;
    b.query("SELECT 1").send().await?;
    // Too early, it would have nothing to end.
    tokio::time::sleep(Duration::from_millis(500)).await;
    b.cancel().await?;
    assert_eq!(b.answer().await?, "E[57014]Z");
    b.parse("", "SELECT 1").flush().await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    b.cancel().await?;
    assert_eq!(b.until(b'E').await?, "E[57014]");
    assert_eq!(b.sync().await?, "Z");
    a.query("COMMIT").answer().await?;
    assert_eq!(b.query("SELECT 1").answer().await?, "TDCZ");
    Ok(())
}

async fn a_reset_goes_to_what_was_asked_for_at_login(major: u32) -> Result<()> {
    const ASK: &str = "SELECT 1 / (current_setting('search_path') = 'tenant_a')::int";
    for lines in ["", "mode = \"session\""] {
        let scene = Scene::on(major, 1, lines).await?;
        let mut client = scene.raw_with("-c search_path=tenant_a").await?;
        // Alone, pipelined, in a transaction, where it fails, and in a session that keeps its connection.
        for reset in [
            "RESET ALL",
            "RESET search_path",
            "SET search_path TO DEFAULT",
            "DISCARD ALL",
        ] {
            client.query(reset).query(ASK);
            assert_eq!(heard(&mut client).await?, "CZ", "{reset} {lines}");
            assert_eq!(heard(&mut client).await?, "TDCZ", "{reset} {lines}");
            client.parse("", reset).run("").sync().await?;
            assert_eq!(heard(client.query(ASK)).await?, "TDCZ", "{reset} {lines}");
        }
        client.query("BEGIN").answer().await?;
        client.query("RESET ALL").answer().await?;
        assert_eq!(heard(client.query(ASK)).await?, "TDCZ");
        client.query("SELECT 1 / 0").answer().await?;
        assert_eq!(client.query("RESET ALL").answer().await?, "E[25P02]Z");
        client.query("ROLLBACK").answer().await?;
        client.query("LISTEN news").answer().await?;
        client.query("RESET ALL").answer().await?;
        assert_eq!(heard(client.query(ASK)).await?, "TDCZ");
        // What the client has set itself stays when it takes something else back.
        client.query("SET search_path = tenant_b").answer().await?;
        client.query("RESET work_mem").answer().await?;
        assert_eq!(heard(client.query(ASK)).await?, "TE[22012]Z");
    }
    Ok(())
}

/// An answer without what the server reports of its settings: newer ones report more of them.
async fn heard(client: &mut Raw) -> Result<String> {
    Ok(client.answer().await?.replace('S', ""))
}

async fn a_short_statement_timeout_does_not_pin(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    a.query("SET statement_timeout = '1ms'").answer().await?;
    for _ in 0..20 {
        assert_eq!(b.query("SELECT 1").answer().await?, "TDCZ");
        // It may be cancelled, but what it leaves is asked without hurry.
        a.query("SET work_mem = '5MB'").answer().await?;
    }
    let keeps = "SELECT 1 / (current_setting('statement_timeout') = '1ms')::int";
    eventually("the client still has its own", async || {
        Ok(a.query(keeps).answer().await? == "TDCZ")
    })
    .await?;
    // A cancel that comes late doesn't hit our question instead.
    let mut c = scene.raw().await?;
    for _ in 0..50 {
        c.query("SET work_mem = '6MB'").send().await?;
        c.cancel().await?;
        c.answer().await?;
    }
    assert_eq!(b.query("SELECT 1").answer().await?, "TDCZ");
    Ok(())
}

async fn what_outlasts_the_shutdown_is_told_and_cancelled(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "wait_timeout = \"60s\"").await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    a.query("SELECT pg_sleep(120)").send().await?;
    eventually("the statement runs", async || {
        Ok(scene.running("pg_sleep").await? == 1)
    })
    .await?;
    b.query("SELECT 1").send().await?;
    eventually("the other waits", async || Ok(scene.waiting() == 1)).await?;
    let (admin, _world) = scene.stop().await;
    let heard = a.until_closed().await?;
    assert!(heard.ends_with("E[57P01]"), "{heard}");
    assert_eq!(b.until_closed().await?, "E[57P01]");
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(120)%'
        AND pid <> pg_backend_pid()";
    eventually("the statement is cancelled", async || {
        Ok(admin.query_one(sql, &[]).await?.get::<_, i64>(0) == 0)
    })
    .await
}
