//! Questions of the proxy's own in the middle of a client's batch: an annotated statement behind one that may have set
//! the search path gets its names by them, and the client stays in step whatever becomes of them.

use anyhow::Result;
use twinport_wire::pg::frontend::build;

use super::raw::Raw;
use super::support::{Scene, on_both};

/// Two tenants with the same tables; the trigger's function runs SQL that nobody can read.
const TENANTS: &str = "
    CREATE SCHEMA t1; CREATE SCHEMA t2;
    CREATE TABLE t1.notes (id int PRIMARY KEY, body text, checked text);
    CREATE TABLE t2.notes (id int, body text, checked text, PRIMARY KEY (body));
    CREATE FUNCTION public.checks() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN EXECUTE 'SELECT upper($1)' INTO NEW.checked USING NEW.body; RETURN NEW; END $$;
    CREATE TRIGGER checks BEFORE INSERT ON t1.notes FOR EACH ROW EXECUTE FUNCTION public.checks();
    CREATE TRIGGER checks BEFORE INSERT ON t2.notes FOR EACH ROW EXECUTE FUNCTION public.checks();
    GRANT USAGE ON SCHEMA t1, t2 TO app; GRANT ALL ON t1.notes, t2.notes TO app";

const UPSERT: &str = "/* @upsert */ INSERT INTO notes (id, body) VALUES ($1::int, $2)";

const ALL: &str = "SELECT string_agg(n, ' ' ORDER BY n) FROM (
    SELECT 't1:' || id || body || checked AS n FROM t1.notes
    UNION ALL SELECT 't2:' || id || body || checked FROM t2.notes) AS rows";

async fn tenants(major: u32) -> Result<(Scene, Raw)> {
    let scene = Scene::on(major, 1, "").await?;
    scene.admin.batch_execute(TENANTS).await?;
    let client = scene.raw().await?;
    Ok((scene, client))
}

fn run_with(client: &mut Raw, name: &str, values: &[&str]) {
    let values: Vec<_> = values.iter().map(|value| Some(value.as_bytes())).collect();
    build::bind_text(&mut client.out, b"", name.as_bytes(), &values);
    build::execute(&mut client.out, b"", 0);
}

/// Some servers report the search path, others don't.
fn done(tags: String) -> String {
    tags.replace('S', "")
}

async fn many_rows_in_one_batch(major: u32) -> Result<()> {
    let (scene, mut a) = tenants(major).await?;
    a.query("SET search_path = t1").answer().await?;
    a.parse("u", UPSERT).sync().await?;
    for body in ["a", "b"] {
        for id in ["1", "2", "3"] {
            run_with(&mut a, "u", &[id, body]);
        }
        assert_eq!(done(a.sync().await?), "2C2C2CZ");
    }
    assert_eq!(a.ask(ALL).await?.1, ["t1:1bA t1:2bA t1:3bA"]);
    // In a transaction, and one that fails.
    a.query("BEGIN").answer().await?;
    run_with(&mut a, "u", &["1", "c"]);
    run_with(&mut a, "u", &["no number", "c"]);
    run_with(&mut a, "u", &["2", "c"]);
    assert_eq!(done(a.sync().await?), "2CE[22P02]Z");
    a.query("ROLLBACK").answer().await?;
    assert_eq!(a.ask(ALL).await?.1, ["t1:1bA t1:2bA t1:3bA"]);
    assert!(scene.pins().is_empty());
    Ok(())
}

async fn a_path_set_in_the_same_batch(major: u32) -> Result<()> {
    let (_scene, mut a) = tenants(major).await?;
    a.query("SET search_path = t1").answer().await?;
    a.parse("u", UPSERT)
        .parse("set", "SELECT set_config('search_path', $1, false)")
        .sync()
        .await?;
    // The second tenant's key is another column.
    run_with(&mut a, "u", &["1", "a"]);
    run_with(&mut a, "set", &["t2"]);
    run_with(&mut a, "u", &["1", "a"]);
    run_with(&mut a, "u", &["2", "a"]);
    run_with(&mut a, "set", &["t1"]);
    run_with(&mut a, "u", &["1", "b"]);
    assert_eq!(done(a.sync().await?), "2C2DC2C2C2DC2CZ");
    assert_eq!(a.ask(ALL).await?.1, ["t1:1bA t2:2aA"]);
    // The batch fails, and the path with it.
    run_with(&mut a, "set", &["t2"]);
    run_with(&mut a, "u", &["3", "c"]);
    a.parse("", "SELECT 1 / 0").run("");
    assert!(done(a.sync().await?).ends_with("E[22012]Z"));
    run_with(&mut a, "u", &["4", "d"]);
    assert_eq!(done(a.sync().await?), "2CZ");
    assert_eq!(a.ask(ALL).await?.1, ["t1:1bA t1:4dD t2:2aA"]);
    Ok(())
}

async fn a_question_that_fails_leaves_the_client_in_step(major: u32) -> Result<()> {
    let (scene, mut a) = tenants(major).await?;
    a.query("SET search_path = t1; SET statement_timeout = '2s'")
        .answer()
        .await?;
    a.parse("u", UPSERT)
        .parse("set", "SELECT set_config('search_path', 't2', false)")
        .sync()
        .await?;
    a.run("set").flush().await?;
    a.until(b'C').await?;
    // What the server knows of functions it has to look up anew, and can't.
    for sql in [
        "VACUUM FULL pg_catalog.pg_proc",
        "BEGIN; LOCK TABLE pg_catalog.pg_proc IN ACCESS EXCLUSIVE MODE",
    ] {
        scene.admin.batch_execute(sql).await?;
    }
    run_with(&mut a, "u", &["1", "a"]);
    run_with(&mut a, "u", &["2", "a"]);
    assert_eq!(done(a.sync().await?), "E[57014]Z");
    scene.admin.batch_execute("COMMIT").await?;
    run_with(&mut a, "u", &["1", "b"]);
    assert_eq!(done(a.sync().await?), "2CZ");
    assert_eq!(a.ask(ALL).await?.1, ["t1:1bB"]);
    let mut b = scene.raw().await?;
    assert_eq!(b.ask(ALL).await?.1, ["t1:1bB"]);
    Ok(())
}

on_both! {
    many_rows_in_one_batch,
    a_path_set_in_the_same_batch,
    a_question_that_fails_leaves_the_client_in_step,
}
