//! Names of prepared statements and portals: whose they are, and that they are in step with the server whatever
//! becomes of the batch that changes them.

use std::time::Duration;

use anyhow::Result;
use twinport_integration::eventually;

use super::support::Scene;

#[tokio::test]
async fn another_clients_unnamed_statement_is_out_of_reach() -> Result<()> {
    let scene = Scene::new(1).await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    a.parse("", "SELECT 'of a'").sync().await?;
    assert_eq!(b.run("").sync().await?, "E[26000]Z");
    assert_eq!(b.describe("").sync().await?, "E[26000]Z");
    // Its own is there, whoever used the connection in the meantime.
    assert_eq!(a.run("").sync().await?, "2DCZ");
    b.parse("", "SELECT 'of b'").sync().await?;
    assert_eq!(a.run("").sync().await?, "2DCZ");
    assert_eq!(a.taken(), ["of a", "of a"]);
    Ok(())
}

#[tokio::test]
async fn our_own_names_are_nobodys() -> Result<()> {
    let scene = Scene::new(1).await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    a.parse("kept", "SELECT 'of a'").run("kept").sync().await?;
    let held = "SELECT name FROM pg_prepared_statements WHERE statement = 'SELECT ''of a'''";
    let (_, names) = b.ask(held).await?;
    let name = &names[0];
    for _ in 0..2 {
        assert_eq!(b.run(name).sync().await?, "E[26000]Z");
        assert_eq!(b.describe(name).sync().await?, "E[26000]Z");
        assert_eq!(b.close(name).sync().await?, "3Z");
        for sql in [
            "EXECUTE",
            "EXPLAIN EXECUTE",
            "DEALLOCATE",
            "/* x */ DEALLOCATE PREPARE",
        ] {
            assert_eq!(
                b.query(&format!("{sql} {name}")).answer().await?,
                "E[26000]Z"
            );
        }
        // Pinned, its connection is its own; these names are not.
        b.query("PREPARE mine AS SELECT 'of b'").answer().await?;
    }
    a.taken();
    b.query("DEALLOCATE mine").answer().await?;
    assert_eq!(a.run("kept").sync().await?, "2DCZ");
    assert_eq!(a.taken(), ["of a"]);
    Ok(())
}

#[tokio::test]
async fn the_protocol_runs_what_sql_has_prepared() -> Result<()> {
    let scene = Scene::new(1).await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    a.query("BEGIN; PREPARE mine AS SELECT 1").answer().await?;
    assert_eq!(a.run("mine").sync().await?, "2DCZ");
    a.query("COMMIT").answer().await?;
    assert_eq!(a.describe("mine").run("mine").sync().await?, "tT2DCZ");
    assert_eq!(a.close("mine").run("mine").sync().await?, "3E[26000]Z");
    // None of it is there any more, and the connection is free.
    a.query("DEALLOCATE ALL").answer().await?;
    assert_eq!(b.run("mine").sync().await?, "E[26000]Z");
    Ok(())
}

#[tokio::test]
async fn a_batch_with_a_named_parse_is_tried_again() -> Result<()> {
    let scene = Scene::new(1).await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    let both = "SELECT * FROM scratch";
    let narrow = "ALTER TABLE scratch DROP COLUMN IF EXISTS more";
    let wide = "ALTER TABLE scratch ADD more text DEFAULT 'x'";
    a.query("INSERT INTO scratch VALUES (1, 'one')")
        .answer()
        .await?;
    a.parse("p", both).run("p").sync().await?;
    a.query(wide).answer().await?;
    // The shared text is out of date where it is bound, behind the Parse of another name.
    assert_eq!(b.parse("q", both).run("q").sync().await?, "12DCZ");
    assert_eq!(b.parse("q", both).sync().await?, "E[42P05]Z");
    // And so it is before the Parse of another statement.
    a.close("p").parse("p", both).run("p").sync().await?;
    a.query(narrow).answer().await?;
    a.run("p").parse("later", "SELECT 7").run("later");
    assert_eq!(a.sync().await?, "2DC12DCZ");
    assert_eq!(a.run("later").sync().await?, "2DCZ");
    Ok(())
}

