//! What is left beside the statements that a client sends: notifications, temporary objects that run something, roles
//! and settings that are not the client's own to take.

use anyhow::Result;

use super::pair::Pair;
use super::support::{Scene, on_both};

const TENANT: &str = "SELECT current_setting('app.tenant', true)";
const MEMORY: &str = "SHOW work_mem";

/// A function that sets the tenant, one that sets `work_mem`, and a trigger that does nothing.
const FUNCTIONS: &str = "
    CREATE FUNCTION remember() RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN PERFORM set_config('app.tenant', '42', false); END $$;
    CREATE FUNCTION mem(i int) RETURNS bool LANGUAGE plpgsql AS
        $$ BEGIN PERFORM set_config('work_mem', '7MB', false); RETURN true; END $$;
    CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$";

async fn notifications_for_a_client_that_is_gone(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    a.query("LISTEN of_a").answer().await?;
    a.query("BEGIN").answer().await?;
    scene.admin.batch_execute("NOTIFY of_a, 'secret'").await?;
    // The server sends it when the transaction is over.
    drop(a);
    assert_eq!(b.query("LISTEN of_b").answer().await?, "CZ");
    assert_eq!(b.query("SELECT 1").answer().await?, "TDCZ");
    scene.admin.batch_execute("NOTIFY of_b, 'its own'").await?;
    assert_eq!(b.until(b'A').await?, "A");
    Ok(())
}

async fn expressions_of_temporary_objects(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    for [make, run, end] in [
        [
            "CREATE TEMP VIEW v AS SELECT set_config('app.tenant', '42', false)",
            "SELECT * FROM v",
            "DROP VIEW v",
        ],
        [
            "CREATE TEMP TABLE t (i int, s text DEFAULT set_config('app.tenant', '42', false))",
            "INSERT INTO t VALUES (1)",
            "DROP TABLE t",
        ],
    ] {
        for sql in [make, run, end] {
            pair.a.batch_execute(sql).await?;
        }
        for _ in 0..2 {
            assert_eq!(Pair::read(&pair.b, TENANT).await?, "", "b after {run}");
            assert_eq!(Pair::read(&pair.a, TENANT).await?, "42", "a after {run}");
        }
        pair.a.batch_execute("DISCARD ALL").await?;
    }
    Ok(())
}

async fn conditions_of_triggers_and_defaults_of_domains(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene.admin.batch_execute(FUNCTIONS).await?;
    pair.scene
        .admin
        .batch_execute(
            "CREATE TABLE fired (i int);
             CREATE TRIGGER fire BEFORE INSERT ON fired FOR EACH ROW WHEN (mem(NEW.i)) EXECUTE FUNCTION quiet();
             CREATE DOMAIN remembered AS bool DEFAULT mem(1);
             CREATE TABLE kept (i int, r remembered);
             GRANT ALL ON fired, kept TO app",
        )
        .await?;
    for sql in [
        "INSERT INTO fired VALUES (1)",
        "INSERT INTO kept VALUES (1)",
    ] {
        pair.keeps(sql, MEMORY, "7MB").await?;
    }
    pair.learned().await?;
    pair.a
        .batch_execute("CREATE TABLE later (i int, r remembered)")
        .await?;
    pair.learned().await?;
    pair.keeps("INSERT INTO later VALUES (1)", MEMORY, "7MB")
        .await
}

async fn settings_of_functions_while_the_schema_changes(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene.admin.batch_execute(FUNCTIONS).await?;
    pair.learned().await?;
    let sql = "BEGIN; SELECT remember(); CREATE TABLE made (i int); COMMIT";
    pair.keeps(sql, TENANT, "42").await?;
    for sql in ["BEGIN", "SELECT remember()", "DROP TABLE made", "COMMIT"] {
        pair.a.batch_execute(sql).await?;
    }
    assert_eq!(Pair::read(&pair.b, TENANT).await?, "");
    assert_eq!(Pair::read(&pair.a, TENANT).await?, "42");
    Ok(())
}

async fn settings_of_functions_while_another_changes_the_schema(major: u32) -> Result<()> {
    let scene = Scene::on(major, 2, "").await?;
    scene.admin.batch_execute(FUNCTIONS).await?;
    scene
        .admin
        .batch_execute("GRANT CREATE ON SCHEMA public TO app")
        .await?;
    let (a, b) = (scene.client().await?, scene.client().await?);
    for _ in 0..2 {
        a.batch_execute("SELECT 1").await?;
    }
    let sets = a.batch_execute("SELECT remember(), pg_sleep(1)");
    let changes = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        b.batch_execute("CREATE TABLE made (i int)").await
    };
    let (sets, changes) = tokio::join!(sets, changes);
    sets.and(changes)?;
    assert_eq!(Pair::read(&a, TENANT).await?, "42");
    // On both connections.
    b.batch_execute("BEGIN").await?;
    assert_eq!(Pair::read(&a, TENANT).await?, "42");
    assert_eq!(Pair::read(&b, TENANT).await?, "");
    b.batch_execute("COMMIT").await?;
    a.batch_execute("BEGIN").await?;
    assert_eq!(Pair::read(&b, TENANT).await?, "");
    Ok(())
}

async fn a_role_that_the_server_begins_with(major: u32) -> Result<()> {
    let scene = Scene::on(major, 1, "").await?;
    scene
        .admin
        .batch_execute("CREATE ROLE low; GRANT low TO app; ALTER ROLE app SET role = 'low'")
        .await?;
    let (a, b) = (scene.client().await?, scene.client().await?);
    let who = "SELECT current_user";
    assert_eq!(Pair::read(&b, who).await?, "low");
    a.batch_execute("SET ROLE NONE").await?;
    for _ in 0..2 {
        assert_eq!(Pair::read(&b, who).await?, "low");
        assert_eq!(Pair::read(&a, who).await?, "app");
    }
    a.batch_execute("RESET ROLE").await?;
    assert_eq!(Pair::read(&a, who).await?, "low");
    Ok(())
}

async fn settings_that_only_a_superuser_may_take(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene
        .admin
        .batch_execute(
            "CREATE FUNCTION silence() RETURNS void SECURITY DEFINER LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM set_config('session_replication_role', 'replica', false); END $$",
        )
        .await?;
    pair.pins("SELECT silence()", "RESET ALL").await?;
    let role = "SHOW session_replication_role";
    assert_eq!(Pair::read(&pair.b, role).await?, "origin");
    assert_eq!(Pair::read(&pair.a, role).await?, "origin");
    // What a function may take back for its client is no reason.
    pair.a
        .batch_execute("SET work_mem = '7MB'; SET search_path = public")
        .await?;
    pair.b.batch_execute("SELECT 1").await?;
    assert!(pair.scene.pins().is_empty());
    Ok(())
}

async fn relations_that_are_included(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene.admin.batch_execute(FUNCTIONS).await?;
    pair.scene
        .admin
        .batch_execute(
            "ALTER TABLE books ENABLE ROW LEVEL SECURITY; ALTER TABLE books FORCE ROW LEVEL SECURITY;
             CREATE POLICY seen ON books USING (mem(id))",
        )
        .await?;
    let sql = "/* @include(books) */ SELECT id FROM authors";
    pair.keeps(sql, MEMORY, "7MB").await
}

on_both! {
    notifications_for_a_client_that_is_gone,
    expressions_of_temporary_objects,
    conditions_of_triggers_and_defaults_of_domains,
    settings_of_functions_while_the_schema_changes,
    settings_of_functions_while_another_changes_the_schema,
    a_role_that_the_server_begins_with,
    settings_that_only_a_superuser_may_take,
    relations_that_are_included,
}
