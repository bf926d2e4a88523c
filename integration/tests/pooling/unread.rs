//! What a text or a function's body hides by the way it is written, and what is run though nobody names it: the next
//! client sees nothing of it all the same.

use anyhow::Result;
use futures_util::TryStreamExt as _;
use twinport_integration::eventually;

use super::pair::Pair;
use super::support::on_both;

const TENANT: &str = "SELECT current_setting('app.tenant', true)";
const MEMORY: &str = "SHOW work_mem";
const PATH: &str = "SHOW search_path";

async fn bodies_with_comments_in_strings(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene
        .admin
        .batch_execute(
            "CREATE FUNCTION by_path(p text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
                 IF p LIKE '/api/*' THEN RETURN set_config('app.tenant', '42', false); END IF; RETURN p; END $$;
             CREATE FUNCTION by_dash(p text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
                 p := '--' || p; PERFORM set_config('app.tenant', '42', false); RETURN p; END $$;
             CREATE FUNCTION by_end() RETURNS text LANGUAGE sql AS
                 $$ SELECT set_config('app.tenant', 'x, true)', false) $$;
             CREATE FUNCTION by_dollar() RETURNS text LANGUAGE sql AS
                 $$ SELECT set_config('app.tenant', $a$x, true)$a$, false) $$",
        )
        .await?;
    pair.learned().await?;
    pair.keeps("SELECT by_path('/api/*')", TENANT, "42").await?;
    pair.keeps("SELECT by_dash('a')", TENANT, "42").await?;
    pair.keeps("SELECT by_end()", TENANT, "x, true)").await?;
    pair.keeps("SELECT by_dollar()", TENANT, "x, true)").await
}

async fn operands_of_named_operators(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let sql = "SELECT 'a' OPERATOR(pg_catalog.||) set_config('search_path', 'evil', false)";
    pair.keeps(sql, PATH, "evil").await?;
    pair.pins(
        "SELECT true OPERATOR(pg_catalog.=) pg_try_advisory_lock(777)",
        "SELECT pg_advisory_unlock(777)",
    )
    .await?;
    // It is known as little as if it had been called in any other way.
    pair.scene
        .admin
        .batch_execute(
            "CREATE FUNCTION newly_made() RETURNS text LANGUAGE sql AS
                 $$ SELECT set_config('work_mem', '7MB', false) $$",
        )
        .await?;
    let sql = "SELECT 'a' OPERATOR(pg_catalog.||) newly_made()";
    pair.keeps(sql, MEMORY, "7MB").await
}

async fn columns_called_insert(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    for sql in [
        "SELECT insert INTO TEMP leak FROM (SELECT 1 AS insert) x",
        "SELECT merge INTO TEMP leak FROM (SELECT 1 AS merge) x",
        "SELECT (1) insert INTO TEMP leak",
        "WITH a AS (SELECT 1) SELECT (1) insert INTO TEMP leak",
    ] {
        pair.pins(sql, "DROP TABLE leak").await?;
    }
    Ok(())
}