#[tokio::test]
async fn what_a_client_leaves_behind_misleads_nobody() -> Result<()> {
    let scene = Scene::new(1).await?;
    let text = "SELECT 'seldom'";
    let mut stays = scene.raw().await?;
    stays.parse("s", text).sync().await?;
    for number in 0..3 {
        // On a connection where the text is not prepared yet, a Parse that the server passes over.
        let mut leaves = scene.raw().await?;
        leaves.query("DEALLOCATE ALL; SELECT 1").answer().await?;
        leaves
            .parse("slow", &format!("SELECT pg_sleep(30 + {number})"))
            .run("slow")
            .parse("y", text)
            .run("y")
            .end_batch();
        leaves.flush().await?;
        eventually("the query runs", async || {
            Ok(scene.running("pg_sleep").await? == 1)
        })
        .await?;
        drop(leaves);
        assert_eq!(stays.run("s").sync().await?, "2DCZ");
        assert_eq!(stays.taken(), ["seldom"]);
    }
    Ok(())
}

#[tokio::test]
async fn discard_all_can_be_prepared() -> Result<()> {
    let scene = Scene::new(1).await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    b.parse("of_b", "SELECT 'b'").sync().await?;
    a.parse("kept", "SELECT 5")
        .parse("all", "DISCARD ALL")
        .sync()
        .await?;
    assert_eq!(a.describe("all").sync().await?, "tnZ");
    assert_eq!(a.run("kept").sync().await?, "2DCZ");
    assert_eq!(a.run("all").sync().await?, "2CZ");
    assert_eq!(a.run("kept").sync().await?, "E[26000]Z");
    assert_eq!(a.run("all").sync().await?, "E[26000]Z");
    assert_eq!(b.run("of_b").sync().await?, "2DCZ");
    Ok(())
}

#[tokio::test]
async fn a_discard_all_that_fails_takes_nothing() -> Result<()> {
    let scene = Scene::new(1).await?;
    let mut a = scene.raw().await?;
    a.parse("k", "SELECT 5").sync().await?;
    a.query("BEGIN").answer().await?;
    assert_eq!(a.query("DISCARD ALL").answer().await?, "E[25001]Z");
    a.query("ROLLBACK").answer().await?;
    assert_eq!(a.run("k").sync().await?, "2DCZ");
    assert_eq!(a.query("DISCARD ALL").answer().await?, "CZ");
    assert_eq!(a.run("k").sync().await?, "E[26000]Z");
    assert_eq!(a.parse("k", "SELECT 6").run("k").sync().await?, "12DCZ");
    Ok(())
}

#[tokio::test]
async fn an_unnamed_execute_runs_what_the_name_stands_for_now() -> Result<()> {
    let scene = Scene::new(1).await?;
    let mut a = scene.raw().await?;
    a.parse("s1", "SELECT 1")
        .parse("runs", "EXECUTE s1")
        .sync()
        .await?;
    a.parse("", "EXECUTE s1").run("").run("runs").sync().await?;
    a.close("s1").parse("s1", "SELECT 2").sync().await?;
    a.parse("", "EXECUTE s1").run("").run("runs").sync().await?;
    assert_eq!(a.taken(), ["1", "1", "2", "2"]);
    Ok(())
}

#[tokio::test]
async fn deallocate_all_counts_in_any_form() -> Result<()> {
    let scene = Scene::new(1).await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    b.parse("of_b", "SELECT 'b'").sync().await?;
    for form in [
        "deallocate all; select 1",
        "DEALLOCATE PREPARE ALL",
        "/* x */ deallocate all;",
    ] {
        a.parse("s1", "SELECT 1").sync().await?;
        a.query(form).answer().await?;
        assert_eq!(a.run("s1").sync().await?, "E[26000]Z", "{form}");
        assert_eq!(
            a.parse("s1", "SELECT 1").run("s1").sync().await?,
            "12DCZ",
            "{form}"
        );
        a.query("DEALLOCATE s1").answer().await?;
    }
    // Prepared itself.
    a.parse("s1", "SELECT 1")
        .parse("all", "DEALLOCATE ALL")
        .run("all")
        .sync()
        .await?;
    assert_eq!(a.run("s1").sync().await?, "E[26000]Z");
    assert_eq!(b.run("of_b").sync().await?, "2DCZ");
    // Pinned.
    a.parse("s1", "SELECT 1").sync().await?;
    a.query("LISTEN news").answer().await?;
    a.query("DEALLOCATE ALL").answer().await?;
    assert_eq!(a.parse("s1", "SELECT 3").run("s1").sync().await?, "12DCZ");
    Ok(())
}

