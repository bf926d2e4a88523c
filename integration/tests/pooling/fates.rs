//! What becomes of a statement decides what it leaves: one that failed or was taken back leaves nothing, one that was
//! never executed neither takes nor leaves anything.

use anyhow::Result;
use twinport_integration::eventually;

use super::pair::Pair;
use super::support::{Scene, code, on_both};

const TENANT: &str = "SELECT current_setting('app.tenant', true)";
const COMPUTED: &str = "SELECT set_config('app.' || 'tenant', '42', false)";

async fn a_discard_that_was_not_executed_takes_nothing(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let mut a = pair.scene.raw().await?;
    let hidden =
        "SELECT query_to_xml('SELECT set_con' || 'fig(''app'' || ''.tenant'', ''42'', false)',
        true, false, '')";
    for _ in 0..2 {
        a.query("SELECT pg_advisory_lock(12)").answer().await?;
        a.query(hidden).answer().await?;
        assert_eq!(a.parse("", "DISCARD ALL").bind("", "").sync().await?, "12Z");
        a.query("SELECT pg_advisory_unlock(12)").answer().await?;
        assert_eq!(Pair::read(&pair.b, TENANT).await?, "");
    }
    // Executed, but not as the last one.
    a.query("SELECT pg_advisory_lock(12)").answer().await?;
    a.query("DISCARD ALL").query(hidden);
    assert_eq!(a.answer().await? + &a.answer().await?, "CZTDCZ");
    assert_eq!(Pair::read(&pair.b, TENANT).await?, "");
    Ok(())
}

async fn what_failed_or_was_rolled_back_pins_nobody(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let (a, b) = (&pair.a, &pair.b);
    let failing = "SELECT set_config('app.' || nope, '42', false)";
    assert_eq!(code(&a.batch_execute(failing).await), "42703");
    b.simple_query("SELECT 1").await?;
    for sql in [
        format!("BEGIN; {COMPUTED}; ROLLBACK"),
        format!("BEGIN; {COMPUTED}; SELECT 1/0"),
        format!("{COMPUTED}; SELECT 1/0"),
    ] {
        drop(a.batch_execute(&sql).await);
        drop(a.batch_execute("ROLLBACK").await);
        b.simple_query("SELECT 1").await?;
        assert!(pair.scene.pins().is_empty(), "{sql}");
        assert_eq!(Pair::read(b, TENANT).await?, "", "{sql}");
    }
    // What lasted pins, whatever fails behind it.
    for sql in [
        format!("BEGIN; {COMPUTED}; COMMIT; SELECT 1/0"),
        COMPUTED.to_owned(),
    ] {
        drop(a.batch_execute(&sql).await);
        eventually("it is pinned", async || Ok(!pair.scene.pins().is_empty())).await?;
        assert_eq!(Pair::read(a, TENANT).await?, "42", "{sql}");
        drop(a.batch_execute("SELECT 1/0").await);
        drop(a.batch_execute("BEGIN; RESET ALL; ROLLBACK").await);
        assert_eq!(Pair::read(a, TENANT).await?, "42", "{sql}");
        assert!(!pair.scene.pins().is_empty(), "{sql}");
        a.batch_execute("DISCARD ALL").await?;
        assert_eq!(Pair::read(b, TENANT).await?, "", "{sql}");
    }
    Ok(())
}

async fn what_was_committed_before_it_failed_is_kept(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let sets = "BEGIN PERFORM set_config('app.' || 'tenant', '42', false)";
    pair.scene
        .admin
        .batch_execute(&format!(
            "CREATE PROCEDURE ends() LANGUAGE plpgsql AS $$ {sets}; COMMIT; PERFORM 1/0; END $$"
        ))
        .await?;
    pair.learned().await?;
    let block = format!("DO $$ {sets}; COMMIT; PERFORM 1/0; END $$");
    for sql in ["CALL ends()", &block] {
        assert_eq!(code(&pair.a.batch_execute(sql).await), "22012", "{sql}");
        eventually("it is pinned", async || Ok(!pair.scene.pins().is_empty())).await?;
        assert_eq!(Pair::read(&pair.a, TENANT).await?, "42", "{sql}");
        pair.a.batch_execute("DISCARD ALL").await?;
        assert_eq!(Pair::read(&pair.b, TENANT).await?, "", "{sql}");
    }
    // What can't have been committed pins nobody.
    let block = format!("DO $$ {sets}; PERFORM 1/0; END $$");
    for sql in [&block, "BEGIN", "CALL ends()", "ROLLBACK"] {
        drop(pair.a.batch_execute(sql).await);
    }
    assert_eq!(Pair::read(&pair.b, TENANT).await?, "");
    assert!(pair.scene.pins().is_empty());
    Ok(())
}

async fn a_reset_of_everything_ends_the_pin(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let drivers = "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;";
    for end in ["RESET ALL", drivers] {
        pair.pins(COMPUTED, end).await?;
        assert_eq!(Pair::read(&pair.b, TENANT).await?, "", "after {end}");
    }
    let mut a = pair.scene.raw().await?;
    a.query(COMPUTED).answer().await?;
    a.parse("", "RESET ALL").run("").sync().await?;
    pair.b.simple_query("SELECT 1").await?;
    // One setting is not all of them.
    a.query(COMPUTED).answer().await?;
    a.query("RESET work_mem").answer().await?;
    assert_eq!(a.ask(TENANT).await?.1, ["42"]);
    assert_eq!(pair.scene.pins(), ["custom setting"]);
    Ok(())
}

async fn a_temporary_replication_slot_goes_with_its_client(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    scene
        .admin
        .batch_execute("ALTER ROLE app REPLICATION")
        .await?;
    let make = "SELECT pg_create_physical_replication_slot('mine', true, true)";
    for steps in [make.to_owned(), format!("BEGIN; {make}")] {
        let a = scene.client().await?;
        a.batch_execute(&steps).await?;
        drop(a);
        let b = scene.client().await?;
        let count = "SELECT count(*) FROM pg_replication_slots WHERE temporary";
        assert_eq!(Pair::read(&b, count).await?, "0", "after {steps}");
    }
    Ok(())
}

async fn a_cursor_within_a_transaction_asks_nothing(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let (a, b) = (&pair.a, &pair.b);
    pair.learned().await?;
    for sql in [
        "BEGIN",
        "DECLARE c CURSOR FOR SELECT 1",
        "FETCH c",
        "CLOSE c",
        "COMMIT",
    ] {
        a.batch_execute(sql).await?;
    }
    assert_eq!(pair.last().await?, "COMMIT");
    pair.pins("DECLARE held CURSOR WITH HOLD FOR SELECT 1", "CLOSE held")
        .await?;
    b.simple_query("SELECT 1").await?;
    Ok(())
}

on_both! {
    a_discard_that_was_not_executed_takes_nothing,
    what_failed_or_was_rolled_back_pins_nobody,
    what_was_committed_before_it_failed_is_kept,
    a_reset_of_everything_ends_the_pin,
    a_temporary_replication_slot_goes_with_its_client,
    a_cursor_within_a_transaction_asks_nothing,
}
