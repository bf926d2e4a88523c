//! Settings of clients that don't speak UTF-8: they come back as they were set, on whatever connection.

use anyhow::Result;

use super::pair::Pair;
use super::raw::Raw;
use super::support::on_both;

/// A client's bytes, each sign one of them.
fn latin(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(c).unwrap_or(b'?'))
        .collect()
}

impl Raw {
    /// A simple query's tags and rows, in LATIN1; the rows are read lossily.
    async fn ask_latin(&mut self, text: &str) -> Result<(String, Vec<String>)> {
        self.taken();
        twinport_wire::pg::frontend::build::query(&mut self.out, &latin(text));
        // Some servers report the search path, others don't.
        let tags = self.answer().await?.replace('S', "");
        Ok((tags, self.taken()))
    }
}

async fn what_is_set_in_latin1_stays(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene
        .admin
        .batch_execute(
            "CREATE SCHEMA \"schéma\"; CREATE TABLE \"schéma\".here AS SELECT 42 AS answer;
             CREATE ROLE \"rôle\"; GRANT \"rôle\" TO app;
             GRANT USAGE ON SCHEMA \"schéma\" TO app, \"rôle\";
             GRANT SELECT ON \"schéma\".here TO app, \"rôle\"",
        )
        .await?;
    let mut a = pair.scene.raw_with("-c client_encoding=LATIN1").await?;
    let set = "SET app.city = 'Zürich'; SET search_path = \"schéma\", public; SET ROLE \"rôle\"";
    assert_eq!(a.ask_latin(set).await?.0, "CCCZ");
    let question = "SELECT answer, length(current_setting('app.city')),
        encode(convert_to(current_setting('app.city') || current_user
            || current_setting('search_path'), 'UTF8'), 'hex') FROM here";
    let is = "Zürichrôle\"schéma\", public".bytes();
    let is: String = is.map(|byte| format!("{byte:02x}")).collect();
    for _ in 0..3 {
        let (tags, rows) = a.ask_latin(question).await?;
        assert_eq!((&*tags, &*rows), ("TDCZ", &[format!("42|6|{is}")][..]));
        // Another client, and then another connection.
        let city = "SELECT current_setting('app.city', true)";
        assert_eq!(Pair::read(&pair.b, city).await?, "");
        pair.scene.reconnect().await?;
    }
    assert!(pair.scene.pins().is_empty());
    a.ask_latin("RESET ALL; RESET ROLE").await?;
    let (_, rows) = a
        .ask_latin("SELECT current_setting('app.city', true), current_user")
        .await?;
    assert_eq!(rows, ["|app"]);
    Ok(())
}

async fn names_in_a_transaction_are_read_in_latin1(major: u32) -> Result<()> {
    let pair = Pair::on(major).await?;
    pair.scene
        .admin
        .batch_execute(
            "CREATE SCHEMA \"schéma\"; CREATE TABLE \"schéma\".notes (id int PRIMARY KEY, body text);
             GRANT ALL ON SCHEMA \"schéma\" TO app; GRANT ALL ON \"schéma\".notes TO app",
        )
        .await?;
    let mut a = pair.scene.raw_with("-c client_encoding=LATIN1").await?;
    a.ask_latin("BEGIN; SET LOCAL search_path = \"schéma\"")
        .await?;
    let upsert = "/* @upsert */ INSERT INTO notes (id, body) VALUES (1, 'x')";
    assert_eq!(a.ask_latin(upsert).await?.0, "CZ");
    assert_eq!(
        a.ask_latin(upsert).await?.0,
        "CZ",
        "the key is there already"
    );
    assert_eq!(a.ask_latin("ROLLBACK").await?.0, "CZ");
    Ok(())
}

on_both! {
    what_is_set_in_latin1_stays,
    names_in_a_transaction_are_read_in_latin1,
}