#[tokio::test]
async fn deallocate_all_takes_what_sql_has_prepared() -> Result<()> {
    let scene = Scene::new(1).await?;
    let mut a = scene.raw().await?;
    a.parse("by_protocol", "SELECT 1").sync().await?;
    for sql in ["BEGIN", "PREPARE x AS SELECT 1", "DEALLOCATE ALL"] {
        assert_eq!(a.query(sql).answer().await?, "CZ");
    }
    assert_eq!(a.query("EXECUTE x").answer().await?, "E[26000]Z");
    a.query("ROLLBACK").answer().await?;
    assert_eq!(a.run("by_protocol").sync().await?, "E[26000]Z");
    Ok(())
}

#[tokio::test]
async fn what_the_server_passes_over_keeps_its_name() -> Result<()> {
    let scene = Scene::new(1).await?;
    let mut a = scene.raw().await?;
    a.parse("e1", "SELECT 1").sync().await?;
    a.parse("", "SELECT no_such_column").close("e1");
    assert_eq!(a.sync().await?, "E[42703]Z");
    assert_eq!(a.run("e1").sync().await?, "2DCZ");
    a.parse("gone", "DEALLOCATE e1")
        .parse("", "SELECT no_such_column");
    assert_eq!(a.run("gone").sync().await?, "1E[42703]Z");
    assert_eq!(a.run("e1").sync().await?, "2DCZ");
    // In a transaction that has failed, nothing is deallocated.
    a.query("BEGIN; SELECT 1/0").answer().await?;
    assert_eq!(a.query("DEALLOCATE e1").answer().await?, "E[25P02]Z");
    assert_eq!(a.query("DEALLOCATE ALL").answer().await?, "E[25P02]Z");
    assert_eq!(a.parse("", "DEALLOCATE e1").sync().await?, "E[25P02]Z");
    a.query("ROLLBACK").answer().await?;
    assert_eq!(a.run("e1").sync().await?, "2DCZ");
    // And a name that takes another's place in a batch that fails gives it back.
    a.close("e1")
        .parse("e1", "SELECT 2")
        .run("e1")
        .parse("", "SELECT no_such_column");
    assert_eq!(a.sync().await?, "312DCE[42703]Z");
    a.taken();
    a.run("e1").sync().await?;
    assert_eq!(a.taken(), ["2"], "what came before the error has happened");
    a.parse("", "SELECT no_such_column")
        .close("e1")
        .parse("e1", "SELECT 3");
    a.sync().await?;
    a.run("e1").sync().await?;
    assert_eq!(a.taken(), ["2"], "what came after it has not");
    Ok(())
}

#[tokio::test]
async fn batches_sent_at_once_do_not_mislead_each_other() -> Result<()> {
    let scene = Scene::new(1).await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    // The name is free again.
    a.parse("n", "SELECT bad syntax FROM").end_batch();
    assert_eq!(
        a.parse("n", "SELECT 1").run("n").batches(2).await?,
        "E[42601]Z 12DCZ"
    );
    // A Close that is passed over, and one that is not.
    a.parse("", "SELECT bad syntax FROM").close("n").end_batch();
    assert_eq!(a.run("n").batches(2).await?, "E[42601]Z 2DCZ");
    a.close("n").end_batch();
    assert_eq!(a.run("n").batches(2).await?, "3Z E[26000]Z");
    // The same text under another name: the first failed, and so was never prepared.
    a.parse("x", "SELECT no_such_column").end_batch();
    assert_eq!(
        a.parse("y", "SELECT no_such_column").batches(2).await?,
        "E[42703]Z E[42703]Z"
    );
    // A hidden Parse that is passed over.
    a.parse("kept", "SELECT 8").sync().await?;
    b.query("DEALLOCATE ALL; SELECT 1").answer().await?;
    a.parse("", "SELECT bad syntax FROM")
        .run("kept")
        .end_batch();
    assert_eq!(a.run("kept").batches(2).await?, "E[42601]Z 2DCZ");
    // The last of many unnamed ones.
    a.taken();
    a.parse("", "SELECT 1")
        .end_batch()
        .parse("", "SELECT no_such_column")
        .end_batch();
    assert_eq!(a.parse("", "SELECT 3").batches(3).await?, "1Z E[42703]Z 1Z");
    a.run("").sync().await?;
    assert_eq!(a.taken(), ["3"]);
    Ok(())
}

