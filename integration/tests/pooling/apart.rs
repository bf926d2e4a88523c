//! Whatever a statement leaves on the connection, the next client sees nothing of it: each test is a way in which it
//! once did. Two clients share one connection.

use anyhow::{Context, Result};
use twinport_integration::eventually;

use super::pair::Pair;
use super::support::on_both;

const TENANT: &str = "SELECT current_setting('app.tenant', true)";
const MEMORY: &str = "SHOW work_mem";
const PATH: &str = "SHOW search_path";

async fn custom_settings(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    for sql in [
        "SET app.tenant TO '42'",
        "SET SESSION App.Tenant = '42'",
        "SET \"app.tenant\" TO '42'",
        "SET \"app\".\"tenant\" = '42'",
        "SET app /* c */ . tenant = '42'",
        "SELECT set_config('app.tenant', '42', false)",
        "BEGIN; SET app.tenant = '41'; SAVEPOINT s; SET app.tenant = '40'; ROLLBACK TO s; SET app.tenant = '42'; COMMIT",
        "PREPARE p(text) AS SELECT set_config($1, '42', false); EXECUTE p('app.tenant'); DEALLOCATE p",
        "SET local.tenant = '1'; SET app.tenant = '42'",
    ] {
        pair.keeps(sql, TENANT, "42").await?;
    }
    // By parameters, in the extended protocol.
    let (a, b) = (&pair.a, &pair.b);
    let sql = "SELECT set_config($1, $2, false)";
    a.query_one(sql, &[&"app.tenant", &"43"]).await?;
    assert_eq!(Pair::read(b, TENANT).await?, "");
    assert_eq!(Pair::read(a, TENANT).await?, "43");
    a.batch_execute("RESET app.tenant").await?;
    assert_eq!(Pair::read(a, TENANT).await?, "");
    // What ends with its transaction is let go without a question.
    a.batch_execute("SELECT set_config('app.tenant', '44', true)")
        .await?;
    assert_eq!(
        pair.last().await?,
        "SELECT set_config('app.tenant', '44', true)"
    );
    assert_eq!(Pair::read(a, TENANT).await?, "");
    Ok(())
}

async fn custom_settings_of_computed_names(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.pins(
        "SELECT set_config('app.' || 'tenant', '42', false)",
        "DISCARD ALL",
    )
    .await?;
    pair.a
        .batch_execute("SELECT set_config('app.' || 'tenant', '42', false)")
        .await?;
    assert_eq!(Pair::read(&pair.a, TENANT).await?, "42");
    let Pair { scene, a, b } = pair;
    drop(a);
    eventually("the connection is free", async || {
        Ok(b.simple_query("SELECT 1").await.is_ok())
    })
    .await?;
    assert_eq!(Pair::read(&b, TENANT).await?, "");
    // Dynamic SQL pins nobody, but nobody else sees what it did.
    let a = scene.client().await?;
    a.batch_execute("DO $$ BEGIN EXECUTE 'SET app' || '.tenant = 42'; END $$")
        .await?;
    assert_eq!(Pair::read(&b, TENANT).await?, "");
    a.batch_execute("SET \"app\".\"t\\u\" = '1'").await.ok();
    assert_eq!(Pair::read(&b, TENANT).await?, "");
    Ok(())
}

async fn quoted_settings(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.keeps("SET \"search_path\" = 'evil'", PATH, "evil")
        .await?;
    pair.keeps("SET search_path = 'evil'", PATH, "evil").await?;
    pair.keeps("SET \"role\" = 'low'", "SELECT current_user", "low")
        .await?;
    pair.keeps("SET \"work_mem\" TO \"7MB\"", MEMORY, "7MB")
        .await?;
    pair.keeps("SET SESSION \"work_mem\" = '7MB'", MEMORY, "7MB")
        .await?;
    if major >= 17 {
        pair.keeps(
            "SET transaction_timeout = '7s'",
            "SHOW transaction_timeout",
            "7s",
        )
        .await?;
    }
    Ok(())
}

async fn settings_by_other_ways(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    for sql in [
        "DO 'begin set work_mem = ''7MB''; end'",
        "DO LANGUAGE plpgsql E'begin perform set_config(\\'work_mem\\', \\'7MB\\', false); end'",
        "DO $$ BEGIN EXECUTE 'set work' || '_mem = ''7MB'''; END $$",
        "UPDATE pg_settings SET setting = '7MB' WHERE name = 'work_mem'",
        "UPDATE pg_catalog.\"pg_settings\" SET setting = '7MB' WHERE name = 'work_mem'",
        "SELECT U&\"s\\0065t_config\"('work_mem', '7MB', false)",
        "SELECT \"set_config\" /* c */ -- d\n ('work_mem', '7MB', false)",
        "SELECT query_to_xml('SELECT set_con' || 'fig(''work_mem'', ''7MB'', false)', true, false, '')",
        "SELECT E'a' -- c\n '\\'', 'b'; SET work_mem = '7MB' --'",
    ] {
        pair.keeps(sql, MEMORY, "7MB").await?;
    }
    let mut raw = pair.scene.raw().await?;
    raw.query("COPY (SELECT set_config('work_mem', '7MB', false)) TO STDOUT");
    raw.answer().await?;
    assert_eq!(Pair::read(&pair.b, MEMORY).await?, "4MB");
    Ok(())
}

