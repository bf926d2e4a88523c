//! What functions set is asked for by the names in their bodies. As long as those are not known, whoever has called some
//! keeps his connection.

use anyhow::Result;
use tokio_postgres::Client;
use twinport_integration::eventually;

use super::pair::Pair;
use super::support::on_both;

/// It doesn't say the setting's name, either.
const TENANT: &str = "SELECT current_setting('app.' || 'tenant', true)";
const WAITS: &str = "functions not known yet";

/// A function that sets the tenant by its name, or under one that is computed.
fn function(name: &str, setting: &str) -> String {
    format!(
        "CREATE FUNCTION {name}() RETURNS void LANGUAGE plpgsql AS
             $$ BEGIN PERFORM set_config({setting}, '42', false); END $$"
    )
}

/// As long as this lasts nobody learns what functions do.
async fn unreadable(pair: &Pair) -> Result<Client> {
    let locks = pair.scene.world.server.client("library").await?;
    locks
        .batch_execute("BEGIN; LOCK TABLE pg_catalog.pg_policy IN ACCESS EXCLUSIVE MODE")
        .await?;
    Ok(locks)
}

/// `a` has called a function that nobody knows: it keeps the connection for so long.
async fn waits(pair: &Pair, locks: &Client) -> Result<()> {
    eventually("it is pinned", async || Ok(pair.scene.pins() == [WAITS])).await?;
    for _ in 0..2 {
        assert_eq!(Pair::read(&pair.a, TENANT).await?, "42");
        assert_eq!(pair.scene.pins(), [WAITS]);
    }
    locks.batch_execute("ROLLBACK").await?;
    Ok(())
}

async fn before_anything_is_known(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let sql = function("remember", "'app.tenant'");
    pair.scene.admin.batch_execute(&sql).await?;
    let locks = unreadable(&pair).await?;
    pair.a.batch_execute("SELECT remember()").await?;
    waits(&pair, &locks).await?;
    // The connection is free though its client says nothing.
    for _ in 0..2 {
        assert_eq!(Pair::read(&pair.b, TENANT).await?, "");
        assert_eq!(Pair::read(&pair.a, TENANT).await?, "42");
    }
    eventually("nothing is pinned", async || {
        Ok(pair.scene.pins().is_empty())
    })
    .await
}

async fn under_computed_names(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let sql = function("remember", "'app.' || 'tenant'");
    pair.scene.admin.batch_execute(&sql).await?;
    let locks = unreadable(&pair).await?;
    pair.a.batch_execute("SELECT remember()").await?;
    waits(&pair, &locks).await?;
    eventually("it is pinned", async || {
        Ok(pair.scene.pins() == ["custom setting"])
    })
    .await?;
    assert_eq!(Pair::read(&pair.a, TENANT).await?, "42");
    pair.a.batch_execute("DISCARD ALL").await?;
    assert_eq!(Pair::read(&pair.b, TENANT).await?, "");
    Ok(())
}

async fn of_functions_just_made(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    for (name, setting) in [("one", "'app.tenant'"), ("two", "'app.' || 'tenant'")] {
        pair.learned().await?;
        let locks = unreadable(&pair).await?;
        pair.a.batch_execute(&function(name, setting)).await?;
        pair.a.batch_execute(&format!("SELECT {name}()")).await?;
        waits(&pair, &locks).await?;
        if name == "one" {
            assert_eq!(Pair::read(&pair.b, TENANT).await?, "");
        }
        assert_eq!(Pair::read(&pair.a, TENANT).await?, "42");
        pair.a.batch_execute("DISCARD ALL").await?;
        assert_eq!(Pair::read(&pair.b, TENANT).await?, "");
    }
    Ok(())
}

on_both! {
    before_anything_is_known,
    under_computed_names,
    of_functions_just_made,
}
