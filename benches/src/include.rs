//! Eager loading through the port against what people write by hand.

mod answer;

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_postgres::{Client, Config, NoTls, Statement};

use crate::{
    flags::Plan,
    ground::{self, Ground},
    rival::{Rival, Tools},
    sample,
};

/// The name for `--only`.
pub(crate) const NAME: &str = "include";

/// 1,000 authors with 10 books each.
pub(crate) const LIBRARY: &str = include_str!("include/library.sql");

/// What every author's books are asked for by.
const MANY_ANNOTATED: &str = "/* @include(books) */ SELECT id, name, email, born FROM author";
/// As query builders write it.
const MANY_BY_HAND: &str = "\
SELECT a.id, a.name, a.email, a.born, b.books FROM author a
LEFT JOIN LATERAL (
  SELECT coalesce(json_agg(json_build_object('id', b.id, 'author_id', b.author_id, 'title', b.title,
    'published', b.published, 'price', b.price)), '[]') AS books
  FROM book b WHERE b.author_id = a.id
) b ON true";
const PARENTS: &str = "SELECT id, name, email, born FROM author";
const CHILDREN: &str =
    "SELECT id, author_id, title, published, price FROM book WHERE author_id = $1";

const ONE_ANNOTATED: &str =
    "/* @include(author) */ SELECT id, title, published, price FROM book WHERE id <= 1000";
const ONE_BY_HAND: &str = "\
SELECT b.id, b.title, b.published, b.price,
  CASE WHEN a.id IS NOT NULL THEN json_build_object('id', a.id, 'name', a.name, 'email', a.email,
    'born', a.born) END AS author
FROM book b LEFT JOIN author a ON a.id = b.author_id WHERE b.id <= 1000";

/// One way to have the answer.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What is loaded.
    pub(crate) case: &'static str,
    /// How.
    pub(crate) way: &'static str,
    /// Milliseconds until all rows are there.
    pub(crate) p50_ms: Option<f64>,
    /// Milliseconds until all rows are there.
    pub(crate) p95_ms: Option<f64>,
    /// Whether it is the same answer as the case's first; none where that can't be compared.
    pub(crate) same_answer: Option<bool>,
}

/// A statement on a connection, or a statement per row of it.
struct Way<'a> {
    case: &'static str,
    name: &'static str,
    client: &'a Client,
    statement: Statement,
    per_row: Option<Statement>,
    times: Vec<f64>,
}

impl<'a> Way<'a> {
    async fn new(
        case: &'static str,
        name: &'static str,
        client: &'a Client,
        sql: &str,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            case,
            name,
            client,
            statement: client.prepare(sql).await?,
            per_row: None,
            times: Vec::new(),
        })
    }

    async fn then_per_row(mut self, sql: &str) -> anyhow::Result<Self> {
        self.per_row = Some(self.client.prepare(sql).await?);
        Ok(self)
    }

    async fn ask(&mut self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let rows = self.client.query(&self.statement, &[]).await?;
        if let Some(statement) = &self.per_row {
            for row in &rows {
                let id: i32 = row.try_get(0)?;
                self.client.query(statement, &[&id]).await?;
            }
        }
        Ok(start.elapsed())
    }
}

/// Measures all ways in turns. The statements are prepared before.
pub(crate) async fn measure(
    tools: &Tools,
    ground: &Ground,
    plan: &Plan,
) -> anyhow::Result<Vec<Row>> {
    eprintln!("{NAME}");
    let proxy = Rival::twinport(tools, ground, plan).await?;
    let direct = connect(ground.server.port()).await?;
    let ours = connect(proxy.port).await?;
    let many = "1,000 parents × 10 children";
    let one = "1,000 rows with a to-one parent";
    let mut ways = vec![
        Way::new(many, "`@include` through the port", &ours, MANY_ANNOTATED).await?,
        Way::new(many, "LATERAL `json_agg`, direct", &direct, MANY_BY_HAND).await?,
        Way::new(
            many,
            "LATERAL `json_agg`, through the port",
            &ours,
            MANY_BY_HAND,
        )
        .await?,
        Way::new(many, "N+1, direct", &direct, PARENTS)
            .await?
            .then_per_row(CHILDREN)
            .await?,
        Way::new(one, "`@include` through the port", &ours, ONE_ANNOTATED).await?,
        Way::new(
            one,
            "LEFT JOIN `json_build_object`, direct",
            &direct,
            ONE_BY_HAND,
        )
        .await?,
        Way::new(
            one,
            "LEFT JOIN `json_build_object`, through the port",
            &ours,
            ONE_BY_HAND,
        )
        .await?,
    ];
    let same_many = answer::same(&ours, MANY_ANNOTATED, &direct, MANY_BY_HAND).await?;
    let same_one = answer::same(&ours, ONE_ANNOTATED, &direct, ONE_BY_HAND).await?;
    for iteration in 0..plan.iterations + plan.iterations / 10 {
        for way in &mut ways {
            let time = way.ask().await?;
            // The first tenth warms up.
            if iteration >= plan.iterations / 10 {
                way.times.push(time.as_secs_f64() * 1e3);
            }
        }
    }
    Ok(ways
        .into_iter()
        .map(|mut way| Row {
            case: way.case,
            way: way.name,
            p50_ms: sample::percentile(&mut way.times, 50.0),
            p95_ms: sample::percentile(&mut way.times, 95.0),
            same_answer: match (way.per_row.is_some(), way.case == many) {
                (true, _) => None,
                (false, true) => Some(same_many),
                (false, false) => Some(same_one),
            },
        })
        .collect())
}

async fn connect(port: u16) -> anyhow::Result<Client> {
    let (client, connection) = Config::new()
        .host("127.0.0.1")
        .port(port)
        .user(ground::NAME)
        .password(ground::NAME)
        .dbname(ground::NAME)
        .connect(NoTls)
        .await?;
    // Ends when the client is dropped; its error comes up in the client's requests, too.
    tokio::spawn(connection);
    Ok(client)
}
