//! Where a client or a role goes beyond what the pool can bear: it is told, and nobody else is hurt.

use anyhow::Result;
use twinport_integration::eventually;

use super::pair::Pair;
use super::support::{Scene, on_both};

async fn a_batch_behind_a_copy_ends_the_session(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    let mut a = scene.raw().await?;
    a.parse("", "COPY scratch FROM STDIN").run("").end_batch();
    a.parse("", "SELECT 1").run("").end_batch().send().await?;
    let tags = a.until_closed().await?;
    assert!(tags.ends_with("E[08P01]"), "{tags}");
    let mut b = scene.raw().await?;
    assert_eq!(b.ask("SELECT 1").await?.1, ["1"]);
    Ok(())
}

async fn names_of_our_own_are_refused(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    let mut a = scene.raw().await?;
    for number in 0..9 {
        let prepare = format!("PREPARE _tp{number} AS SELECT 1");
        assert_eq!(a.query(&prepare).answer().await?, "E[42P05]Z");
        assert_eq!(a.parse("p", &prepare).sync().await?, "E[42P05]Z");
    }
    assert_eq!(a.parse("s", "SELECT 2").run("s").sync().await?, "12DCZ");
    Ok(())
}

async fn a_role_with_settings_is_learned_all_the_same(major: u32) -> Result<()> {
    let scene = Scene::on(major, 2, "").await?;
    scene
        .admin
        .batch_execute(
            "CREATE SCHEMA odd; GRANT USAGE ON SCHEMA odd TO app;
             CREATE FUNCTION odd.never(oid, oid) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
             CREATE OPERATOR odd.= (FUNCTION = odd.never, LEFTARG = oid, RIGHTARG = oid);
             CREATE FUNCTION public.harmless() RETURNS int LANGUAGE sql AS 'SELECT 1';
             ALTER ROLE app SET statement_timeout = '3ms';
             ALTER ROLE app SET idle_session_timeout = '50ms';
             ALTER ROLE app SET search_path = odd, pg_catalog, public",
        )
        .await?;
    let mut a = scene
        .raw_with("-c statement_timeout=0 -c idle_session_timeout=0")
        .await?;
    let plain = "SELECT harmless()";
    let last = "SELECT query FROM pg_stat_activity WHERE usename = 'app'
        AND application_name <> 'twinport' ORDER BY state_change DESC LIMIT 1";
    eventually("the function is known", async || {
        a.ask(plain).await?;
        Ok(Pair::read(&scene.admin, last).await? == plain)
    })
    .await
}

on_both! {
    a_batch_behind_a_copy_ends_the_session,
    names_of_our_own_are_refused,
    a_role_with_settings_is_learned_all_the_same,
}
