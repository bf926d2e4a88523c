//! Transactions that begin serializable, read-only and deferrable wait for those of others. Whoever has all of his begin
//! so waits by himself: nothing that the proxy asks or sets does.

use anyhow::Result;
use tokio_postgres::Client;

use super::pair::Pair;
use super::support::{Scene, on_both};

/// A proxy with one connection, and a transaction for whose end deferrable ones wait.
async fn begun(major: u32) -> Result<(Scene, Client)> {
    let scene = Scene::on(major, 1, "wait_timeout = \"3s\"").await?;
    scene
        .admin
        .batch_execute(
            "CREATE FUNCTION defer() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM set_config('default_transaction_isolation', 'serializable', false),
                     set_config('default_transaction_read_only', 'on', false),
                     set_config('default_transaction_deferrable', 'on', false); END $$",
        )
        .await?;
    let writer = scene.world.server.client("library").await?;
    writer
        .batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO scratch VALUES (1, 'x')")
        .await?;
    Ok((scene, writer))
}

async fn sessions(major: u32) -> Result<()> {
    let (scene, writer) = begun(major).await?;
    for defer in [
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
        "SELECT defer()",
        "DO $$ BEGIN PERFORM defer(); END $$",
    ] {
        let (a, b) = (scene.client().await?, scene.client().await?);
        b.batch_execute("SET work_mem = '7MB'").await?;
        a.batch_execute(defer).await?;
        for _ in 0..2 {
            let memory = Pair::read(&b, "SELECT current_setting('work_mem')").await?;
            assert_eq!(memory, "7MB", "b after {defer}");
            let deferred = Pair::read(&a, "SHOW transaction_deferrable").await?;
            assert_eq!(deferred, "on", "a after {defer}");
            let isolation = Pair::read(&a, "SHOW transaction_isolation").await?;
            assert_eq!(isolation, "serializable", "a after {defer}");
        }
        a.batch_execute("SET work_mem = '9MB'").await?;
        assert_eq!(Pair::read(&a, "SHOW work_mem").await?, "9MB");
        // It goes with its settings in force.
        a.batch_execute("BEGIN").await?;
        drop(a);
        assert_eq!(Pair::read(&b, "SELECT 1").await?, "1", "{defer}");
    }
    drop(writer);
    Ok(())
}

async fn roles(major: u32) -> Result<()> {
    let (scene, writer) = begun(major).await?;
    scene
        .admin
        .batch_execute(
            "ALTER ROLE app SET default_transaction_isolation = 'serializable';
             ALTER ROLE app SET default_transaction_read_only = on;
             ALTER ROLE app SET default_transaction_deferrable = on",
        )
        .await?;
    let (a, b) = (scene.client().await?, scene.client().await?);
    for turn in ["7MB", "9MB"] {
        a.batch_execute(&format!("SET work_mem = '{turn}'")).await?;
        assert_eq!(Pair::read(&b, "SHOW work_mem").await?, "4MB");
        assert_eq!(Pair::read(&a, "SHOW work_mem").await?, turn);
    }
    writer.batch_execute("COMMIT").await?;
    assert_eq!(Pair::read(&a, "SELECT count(*) FROM scratch").await?, "1");
    Ok(())
}

on_both! {
    sessions,
    roles,
}
