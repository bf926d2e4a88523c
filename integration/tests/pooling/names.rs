//! What names mean to an annotated statement: it is written for a search path, and has to follow it.

use anyhow::Result;

use super::pair::Pair;
use super::raw::Raw;
use super::support::{Scene, on_both};

/// Two tenants with the same tables; the second's `n` has another type where it says so.
const TENANTS: &str = "
    CREATE SCHEMA t1; CREATE SCHEMA t2; CREATE SCHEMA t3;
    CREATE TABLE t1.owner (id int PRIMARY KEY, n text);
    CREATE TABLE t1.kid (id int PRIMARY KEY, owner_id int REFERENCES t1.owner, t text);
    CREATE TABLE t2.owner (LIKE t1.owner INCLUDING ALL);
    CREATE TABLE t2.kid (id int PRIMARY KEY, owner_id int REFERENCES t2.owner, t text);
    CREATE TABLE t3.owner (id int PRIMARY KEY, n int);
    CREATE TABLE t3.kid (id int PRIMARY KEY, owner_id int REFERENCES t3.owner, t text);
    INSERT INTO t1.owner VALUES (1, 'of t1'); INSERT INTO t1.kid VALUES (1, 1, 'kid of t1');
    INSERT INTO t2.owner VALUES (1, 'of t2'); INSERT INTO t2.kid VALUES (1, 1, 'kid of t2');
    INSERT INTO t3.owner VALUES (1, 3); INSERT INTO t3.kid VALUES (1, 1, 'kid of t3')";

/// In one column what both are.
const PAIRS: &str = "/* @include(kids) */ SELECT n FROM owner";

async fn tenants(major: u32) -> Result<Scene> {
    let scene = Scene::on(major, 1, "").await?;
    let mut owner = scene.raw().await?;
    owner.query(TENANTS).answer().await?;
    Ok(scene)
}

/// The tenant of the parent, which must be the child's as well.
async fn tenant(client: &mut Raw, name: &str) -> Result<String> {
    client.taken();
    let tags = client.run(name).sync().await?;
    let rows = client.taken();
    anyhow::ensure!(tags == "2DCZ", "{tags}");
    let row = rows.first().map_or("", String::as_str);
    let (parent, child) = row.split_once('|').unwrap_or((row, ""));
    anyhow::ensure!(
        child.contains(parent.trim_start_matches("of ")),
        "a parent with another's child: {row}"
    );
    Ok(parent.to_owned())
}

