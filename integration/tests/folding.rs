//! `@include` through the port, folded there and written by the server: byte by byte the same answer.
//!
//! The rows of the unnamed portal are folded. Those of a named portal are not, as SQL can fetch from it.

#[path = "folding/wire.rs"]
mod wire;

use anyhow::{Context as _, Result, ensure};
use twinport_integration::{Port, World};
use wire::{Answer, Batch, Wire, kinds, rows};

/// Parents and children with values of every kind.
const ODD: &str = include_str!("folding/odd.sql");

/// Annotated statements over them.
const STATEMENTS: &[&str] = &[
    "/* @include(odds(order: id)) */ SELECT id, note FROM parent ORDER BY id",
    "/* @include(odds(order: id)) */ SELECT * FROM parent WHERE id < 3 ORDER BY id",
    "/* @include(odds(order: -id, limit: 2, columns: [id, t])) */ SELECT id FROM parent ORDER BY id DESC OFFSET 1",
    "/* @include(odds(order: id, where: \"b AND i4 > 0\")) */ SELECT id FROM parent ORDER BY id LIMIT 2",
    "/* @include(parent) */ SELECT id FROM odd ORDER BY id",
    "/* @include(odds(order: id, columns: [id, ts]).parent.odds(order: id), parent_tags) */ SELECT id FROM parent ORDER BY id",
    "/* @include(parent.odds(order: id, columns: [i8])) */ SELECT id FROM odd WHERE id < 4 ORDER BY id",
    "/* @include(odds(order: id)) */ SELECT p.id FROM parent p, generate_series(1, 2) ORDER BY 1",
    "/* @include(odds) */ SELECT id FROM parent WHERE false",
    "/* @include(odds(order: id)) */ SELECT FROM parent ORDER BY id",
];

/// Settings that change how values are written.
const SETTINGS: &[&str] = &[
    "RESET ALL",
    "SET timezone = 'Europe/Amsterdam'; SET datestyle = 'German, DMY'; SET extra_float_digits = -4",
    "SET timezone = '-11:30'; SET bytea_output = 'escape'; SET intervalstyle = 'iso_8601'",
    "SET timezone = 'Asia/Kathmandu'; SET standard_conforming_strings = off; SET escape_string_warning = off",
    "RESET ALL; SET client_encoding = 'LATIN1'",
];

async fn world(major: u32) -> Result<(World, Port)> {
    let world = World::start(major).await?;
    let port = Port::trusting(&world, 2, "").await?;
    let mut wire = Wire::connect(&port).await?;
    for statement in ODD.split(";\n\n") {
        wire.run(statement).await?;
    }
    Ok((world, port))
}

/// Every statement under every setting, in both formats and by every protocol.
async fn forms_agree(major: u32) -> Result<()> {
    let (_world, port) = world(major).await?;
    let mut wire = Wire::connect(&port).await?;
    for settings in SETTINGS {
        for setting in settings.split(';') {
            wire.run(setting).await?;
        }
        for sql in STATEMENTS {
            for format in [0, 1] {
                let batch = |portal: &str| {
                    let batch = Batch::new().parse("", sql).describe("");
                    batch.bind(portal, "", &[format]).execute(portal, 0)
                };
                let alone = same(&mut wire, batch).await.context(*settings)?;
                ensure!(kinds(&alone).starts_with("1tT2"), "{sql}: {alone:?}");
                if format == 0 {
                    let simple = wire.query(sql).await?;
                    ensure!(rows(&simple) == rows(&alone), "{settings}\n{sql}, simple");
                }
            }
        }
    }
    port.stop().await;
    Ok(())
}

/// The answer to a batch, which must be the same for a portal that is folded and one that is not.
async fn same(wire: &mut Wire, batch: impl Fn(&str) -> Batch) -> Result<Answer> {
    let folded = wire.send(batch("").sync()).await?;
    let alone = wire.send(batch("named").sync()).await?;
    let text = |(_, body): &(u8, Vec<u8>)| String::from_utf8_lossy(body).into_owned();
    for (folded, alone) in folded.iter().zip(&alone) {
        ensure!(
            folded == alone,
            "folded {}\nalone  {}",
            text(folded),
            text(alone)
        );
    }
    ensure!(
        folded.len() == alone.len(),
        "{} {}",
        kinds(&folded),
        kinds(&alone)
    );
    Ok(alone)
}

#[tokio::test]
async fn forms_agree_15() -> Result<()> {
    forms_agree(15).await
}

