//! What is sent when: requests sent in advance, answers that nobody reads, a COPY that fails, a statement with a time
//! of its own, a client that never pauses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::support::{Scene, on_both};

on_both! {
    a_time_is_that_of_one_statement,
    a_time_that_is_over_hits_nothing_else,
    a_copy_sent_in_advance_may_fail,
    answers_of_our_own_come_at_a_flush,
    what_nobody_reads_is_not_gathered,
    who_never_pauses_lets_go_of_the_connection,
}

async fn a_time_is_that_of_one_statement(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    let mut client = scene.raw().await?;
    let short = "/* @timeout(400ms) */ SELECT 1";
    // The first's end doesn't take the second's time away.
    client
        .parse("", "/* @timeout(60s) */ SELECT pg_sleep(0.1)")
        .run("")
        .end_batch();
    client
        .parse("", "/* @timeout(400ms) */ SELECT pg_sleep(60)")
        .run("")
        .end_batch();
    assert_eq!(client.answer().await?, "12DCZ");
    assert_eq!(client.answer().await?, "12E[57014]Z");
    let own = "canceling statement due to @timeout(400ms)";
    assert_eq!(client.errors, [own]);
    // It begins when the server comes to it.
    client.query("BEGIN").answer().await?;
    client.parse("", "SELECT pg_sleep(1)").run("").end_batch();
    client.parse("", short).run("").end_batch();
    client.query("/* @timeout(60s) */ SELECT 1");
    assert_eq!(client.answer().await?, "12DCZ");
    assert_eq!(client.answer().await?, "12DCZ");
    assert_eq!(client.answer().await?, "TDCZ");
    client.query("COMMIT").answer().await?;
    // It ends with the answer, and not with the batch.
    client.parse("", short).run("").flush().await?;
    client.until(b'C').await?;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(
        client
            .parse("", "SELECT pg_sleep(0.2)")
            .run("")
            .sync()
            .await?,
        "12DCZ"
    );
    client.parse("", short).run("");
    client.parse("", "SELECT pg_sleep(1)").run("");
    assert_eq!(client.sync().await?, "12DC12DCZ");
    // To describe a statement is not to run it.
    assert_eq!(client.parse("kept", short).sync().await?, "1Z");
    client.describe("kept").flush().await?;
    client.until(b'T').await?;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(client.run("kept").sync().await?, "2DCZ");
    Ok(())
}

async fn a_time_that_is_over_hits_nothing_else(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    let mut client = scene.raw().await?;
    for round in 0..60 {
        client.query("BEGIN").answer().await?;
        // The statement ends just as its time does.
        let sleep = format!(
            "/* @timeout(50ms) */ SELECT pg_sleep(0.0{})",
            460 + round * 2
        );
        client.query(&sleep).query("SELECT pg_sleep(0.01)");
        let first = client.answer().await?;
        let second = client.answer().await?;
        let expected = match &*first {
            "TDCZ" => "TDCZ",
            _ => "E[25P02]Z",
        };
        assert_eq!(second, expected, "{first}");
        client.query("ROLLBACK").answer().await?;
    }
    Ok(())
}

async fn a_copy_sent_in_advance_may_fail(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    let mut client = scene.raw().await?;
    client
        .query("CREATE TABLE numbers (i int)")
        .answer()
        .await?;
    let copy = "COPY numbers FROM STDIN";
    for (data, heard) in [("1\n", "12GCZ"), ("bad\n", "12GE[22P02]Z")] {
        client.parse("", copy).run("").end_batch();
        client.copy(data).end_batch();
        client.query("SELECT 8");
        assert_eq!(client.answer().await?, heard);
        assert_eq!(client.answer().await?, "TDCZ");
        assert_eq!(client.query("SELECT 9").answer().await?, "TDCZ");
        client.query(copy).copy(data).query("SELECT 8");
        assert!(client.answer().await?.starts_with('G'));
        assert_eq!(client.answer().await?, "TDCZ");
    }
    // It doesn't begin: each Sync counts.
    client
        .parse("", "COPY nothing FROM STDIN")
        .run("")
        .end_batch();
    client.copy("1\n").end_batch();
    assert_eq!(client.answer().await?, "12E[42P01]Z");
    assert_eq!(client.answer().await?, "Z");
    client.query("COPY nothing FROM STDIN").copy("1\n");
    assert_eq!(client.answer().await?, "E[42P01]Z");
    let mut other = scene.raw().await?;
    let count = "SELECT 1 / (count(*) = 2)::int FROM numbers";
    assert_eq!(
        other.query(count).answer().await?,
        "TDCZ",
        "the connection is free"
    );
    assert_eq!(client.query(count).answer().await?, "TDCZ");
    Ok(())
}

async fn answers_of_our_own_come_at_a_flush(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    let mut client = scene.raw().await?;
    client.parse("kept", "SELECT 1").sync().await?;
    client.run("kept").close("kept").flush().await?;
    assert_eq!(client.until(b'3').await?, "2DC3");
    assert_eq!(client.sync().await?, "Z");
    Ok(())
}

async fn what_nobody_reads_is_not_gathered(major: u32) -> Result<()> {
    /// More than the system holds back on its way from the one to the other.
    const MOST: usize = 64 << 20;
    let scene = Scene::on(major, 1, "").await?;
    for asleep in [false, true] {
        let mut client = scene.raw().await?;
        if asleep {
            client.query("SELECT pg_sleep(60)").send().await?;
        }
        for _ in 0..20_000 {
            client.end_batch();
        }
        let syncs = std::mem::take(&mut client.out);
        let mut sent = 0;
        while client.takes(&syncs).await? {
            sent += syncs.len();
            ensure!(sent < MOST, "the proxy goes on to read");
        }
    }
    Ok(())
}

async fn who_never_pauses_lets_go_of_the_connection(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "wait_timeout = \"8s\"").await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let pump = tokio::spawn(async move {
        let work = "SELECT pg_sleep(0.01)";
        for _ in 0..5 {
            a.query(work);
        }
        a.send().await?;
        let mut due = 5;
        while due > 0 {
            assert_eq!(a.until(b'Z').await?, "TDCZ");
            due -= 1;
            if !stopped.load(Ordering::Relaxed) {
                a.query(work).send().await?;
                due += 1;
            }
        }
        anyhow::Ok(())
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..3 {
        assert_eq!(b.query("SELECT 1").answer().await?, "TDCZ");
    }
    stop.store(true, Ordering::Relaxed);
    pump.await?
}