#[tokio::test]
async fn a_prepared_include_follows_set() -> Result<()> {
    for major in [15, 18] {
        let scene = tenants(major).await?;
        let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
        a.query("SET search_path = t1").answer().await?;
        a.parse("q", PAIRS).describe("q").sync().await?;
        b.query("SET search_path = t2").answer().await?;
        b.parse("q", PAIRS).describe("q").sync().await?;
        for _ in 0..2 {
            assert_eq!(tenant(&mut a, "q").await?, "of t1");
            assert_eq!(tenant(&mut b, "q").await?, "of t2");
            a.query("SET search_path = t2").answer().await?;
            assert_eq!(tenant(&mut a, "q").await?, "of t2");
            a.query("SET search_path = t1").answer().await?;
        }
        // By SQL, too, and where that is prepared.
        a.parse("runs", "EXECUTE q").sync().await?;
        for schema in ["t2", "t1"] {
            a.query(&format!("SET search_path = {schema}"))
                .answer()
                .await?;
            assert_eq!(tenant(&mut a, "runs").await?, format!("of {schema}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_prepared_include_follows_set_local() -> Result<()> {
    for major in [15, 18] {
        let scene = tenants(major).await?;
        let mut a = scene.raw().await?;
        a.query("SET search_path = t2").answer().await?;
        a.parse("q", PAIRS).describe("q").sync().await?;
        for _ in 0..2 {
            for schema in ["t1", "t2"] {
                a.query("BEGIN").answer().await?;
                a.query(&format!("SET LOCAL search_path = {schema}"))
                    .answer()
                    .await?;
                assert_eq!(tenant(&mut a, "q").await?, format!("of {schema}"));
                // What is sent with the end of the transaction is run after it.
                a.query("COMMIT");
                a.query("SELECT 1");
                a.answer().await?;
                a.until(b'Z').await?;
                assert_eq!(tenant(&mut a, "q").await?, "of t2");
            }
        }
        a.query("BEGIN").answer().await?;
        a.query("SET LOCAL search_path = t1").answer().await?;
        assert_eq!(tenant(&mut a, "q").await?, "of t1");
        a.query("COMMIT").run("q");
        a.taken();
        // Newer servers report the path.
        assert_eq!(a.batches(2).await?.replace('S', ""), "CZ 2DCZ");
        assert!(a.taken()[0].contains("kid of t2"));
    }
    Ok(())
}

#[tokio::test]
async fn a_prepared_include_follows_set_local_in_session_mode() -> Result<()> {
    let scene = Scene::with(2, "mode = \"session\"").await?;
    let mut a = scene.raw().await?;
    a.query(TENANTS).answer().await?;
    a.query("SET search_path = t2").answer().await?;
    a.parse("q", PAIRS).sync().await?;
    a.query("BEGIN; SET LOCAL search_path = t1")
        .answer()
        .await?;
    assert_eq!(tenant(&mut a, "q").await?, "of t1");
    a.query("COMMIT").answer().await?;
    assert_eq!(tenant(&mut a, "q").await?, "of t2");
    Ok(())
}

/// Nothing in the statement says that it sets the path.
async fn a_prepared_include_follows_a_function(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.a.batch_execute(TENANTS).await?;
    pair.a
        .batch_execute(
            "CREATE FUNCTION public.moves() RETURNS void LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM set_config('search_path', 't1', true); END $$;
             CREATE FUNCTION public.steps() RETURNS void LANGUAGE plpgsql AS
                 $$ BEGIN SET LOCAL search_path = t1; END $$;
             CREATE TABLE public.fired (i int);
             CREATE FUNCTION public.fires() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM public.steps(); RETURN NEW; END $$;
             CREATE TRIGGER fires BEFORE INSERT ON public.fired FOR EACH ROW EXECUTE FUNCTION public.fires()",
        )
        .await?;
    pair.learned().await?;
    let mut a = pair.scene.raw().await?;
    a.query("SET search_path = t2").answer().await?;
    a.parse("q", PAIRS).sync().await?;
    for sql in [
        "SELECT public.moves()",
        "SELECT public.steps()",
        "INSERT INTO public.fired VALUES (1)",
    ] {
        a.query("BEGIN").answer().await?;
        a.query(sql).answer().await?;
        assert_eq!(tenant(&mut a, "q").await?, "of t1", "{sql}");
        a.query("COMMIT").answer().await?;
        assert_eq!(tenant(&mut a, "q").await?, "of t2", "{sql}");
    }
    assert!(pair.scene.pins().is_empty());
    Ok(())
}

on_both! {
    a_prepared_include_follows_a_function,
}

#[tokio::test]
async fn a_prepared_include_follows_the_role() -> Result<()> {
    let scene = tenants(15).await?;
    scene
        .admin
        .batch_execute(
            "CREATE ROLE t1; CREATE ROLE t2; GRANT t1, t2 TO app;
             GRANT ALL ON SCHEMA t1 TO t1; GRANT ALL ON ALL TABLES IN SCHEMA t1 TO t1;
             GRANT ALL ON SCHEMA t2 TO t2; GRANT ALL ON ALL TABLES IN SCHEMA t2 TO t2",
        )
        .await?;
    let mut a = scene.raw().await?;
    a.query("SET ROLE t1").answer().await?;
    a.parse("q", PAIRS).sync().await?;
    assert_eq!(tenant(&mut a, "q").await?, "of t1");
    a.query("SET ROLE t2").answer().await?;
    assert_eq!(tenant(&mut a, "q").await?, "of t2");
    a.query("BEGIN").answer().await?;
    a.query("SET LOCAL ROLE t1").answer().await?;
    assert_eq!(tenant(&mut a, "q").await?, "of t1");
    Ok(())
}

#[tokio::test]
async fn rows_are_never_of_other_types_than_described() -> Result<()> {
    let scene = tenants(15).await?;
    let mut a = scene.raw().await?;
    a.query("SET search_path = t1").answer().await?;
    a.parse("q", PAIRS).parse("plain", "SELECT n FROM owner");
    a.describe("q").describe("plain").sync().await?;
    a.parse("unseen", PAIRS).sync().await?;
    a.query("SET search_path = t3").answer().await?;
    for _ in 0..2 {
        assert_eq!(a.run("q").sync().await?, "E[0A000]Z");
        assert_eq!(a.run("plain").sync().await?, "E[0A000]Z");
    }
    // Who was told of nothing gets what is there; who asks again is told.
    assert_eq!(a.run("unseen").sync().await?, "2DCZ");
    a.types.clear();
    assert_eq!(a.describe("q").run("q").sync().await?, "tT2DCZ");
    assert_eq!(a.types, [23, 114]);
    assert_eq!(a.run("q").sync().await?, "2DCZ");
    // The question costs nothing where it was answered before.
    a.query("SET search_path = t1").answer().await?;
    assert_eq!(a.run("q").sync().await?, "E[0A000]Z");
    assert_eq!(a.run("plain").sync().await?, "2DCZ");
    Ok(())
}

/// Where the statement was never prepared the server doesn't know that another schema was told of.
#[tokio::test]
async fn a_schema_that_changes_is_noticed_on_another_connection() -> Result<()> {
    let scene = Scene::new(2).await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    b.query("CREATE TABLE turning (a int, b int); INSERT INTO turning VALUES (1, 2)");
    b.answer().await?;
    a.parse("q", "SELECT * FROM turning").describe("q");
    a.sync().await?;
    assert_eq!(a.run("q").sync().await?, "2DCZ");
    // That connection is taken.
    b.query("BEGIN; SELECT 1").answer().await?;
    let mut c = scene.raw().await?;
    let alter = "ALTER TABLE turning ALTER COLUMN b SET DATA TYPE text";
    c.query(alter).answer().await?;
    assert_eq!(a.run("q").sync().await?, "E[0A000]Z");
    // Another column's type is of no account, nor is a change that changes nothing.
    a.parse("one", "SELECT a FROM turning").describe("one");
    a.sync().await?;
    c.query("ALTER TABLE turning ADD COLUMN c int")
        .answer()
        .await?;
    assert_eq!(a.run("one").sync().await?, "2DCZ");
    Ok(())
}

#[tokio::test]
async fn a_search_path_of_role_or_database_is_the_connections() -> Result<()> {
    for major in [15, 18] {
        let scene = tenants(major).await?;
        for schema in ["t1", "t2"] {
            let sql = format!("ALTER ROLE app IN DATABASE library SET search_path = {schema}");
            scene.admin.batch_execute(&sql).await?;
            scene.reconnect().await?;
            let mut late = scene.raw().await?;
            late.parse("q", PAIRS).sync().await?;
            assert_eq!(tenant(&mut late, "q").await?, format!("of {schema}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_client_is_greeted_with_what_is_true_now() -> Result<()> {
    let scene = Scene::new(1).await?;
    for zone in ["Asia/Tokyo", "Europe/Paris"] {
        let sql = format!("ALTER ROLE app SET timezone = '{zone}'");
        scene.admin.batch_execute(&sql).await?;
        scene.reconnect().await?;
        let late = scene.raw().await?;
        assert!(
            late.told.contains(&format!("TimeZone={zone}")),
            "{:?}",
            late.told
        );
    }
    Ok(())
}