async fn strings_without_the_standard(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let text = r"SELECT 'x\''; SET search_path = evil2 --'";
    pair.keeps(
        "SET standard_conforming_strings = off; SELECT 1",
        PATH,
        "\"$user\", public",
    )
    .await?;
    pair.a
        .batch_execute("SET standard_conforming_strings = off")
        .await?;
    pair.a.batch_execute(text).await?;
    assert_eq!(Pair::read(&pair.b, PATH).await?, "\"$user\", public");
    assert_eq!(Pair::read(&pair.a, PATH).await?, "evil2");
    pair.a.batch_execute("DISCARD ALL").await?;
    // In one go, before the server has said how it reads.
    let mut raw = pair.scene.raw().await?;
    raw.query("SET standard_conforming_strings = off")
        .query(text);
    raw.answer().await?;
    raw.answer().await?;
    assert_eq!(Pair::read(&pair.b, PATH).await?, "\"$user\", public");
    Ok(())
}

async fn settings_by_functions(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene
        .admin
        .batch_execute(
            "CREATE FUNCTION set_tenant(t text) RETURNS void LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM set_config('app.tenant', t, false); END $$;
             CREATE FUNCTION set_any(n text, t text) RETURNS void LANGUAGE sql AS
                 $$ SELECT set_config(n, t, false) $$;
             CREATE FUNCTION outer_one() RETURNS void LANGUAGE sql AS $$ SELECT set_any('app.tenant', '42') $$;
             CREATE PROCEDURE pset() LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM set_config('work_mem', '7MB', false); END $$;
             CREATE FUNCTION \"SetMemory\"(t text) RETURNS text LANGUAGE sql AS
                 $$ SELECT set_config('work_mem', t, false) $$;
             CREATE FUNCTION atomic_memory(t text DEFAULT set_config('work_mem', '7MB', false)) RETURNS text
                 LANGUAGE sql BEGIN ATOMIC SELECT t; END;
             CREATE VIEW vset AS SELECT set_config('work_mem', '7MB', false);
             CREATE VIEW \"Upper\" AS SELECT * FROM vset;
             CREATE VIEW tenant_view AS SELECT set_config('app.tenant', '42', false);
             CREATE VIEW updatable AS SELECT name, setting FROM pg_settings;
             CREATE TABLE fired (a int);
             CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM set_config('work_mem', '7MB', false); RETURN NEW; END $$;
             CREATE TRIGGER fire BEFORE INSERT ON fired FOR EACH ROW EXECUTE FUNCTION fire();
             CREATE TABLE child (a int, b text DEFAULT \"SetMemory\"('7MB'));
             GRANT ALL ON ALL TABLES IN SCHEMA public TO app",
        )
        .await?;
    // Nobody annotated a statement.
    pair.learned().await?;
    pair.keeps("SELECT set_tenant('42')", TENANT, "42").await?;
    pair.keeps("SELECT set_any('app.tenant', '42')", TENANT, "42")
        .await?;
    pair.keeps("SELECT outer_one()", TENANT, "42").await?;
    pair.keeps("SELECT * FROM tenant_view", TENANT, "42")
        .await?;
    for sql in [
        "CALL pset()",
        "SELECT \"SetMemory\"('7MB')",
        "SELECT public.\"SetMemory\" ('7MB')",
        "SELECT atomic_memory()",
        "SELECT * FROM vset",
        "TABLE \"Upper\"",
        "UPDATE updatable SET setting = '7MB' WHERE name = 'work_mem'",
        "INSERT INTO fired VALUES (1)",
        "INSERT INTO child (a) VALUES (1)",
    ] {
        pair.keeps(sql, MEMORY, "7MB").await?;
    }
    Ok(())
}

async fn functions_that_come_later(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let create = |name: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION {name}(t text) RETURNS text LANGUAGE sql AS
                 $$ SELECT set_config('work_mem', t, false) $$"
        )
    };
    // What is known is known from here on.
    pair.a.batch_execute("SELECT upper('x')").await?;
    pair.a.batch_execute(&create("made_here")).await?;
    pair.keeps("SELECT made_here('7MB')", MEMORY, "7MB").await?;
    pair.scene
        .admin
        .batch_execute(&create("made_elsewhere"))
        .await?;
    pair.keeps("SELECT made_elsewhere('7MB')", MEMORY, "7MB")
        .await?;
    // A prepared statement is judged again when its function is replaced.
    pair.scene
        .admin
        .batch_execute(
            "CREATE FUNCTION turned(t text) RETURNS text LANGUAGE sql AS $$ SELECT t $$;
             ALTER FUNCTION turned OWNER TO app",
        )
        .await?;
    let turned = pair.a.prepare("SELECT turned($1)").await?;
    pair.a.query_one(&turned, &[&"7MB"]).await?;
    pair.b.batch_execute(&create("turned")).await?;
    pair.a.query_one(&turned, &[&"7MB"]).await?;
    assert_eq!(Pair::read(&pair.b, MEMORY).await?, "4MB");
    assert_eq!(Pair::read(&pair.a, MEMORY).await?, "7MB");
    pair.a.batch_execute("RESET ALL").await?;
    // Replaced elsewhere, it is noticed within seconds.
    pair.a
        .batch_execute("CREATE FUNCTION later(t text) RETURNS text LANGUAGE sql AS $$ SELECT t $$")
        .await?;
    // What was read a moment ago is not read again at once.
    eventually("it is known for harmless", async || {
        pair.a.batch_execute("SELECT later('7MB')").await?;
        Ok(pair.last().await? == "SELECT later('7MB')")
    })
    .await?;
    pair.scene.admin.batch_execute(&create("later")).await?;
    eventually("the other function is noticed", async || {
        pair.a.batch_execute("SELECT later('7MB')").await?;
        Ok(pair.last().await?.starts_with("SELECT 's'"))
    })
    .await?;
    assert_eq!(Pair::read(&pair.b, MEMORY).await?, "4MB");
    Ok(())
}