#[tokio::test]
async fn forms_agree_18() -> Result<()> {
    forms_agree(18).await
}

/// Gives the statement that the server got.
const SENT: &str =
    "/* @include(odds(columns: [t])) */ SELECT current_query() FROM parent WHERE id = 1";

fn is_folded(answer: &Answer) -> Result<bool> {
    let rows = rows(answer);
    let row = rows.first().with_context(|| format!("{answer:?}"))?;
    let sent = String::from_utf8_lossy(row);
    ensure!(sent.contains("\"t\":\"plain"), "{sent}");
    Ok(sent.contains("textsend("))
}

#[tokio::test]
async fn rows_are_folded_where_nothing_else_can_ask_for_them() -> Result<()> {
    let (_world, port) = world(15).await?;
    let mut wire = Wire::connect(&port).await?;
    let run = |portal: &str| {
        Batch::new()
            .parse("", SENT)
            .bind(portal, "", &[1])
            .execute(portal, 0)
            .sync()
    };
    let mut folded = async |before: &str| -> Result<[bool; 3]> {
        if !before.is_empty() {
            wire.run(before).await?;
        }
        Ok([
            is_folded(&wire.query(SENT).await?)?,
            is_folded(&wire.send(run("")).await?)?,
            is_folded(&wire.send(run(&format!("after {before}"))).await?)?,
        ])
    };
    assert_eq!(folded("").await?, [true, true, false]);
    assert_eq!(folded("BEGIN").await?, [true, true, false]);
    // What may have changed the encoding in this transaction is not known yet.
    assert_eq!(folded("SET LOCAL lock_timeout = '1s'").await?, [false; 3]);
    assert_eq!(folded("ROLLBACK").await?, [true, true, false]);
    assert_eq!(folded("SET client_encoding = 'SJIS'").await?, [false; 3]);
    assert_eq!(
        folded("SET client_encoding = 'UTF8'").await?,
        [true, true, false]
    );
    port.stop().await;
    Ok(())
}

#[tokio::test]
async fn portals_give_their_rows_in_parts() -> Result<()> {
    let (_world, port) = world(15).await?;
    let mut wire = Wire::connect(&port).await?;
    for sql in STATEMENTS {
        let parse = || Batch::new().parse("", sql);
        let whole = wire
            .send(parse().bind("", "", &[]).execute("", 0).sync())
            .await?;
        for portal in ["", "named"] {
            let parts = parse()
                .bind(portal, "", &[])
                .describe_portal(portal)
                .execute(portal, 1)
                .execute(portal, 2)
                .execute(portal, 0)
                .sync();
            let parts = wire.send(parts).await?;
            ensure!(rows(&parts) == rows(&whole), "{sql}, {portal}: {parts:?}");
        }
    }
    // Over several batches, in a transaction; and from cursors that SQL knows.
    let sql = STATEMENTS[0];
    let whole = rows(&wire.query(sql).await?).len();
    wire.run("BEGIN").await?;
    for portal in ["", "c"] {
        let first = Batch::new()
            .parse("s", sql)
            .bind(portal, "s", &[])
            .execute(portal, 1);
        let first = wire.send(first.sync()).await?;
        ensure!(kinds(&first) == "12DsZ", "{first:?}");
        let rest = wire
            .send(Batch::new().execute(portal, 0).close("s").sync())
            .await?;
        ensure!(rows(&first).len() + rows(&rest).len() == whole, "{rest:?}");
    }
    wire.send(Batch::new().parse("", sql).bind("c2", "", &[]).sync())
        .await?;
    let fetched = wire.query("FETCH 2 FROM c2").await?;
    wire.run(&format!("DECLARE c3 CURSOR FOR {sql}")).await?;
    ensure!(rows(&fetched) == rows(&wire.query("FETCH 2 FROM c3").await?));
    wire.run("ROLLBACK").await?;
    wire.send(Batch::new().parse("kept", sql).sync()).await?;
    ensure!(rows(&wire.query("EXECUTE kept").await?) == rows(&wire.query(sql).await?));
    let explained = wire.query("EXPLAIN (VERBOSE) EXECUTE kept").await?;
    let sends = rows(&explained).concat();
    ensure!(
        !String::from_utf8_lossy(&sends).contains("textsend"),
        "{explained:?}"
    );
    port.stop().await;
    Ok(())
}