async fn arguments_in_other_strings(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    let name = "SHOW application_name";
    for sql in [
        "SELECT set_config('application_name', $$evil,true)$$, false)",
        "SELECT set_config('application_name', U&'evil,true)', false)",
        "SELECT set_config('application_name', n'evil,true)', false)",
    ] {
        pair.keeps(sql, name, "evil,true)").await?;
    }
    let sql = "SELECT set_config('application_name', ARRAY[false, true, false]::text, false)";
    pair.keeps(sql, name, "{f,t,f}").await?;
    let sql = r#"SELECT set_config('search_path', E'public,"\',true)"', false)"#;
    pair.keeps(sql, PATH, r#"public,"',true)""#).await
}

async fn expressions_of_indexes_and_partitions(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene
        .admin
        .batch_execute(
            "CREATE FUNCTION mem(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM set_config('work_mem', '7MB', false); RETURN i; END $$;
             CREATE TABLE indexed (i int); CREATE INDEX ON indexed (mem(i));
             CREATE TABLE partly (i int); CREATE INDEX ON partly (i) WHERE mem(i) > 0;
             CREATE TABLE keyed (i int) PARTITION BY RANGE (mem(i));
             CREATE TABLE keyed_a PARTITION OF keyed FOR VALUES FROM (0) TO (10);
             CREATE TABLE checked (i int) PARTITION BY RANGE (i);
             CREATE TABLE checked_a PARTITION OF checked FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (i);
             CREATE TABLE checked_b PARTITION OF checked_a (CHECK (mem(i) > 0)) FOR VALUES FROM (0) TO (10);
             GRANT ALL ON ALL TABLES IN SCHEMA public TO app",
        )
        .await?;
    for table in ["indexed", "partly", "keyed", "checked"] {
        let sql = format!("INSERT INTO {table} VALUES (1)");
        pair.keeps(&sql, MEMORY, "7MB").await?;
    }
    Ok(())
}

async fn relations_that_a_string_names(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene
        .admin
        .batch_execute(
            "CREATE VIEW vset AS SELECT set_config('work_mem', '7MB', false) AS x; GRANT SELECT ON vset TO app;
             CREATE FUNCTION as_xml() RETURNS xml LANGUAGE sql AS $$ SELECT table_to_xml('vset', true, false, '') $$;
             CREATE SCHEMA apart; CREATE VIEW apart.v AS SELECT * FROM vset;
             GRANT USAGE ON SCHEMA apart TO app; GRANT SELECT ON apart.v TO app;
             CREATE VIEW xml_view AS SELECT table_to_xml('vset', true, false, '') AS x; GRANT SELECT ON xml_view TO app",
        )
        .await?;
    for sql in [
        "SELECT table_to_xml('vset', true, false, '')",
        "SELECT table_to_xml_and_xmlschema('vset', true, false, '')",
        "SELECT schema_to_xml('apart', true, false, '')",
        "SELECT as_xml()",
        "SELECT * FROM xml_view",
    ] {
        pair.keeps(sql, MEMORY, "7MB").await?;
    }
    Ok(())
}

async fn event_triggers(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene
        .admin
        .batch_execute(
            "CREATE FUNCTION audit() RETURNS event_trigger LANGUAGE plpgsql AS
                 $$ BEGIN EXECUTE 'SET work_mem = ''7MB'''; END $$;
             CREATE FUNCTION makes() RETURNS void LANGUAGE plpgsql AS
                 $$ BEGIN CREATE TEMP TABLE t (a int); DROP TABLE t; END $$;
             CREATE ROLE app_of; GRANT ALL ON scratch TO app WITH GRANT OPTION;
             CREATE FUNCTION shares() RETURNS void LANGUAGE sql AS 'GRANT SELECT ON scratch TO app_of';
             CREATE EVENT TRIGGER audit ON ddl_command_end EXECUTE FUNCTION audit()",
        )
        .await?;
    for sql in [
        "CREATE TABLE made (a int)",
        "GRANT SELECT ON scratch TO app_of",
        "DO 'begin create table made_too (a int); end'",
        "SELECT makes()",
        "SELECT shares()",
    ] {
        pair.keeps(sql, MEMORY, "7MB").await?;
    }
    pair.learned().await
}

async fn what_is_paid_for_by_none(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene
        .admin
        .batch_execute(
            "CREATE FUNCTION audit() RETURNS event_trigger LANGUAGE plpgsql AS
                 $$ BEGIN EXECUTE 'SELECT 1'; END $$;
             CREATE TABLE fired (a int, at timestamptz DEFAULT clock_timestamp());
             CREATE TABLE noted (a int, what text);
             CREATE TABLE \"User\" (a int);
             CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN EXECUTE 'SELECT 1'; RETURN NEW; END $$;
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO \"User\" VALUES (1); UPDATE \"User\" SET a = 2; NEW.what := 'create';
                 RETURN NEW; END $$;
             CREATE FUNCTION status() RETURNS int LANGUAGE plpgsql AS
                 $$ BEGIN EXECUTE 'SELECT 1'; RETURN 1; END $$;
             CREATE TRIGGER fire BEFORE INSERT ON fired FOR EACH ROW EXECUTE FUNCTION fire();
             CREATE TRIGGER note BEFORE INSERT ON noted FOR EACH ROW EXECUTE FUNCTION note();
             GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
             CREATE EVENT TRIGGER audit ON ddl_command_end EXECUTE FUNCTION audit()",
        )
        .await?;
    pair.learned().await?;
    for sql in [
        "SELECT a FROM fired FOR UPDATE",
        "INSERT INTO noted VALUES (1)",
        "SELECT a AS status FROM noted",
        "WITH a(x) AS (SELECT 1), b(y) AS (SELECT 2) SELECT x, y FROM a, b",
        "SELECT i FROM noted n (i, j)",
        "ANALYZE \"User\" (a)",
        "COPY noted (a) TO STDOUT",
    ] {
        if sql.starts_with("COPY") {
            pair.a.copy_out(sql).await?.try_collect::<Vec<_>>().await?;
        } else {
            pair.a.batch_execute(sql).await?;
        }
        assert_eq!(pair.last().await?, sql);
    }
    pair.a.batch_execute("INSERT INTO fired VALUES (1)").await?;
    eventually("the trigger is asked about", async || {
        Ok(pair.last().await?.starts_with("SELECT 's'"))
    })
    .await
}

on_both! {
    bodies_with_comments_in_strings,
    operands_of_named_operators,
    columns_called_insert,
    arguments_in_other_strings,
    expressions_of_indexes_and_partitions,
    relations_that_a_string_names,
    event_triggers,
    what_is_paid_for_by_none,
}