#[tokio::test]
async fn a_failed_unnamed_parse_leaves_a_later_one() -> Result<()> {
    let scene = Scene::new(1).await?;
    let mut a = scene.raw().await?;
    a.parse("", "SELECT no_such_column")
        .end_batch()
        .parse("", "SELECT 2");
    assert_eq!(a.batches(2).await?, "E[42703]Z 1Z");
    assert_eq!(a.run("").sync().await?, "2DCZ");
    // It takes the one before it with it, as on a server; one that is passed over does not.
    a.parse("", "SELECT 3").sync().await?;
    a.parse("named", "SELECT no_such_column")
        .parse("", "SELECT 4")
        .sync()
        .await?;
    assert_eq!(a.run("").sync().await?, "2DCZ");
    assert_eq!(a.taken(), ["2", "3"]);
    a.parse("", "SELECT no_such_column").sync().await?;
    assert_eq!(a.run("").sync().await?, "E[26000]Z");
    // Several in one batch.
    a.parse("", "CREATE TEMPORARY TABLE t AS SELECT 5 AS n")
        .run("");
    assert_eq!(
        a.parse("", "SELECT n FROM t").run("").sync().await?,
        "12C12DCZ"
    );
    assert_eq!(a.taken(), ["5"]);
    Ok(())
}

#[tokio::test]
async fn what_is_prepared_behind_a_deallocate_all_stays() -> Result<()> {
    let scene = Scene::new(1).await?;
    let mut a = scene.raw().await?;
    for all in ["DEALLOCATE ALL", "DISCARD ALL"] {
        a.parse("s", "SELECT 1").sync().await?;
        a.taken();
        // In one batch, and in two sent at once; the name is free in between.
        a.parse("", all).run("").parse("s", "SELECT 2").run("s");
        assert_eq!(a.sync().await?, "12C12DCZ", "{all}");
        a.query(all).parse("s", "SELECT 3").run("s");
        assert_eq!(a.batches(2).await?, "CZ 12DCZ", "{all}");
        assert_eq!(a.run("s").sync().await?, "2DCZ", "{all}");
        assert_eq!(a.taken(), ["2", "3", "3"], "{all}");
        a.close("s").sync().await?;
    }
    Ok(())
}

#[tokio::test]
async fn each_portal_is_described_as_what_it_is_bound_to() -> Result<()> {
    let scene = Scene::new(1).await?;
    let mut a = scene.raw().await?;
    let include = "/* @include(books) */ SELECT id FROM authors";
    a.parse("plain", "SELECT 7::int8")
        .parse("nested", include)
        .sync()
        .await?;
    a.query("BEGIN").answer().await?;
    a.bind("p1", "plain")
        .bind("p2", "nested")
        .describe_portal("p1")
        .describe_portal("p2");
    assert_eq!(a.sync().await?, "22TTZ");
    assert_eq!(a.types, [20, 23, 114]);
    a.types.clear();
    a.bind("p3", "nested")
        .bind("", "plain")
        .describe_portal("p3")
        .describe_portal("");
    assert_eq!(a.sync().await?, "22TTZ");
    assert_eq!(a.types, [23, 114, 20]);
    Ok(())
}

#[tokio::test]
async fn an_explained_include_is_text() -> Result<()> {
    let scene = Scene::new(1).await?;
    let mut a = scene.raw().await?;
    let include = "/* @include(books) */ SELECT id FROM authors";
    a.parse("nested", include).sync().await?;
    a.query("EXPLAIN EXECUTE nested").answer().await?;
    assert_eq!(a.types, [25]);
    a.types.clear();
    a.query("EXPLAIN (FORMAT json) EXECUTE nested")
        .answer()
        .await?;
    assert_eq!(a.types, [114], "the server's own");
    a.types.clear();
    a.query("EXECUTE nested").answer().await?;
    assert_eq!(a.types, [23, 114]);
    Ok(())
}