#[tokio::test]
async fn batches_keep_their_order_and_errors_their_place() -> Result<()> {
    let (_world, port) = world(18).await?;
    let mut wire = Wire::connect(&port).await?;
    let annotated = STATEMENTS[0];
    let whole = wire.query(annotated).await?;
    let plain = "SELECT '\\x01'::bytea";
    let step = |batch: Batch, sql| batch.parse("", sql).bind("", "", &[]).execute("", 0);
    let batch = [annotated, plain, annotated, plain]
        .into_iter()
        .fold(Batch::new(), step);
    let answer = wire.send(batch.sync()).await?;
    let mut wanted = rows(&whole);
    wanted.extend(rows(&wire.query(plain).await?));
    wanted.extend(wanted.clone());
    ensure!(rows(&answer) == wanted, "{answer:?}");

    // After some rows the server fails; the rest of the batch is skipped.
    let failing = "/* @include(odds(order: id)) */ SELECT id, 1 / (id - 2) FROM parent WHERE id < 4 ORDER BY id";
    for format in [0, 1] {
        let batch = |portal: &str| {
            let batch = Batch::new().parse("", failing).bind(portal, "", &[format]);
            step(batch.execute(portal, 0), annotated)
        };
        let answer = same(&mut wire, batch).await?;
        ensure!(kinds(&answer).ends_with("EZ"), "{answer:?}");
    }
    ensure!(wire.query(annotated).await? == whole);

    // Several statements in one text, whose columns nobody can tell apart.
    let two = wire.query(&format!("{plain}; {annotated}")).await?;
    ensure!(kinds(&two).starts_with("TDCTD"), "{two:?}");
    ensure!(rows(&two).get(1..) == Some(&rows(&whole)[..]));
    let copied = wire.query(&format!("COPY ({annotated}) TO STDOUT")).await?;
    ensure!(
        kinds(&copied) == "EZ" || kinds(&copied).starts_with('H'),
        "{copied:?}"
    );
    port.stop().await;
    Ok(())
}

/// A row of 4 MB, and a prepared statement that outlives a change of the schema.
#[tokio::test]
async fn large_rows_and_changed_schemas() -> Result<()> {
    let (_world, port) = world(18).await?;
    let mut wire = Wire::connect(&port).await?;
    wire.run("INSERT INTO odd (id, parent_id, t) SELECT i, 5, repeat(E'\"\\n', 10000) FROM generate_series(1000, 1100) i").await?;
    let sql =
        "/* @include(odds(order: id, columns: [id, t])) */ SELECT id FROM parent WHERE id = 5";
    for format in [0, 1] {
        let batch = |portal: &str| {
            let batch = Batch::new().parse("", sql).bind(portal, "", &[format]);
            batch.execute(portal, 0)
        };
        let answer = same(&mut wire, batch).await?;
        ensure!(rows(&answer).concat().len() > 4_000_000);
    }
    let batch = Batch::new().parse(
        "p",
        "/* @include(odds) */ SELECT * FROM parent WHERE id = 1",
    );
    wire.send(batch.describe("p").sync()).await?;
    wire.run("ALTER TABLE parent ADD COLUMN more int").await?;
    for portal in ["", "named"] {
        let batch = Batch::new()
            .bind(portal, "p", &[])
            .execute(portal, 0)
            .sync();
        let answer = wire.send(batch).await?;
        // The star was expanded when it was prepared; the server may only tell that it would not be now.
        ensure!(
            matches!(kinds(&answer).as_str(), "EZ" | "2DCZ"),
            "{answer:?}"
        );
    }
    port.stop().await;
    Ok(())
}

/// The first time ends the session with a clear error; after that the server writes the JSON.
#[tokio::test]
async fn a_row_too_large_to_be_held_is_the_servers_from_then_on() -> Result<()> {
    let (_world, port) = world(15).await?;
    let mut wire = Wire::connect(&port).await?;
    wire.run("INSERT INTO odd (id, parent_id, t) SELECT i, 5, repeat('x', 1000000) FROM generate_series(1000, 1069) i")
        .await?;
    let sql = "/* @include(odds(order: id, columns: [t])) */ SELECT id FROM parent ORDER BY id";
    let batch = || {
        Batch::new()
            .parse("", sql)
            .bind("", "", &[1])
            .execute("", 0)
            .sync()
    };
    let problem = wire.send(batch()).await.err().context("it was held")?;
    ensure!(format!("{problem:#}").contains("54000"), "{problem:#}");
    let mut wire = Wire::connect(&port).await?;
    let answer = wire.send(batch()).await?;
    ensure!(
        rows(&answer).concat().len() > 70_000_000,
        "{}",
        kinds(&answer)
    );
    port.stop().await;
    Ok(())
}