async fn what_needs_no_name(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene
        .admin
        .batch_execute(
            "CREATE FUNCTION mem(t text) RETURNS boolean LANGUAGE sql AS
                 $$ SELECT set_config('work_mem', '7MB', false) IS NOT NULL $$;
             CREATE DOMAIN odd AS text CHECK (mem(VALUE));
             CREATE TABLE holds (a odd); GRANT ALL ON holds TO app",
        )
        .await?;
    pair.keeps("INSERT INTO holds VALUES ('x')", MEMORY, "7MB")
        .await
}

async fn function_calls(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let mut raw = pair.scene.raw().await?;
    // FunctionCall of set_config, whose number is 2078 on every server; text parameters, `true` as a boolean is 1 byte.
    let mut body = 2078_u32.to_be_bytes().to_vec();
    body.extend_from_slice(&[0, 0, 0, 3]);
    for value in ["work_mem", "7MB", "f"] {
        body.extend_from_slice(&u32::try_from(value.len())?.to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    body.extend_from_slice(&[0, 0]);
    raw.out.push(b'F');
    raw.out
        .extend_from_slice(&u32::try_from(body.len() + 4)?.to_be_bytes());
    raw.out.extend_from_slice(&body);
    assert_eq!(raw.answer().await?, "VZ");
    assert_eq!(Pair::read(&pair.b, MEMORY).await?, "4MB");
    Ok(())
}

async fn temporary_objects(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    for (sql, end) in [
        ("SELECT 1 AS secret INTO LOCAL TEMP leak", "DROP TABLE leak"),
        (
            "SELECT 1 AS secret INTO GLOBAL TEMPORARY leak",
            "DROP TABLE leak",
        ),
        (
            "CREATE TABLE \"pg_temp\".leak AS SELECT 2 AS secret",
            "DROP TABLE leak",
        ),
        (
            "CREATE TABLE U&\"pg\\005ftemp\".leak AS SELECT 2 AS secret",
            "DROP TABLE leak",
        ),
        (
            "SET search_path = pg_temp; CREATE TABLE leak (i int); RESET search_path",
            "DROP TABLE leak",
        ),
        (
            "SET search_path = pg_temp; SELECT 1 AS i INTO leak; RESET search_path",
            "DISCARD TEMP",
        ),
        (
            "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 42'",
            "DROP FUNCTION pg_temp.f()",
        ),
        (
            "CREATE TYPE pg_temp.mood AS ENUM ('a')",
            "DROP TYPE pg_temp.mood",
        ),
        ("CREATE TEMP VIEW leak AS SELECT 1", "DROP VIEW leak"),
        ("CREATE TEMP SEQUENCE leak", "DISCARD ALL"),
        (
            "DO 'begin create temp table leak (i int); end'",
            "DROP TABLE leak",
        ),
        ("PREPARE \"Quoted\" AS SELECT 1", "DEALLOCATE \"Quoted\""),
    ] {
        pair.pins(sql, end).await?;
    }
    // It has ended with its transaction.
    pair.a
        .batch_execute("BEGIN; CREATE TEMP TABLE gone (i int) ON COMMIT DROP; COMMIT")
        .await?;
    pair.b.simple_query("SELECT 1").await?;
    Ok(())
}

async fn locks_in_functions(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene
        .admin
        .batch_execute(
            "CREATE FUNCTION f_lock() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_lock(77)';
             CREATE FUNCTION f_temp() RETURNS void LANGUAGE plpgsql AS
                 $$ BEGIN CREATE TEMP TABLE IF NOT EXISTS t (a int); END $$;
             CREATE VIEW locks AS SELECT pg_try_advisory_lock(78) AS got; GRANT SELECT ON locks TO app",
        )
        .await?;
    pair.pins("SELECT f_lock()", "SELECT pg_advisory_unlock_all()")
        .await?;
    pair.pins("SELECT got FROM locks", "SELECT pg_advisory_unlock(78)")
        .await?;
    pair.pins("SELECT f_temp()", "DROP TABLE t").await
}

async fn settings_under_a_role(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene
        .admin
        .batch_execute("GRANT SET ON PARAMETER log_duration TO app")
        .await?;
    pair.a
        .batch_execute("SET log_duration = on; SET ROLE low")
        .await?;
    pair.b.batch_execute("SET ROLE low").await?;
    assert_eq!(Pair::read(&pair.b, "SHOW log_duration").await?, "off");
    assert_eq!(Pair::read(&pair.a, "SHOW log_duration").await?, "on");
    assert_eq!(Pair::read(&pair.a, "SELECT current_user").await?, "low");
    Ok(())
}

async fn a_forged_operator(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.a
        .batch_execute(
            "CREATE SCHEMA AUTHORIZATION app;
             CREATE FUNCTION app.never(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
             CREATE OPERATOR app.= (FUNCTION = app.never, LEFTARG = text, RIGHTARG = text);
             CREATE OPERATOR app.<> (FUNCTION = app.never, LEFTARG = text, RIGHTARG = text)",
        )
        .await?;
    pair.keeps(
        "SET search_path = app, pg_catalog; SET work_mem = '7MB'",
        MEMORY,
        "7MB",
    )
    .await
}

async fn ordinary_statements_cost_nothing_more(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.learned().await?;
    for sql in [
        "SELECT count(*), coalesce(max(id), 0) FROM scratch WHERE id IN (1, 2)",
        "INSERT INTO scratch (id, body) VALUES (1, 'set_config(')",
        "INSERT INTO public.scratch (id) SELECT v.n FROM (VALUES (2)) AS v(n)",
        "WITH t(n) AS (SELECT generate_series(1, 3)) SELECT n::numeric(10, 2) FROM t",
        "SELECT * FROM unnest(ARRAY[1, 2]) WITH ORDINALITY AS u(a, b)",
        "UPDATE scratch SET (body, id) = ('a', 3) WHERE id = ANY ('{1}') /* traceparent */ -- x",
        "DELETE FROM scratch WHERE EXISTS (SELECT FROM scratch s WHERE (s.id) = scratch.id)",
        "SELECT json_build_object('a', row_number() OVER (PARTITION BY id ORDER BY id)) FROM scratch",
        "SELECT cast('1' AS varchar(10)), extract(epoch FROM now()), substring('abc' FROM 1 FOR 2)",
        "BEGIN; SELECT pg_advisory_xact_lock(1); SAVEPOINT a; SET LOCAL work_mem = '7MB'; COMMIT",
    ] {
        pair.a
            .batch_execute(sql)
            .await
            .with_context(|| sql.to_owned())?;
        assert_eq!(pair.last().await?, sql);
    }
    let sql = "SELECT $1::int + 1 FROM scratch WHERE id = $1 AND lower(body) = 'a'";
    pair.a.query(sql, &[&1]).await?;
    assert_eq!(pair.last().await?, sql);
    let sql = "/* @include(books) */ SELECT id, name FROM authors WHERE id = 1";
    pair.a.query(sql, &[]).await?;
    let last = pair.last().await?;
    assert!(!last.starts_with("SELECT 's'"), "{last}");
    Ok(())
}

on_both! {
    custom_settings,
    custom_settings_of_computed_names,
    quoted_settings,
    settings_by_other_ways,
    strings_without_the_standard,
    settings_by_functions,
    functions_that_come_later,
    what_needs_no_name,
    function_calls,
    temporary_objects,
    locks_in_functions,
    settings_under_a_role,
    a_forged_operator,
    ordinary_statements_cost_nothing_more,
}