#[tokio::test]
async fn a_portal_of_a_deallocate_ends_with_its_transaction() -> Result<()> {
    let scene = Scene::new(1).await?;
    let mut a = scene.raw().await?;
    a.parse("x", "SELECT 1")
        .parse("d", "DEALLOCATE x")
        .sync()
        .await?;
    assert_eq!(a.bind("pp", "d").execute("pp").sync().await?, "2CZ");
    assert_eq!(a.run("x").sync().await?, "E[26000]Z");
    assert_eq!(a.execute("pp").sync().await?, "E[34000]Z");
    a.query("BEGIN; DECLARE pp CURSOR FOR SELECT 'of the cursor'")
        .answer()
        .await?;
    assert_eq!(a.execute("pp").sync().await?, "DCZ");
    assert_eq!(a.taken(), ["of the cursor"]);
    // A portal's Close is not a statement's of the same name.
    a.parse("pp", "SELECT 6").close_portal("pp").sync().await?;
    assert_eq!(a.execute("pp").sync().await?, "E[34000]Z");
    a.query("ROLLBACK").answer().await?;
    assert_eq!(a.run("pp").sync().await?, "2DCZ");
    Ok(())
}

#[tokio::test]
async fn a_name_in_a_comment_is_not_executed() -> Result<()> {
    let scene = Scene::new(1).await?;
    let mut a = scene.raw().await?;
    a.parse("old", "SELECT 'old'")
        .parse("s1", "SELECT 'new'")
        .sync()
        .await?;
    let (tags, rows) = a.ask("/* execute old */ EXECUTE s1").await?;
    assert_eq!((&*tags, &*rows), ("TDCZ", &["new".to_owned()][..]));
    a.query("-- deallocate s1\nDEALLOCATE old").answer().await?;
    assert_eq!(a.query("EXECUTE s1").answer().await?, "TDCZ");
    assert_eq!(a.query("EXECUTE old").answer().await?, "E[26000]Z");
    Ok(())
}

#[tokio::test]
async fn a_deallocate_leaves_other_clients_statements() -> Result<()> {
    let scene = Scene::new(1).await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    b.parse("of_b", "SELECT 'b'").run("of_b").sync().await?;
    a.parse("x", "SELECT 1")
        .parse("d", "DEALLOCATE x")
        .run("d")
        .sync()
        .await?;
    a.query("DEALLOCATE nothing_of_that_name").answer().await?;
    a.query("DEALLOCATE ALL").answer().await?;
    let since = "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT ''b'''";
    let (_, before) = a
        .ask(&format!(
            "{since} AND prepare_time > now() - interval '1 day'"
        ))
        .await?;
    let first =
        "SELECT min(prepare_time) FROM pg_prepared_statements WHERE statement = 'SELECT ''b'''";
    let (_, prepared) = a.ask(first).await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(b.run("of_b").sync().await?, "2DCZ");
    assert_eq!(a.ask(first).await?.1, prepared);
    assert_eq!(before, ["1"]);
    Ok(())
}

#[tokio::test]
async fn statements_dropped_where_nobody_sees_it_are_prepared_again() -> Result<()> {
    let scene = Scene::new(1).await?;
    let (mut a, mut b) = (scene.raw().await?, scene.raw().await?);
    b.parse("s", "SELECT 'b'").run("s").sync().await?;
    a.query("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")
        .answer()
        .await?;
    assert_eq!(b.run("s").sync().await?, "2DCZ");
    a.query("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")
        .answer()
        .await?;
    // Inside a transaction it can't be tried again, and is in order after that.
    b.query("BEGIN").answer().await?;
    assert_eq!(b.run("s").sync().await?, "E[26000]Z");
    b.query("ROLLBACK").answer().await?;
    assert_eq!(b.run("s").sync().await?, "2DCZ");
    Ok(())
}
