//! What was judged once and runs later: by then it may leave something else behind.

use anyhow::Result;
use twinport_integration::eventually;

use super::pair::Pair;
use super::support::on_both;

const PATH: &str = "SHOW search_path";
const USUAL: &str = "\"$user\", public";
const TENANT: &str = "SELECT current_setting('app.tenant', true)";

/// Some servers report the search path, others don't.
fn done(tags: String) -> String {
    tags.replace('S', "")
}

async fn what_sql_has_prepared_is_asked_about_each_time(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let (a, b) = (&pair.a, &pair.b);
    for execute in ["EXECUTE p", "EXPLAIN ANALYZE EXECUTE p"] {
        a.batch_execute("PREPARE p AS SELECT set_config('app.tenant', '42', false)")
            .await?;
        a.batch_execute("SELECT 1").await?;
        a.batch_execute(execute).await?;
        a.batch_execute("DEALLOCATE p").await?;
        assert_eq!(Pair::read(b, TENANT).await?, "", "b after {execute}");
        assert_eq!(Pair::read(a, TENANT).await?, "42", "a after {execute}");
        a.batch_execute("DISCARD ALL").await?;
    }
    Ok(())
}

async fn the_protocol_runs_what_sql_has_prepared(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let mut a = pair.scene.raw().await?;
    let prepare = "PREPARE p AS SELECT set_config('search_path', 'evil', false)";
    a.query(prepare).answer().await?;
    assert_eq!(done(a.run("p").sync().await?), "2DCZ");
    a.query("DEALLOCATE p").answer().await?;
    assert_eq!(Pair::read(&pair.b, PATH).await?, USUAL);
    assert_eq!(a.ask(PATH).await?.1, ["evil"]);
    Ok(())
}

async fn sql_runs_what_the_protocol_has_prepared(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let made = |body: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION turned() RETURNS text LANGUAGE sql AS $$ SELECT {body} $$"
        )
    };
    pair.b.batch_execute(&made("'x'::text")).await?;
    let mut a = pair.scene.raw().await?;
    pair.learned().await?;
    a.parse("s1", "SELECT turned()").sync().await?;
    a.parse("s2", "EXECUTE s1").sync().await?;
    assert_eq!(a.query("EXECUTE s1").answer().await?, "TDCZ");
    assert_eq!(a.run("s2").sync().await?, "2DCZ");
    let evil = "set_config('search_path', 'public, evil', false)";
    for turn in 0..2 {
        pair.b.batch_execute(&made(evil)).await?;
        pair.learned().await?;
        let tags = match turn {
            0 => a.query("EXECUTE s1").answer().await?,
            _ => a.run("s2").sync().await?,
        };
        assert!(done(tags).ends_with("DCZ"));
        assert_eq!(Pair::read(&pair.b, PATH).await?, USUAL);
        assert_eq!(a.ask(PATH).await?.1, ["public, evil"]);
        a.query("RESET ALL").answer().await?;
    }
    Ok(())
}

async fn what_a_client_has_just_made_is_not_known(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let function = |name: &str, body: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION {name}() RETURNS text LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN 'x'; END $$"
        )
    };
    let path = "PERFORM set_config('search_path', 'evil', false)";
    let tenant = "EXECUTE 'SET app' || '.tenant = 42'";
    for (body, question, usual) in [(path, PATH, USUAL), (tenant, TENANT, "")] {
        for steps in [
            vec![function("known", body), "SELECT known()".to_owned()],
            vec![
                function("fresh", body),
                "CREATE OR REPLACE VIEW fresh AS SELECT fresh() AS x".to_owned(),
                "SELECT * FROM fresh".to_owned(),
            ],
            vec![
                function("fresh", body),
                "CREATE TABLE made AS SELECT fresh() AS x".to_owned(),
            ],
        ] {
            let all = steps.join("; ");
            pair.a.batch_execute(&function("known", "NULL")).await?;
            pair.learned().await?;
            pair.a.batch_execute("BEGIN").await?;
            for step in &steps {
                pair.a.batch_execute(step).await?;
            }
            pair.a.batch_execute("COMMIT").await?;
            assert_eq!(Pair::read(&pair.b, question).await?, usual, "b after {all}");
            let clear = "RESET ALL; DROP VIEW IF EXISTS fresh; DROP TABLE IF EXISTS made";
            pair.a.batch_execute(clear).await?;
            // The same in one text.
            pair.a.batch_execute(&function("known", "NULL")).await?;
            pair.learned().await?;
            pair.a.batch_execute(&all).await?;
            assert_eq!(Pair::read(&pair.b, question).await?, usual, "b after {all}");
            pair.a.batch_execute(clear).await?;
        }
    }
    Ok(())
}

async fn bound_names_may_have_any_signs(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let (a, b) = (&pair.a, &pair.b);
    let sql = "SELECT set_config($1, $2, false)";
    a.query_one(sql, &[&"app.té", &"42"]).await?;
    let question = "SELECT current_setting('app.té', true)";
    assert_eq!(Pair::read(b, question).await?, "");
    // Bound to what SQL has prepared.
    let mut raw = pair.scene.raw().await?;
    raw.query("PREPARE p(text, text) AS SELECT set_config($1, $2, false)")
        .answer()
        .await?;
    let values = [Some(&b"app.tenant"[..]), Some(&b"42"[..])];
    twinport_wire::pg::frontend::build::bind_text(&mut raw.out, b"", b"p", &values);
    raw.execute("").sync().await?;
    raw.query("DEALLOCATE p").answer().await?;
    assert_eq!(Pair::read(b, TENANT).await?, "");
    assert_eq!(raw.ask(TENANT).await?.1, ["42"]);
    eventually("nothing is pinned", async || {
        Ok(pair.scene.pins().is_empty())
    })
    .await
}

on_both! {
    what_sql_has_prepared_is_asked_about_each_time,
    the_protocol_runs_what_sql_has_prepared,
    sql_runs_what_the_protocol_has_prepared,
    what_a_client_has_just_made_is_not_known,
    bound_names_may_have_any_signs,
}
