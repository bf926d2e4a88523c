//! tokio-postgres: pipelining, prepared statements, binary formats, portals.

use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, NoTls};
use twinport_integration::{Address, PASSWORD, Target, USER};

pub(crate) async fn suite(target: Target) -> Result<()> {
    types(&target).await?;
    prepared_reuse(&target).await?;
    pipelined_errors(&target).await?;
    transaction_and_portal(&target).await?;
    copy(&target).await?;
    cancel(&target).await?;
    settings_apart(&target).await?;
    listen_notify(&target).await?;
    if target.annotated {
        include_and_upsert(&target).await?;
    }
    Ok(())
}

/// SCRAM without TLS, which the other suites have.
fn config(address: &Address) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config
        .host("127.0.0.1")
        .port(address.port)
        .user(USER)
        .password(PASSWORD)
        .dbname(&address.database);
    config
}

async fn connect(address: &Address) -> Result<Client> {
    let (client, connection) = config(address).connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn code<T>(result: Result<T, tokio_postgres::Error>) -> Result<String> {
    let error = result.err().context("expected an error")?;
    Ok(error.code().context("no SQLSTATE")?.code().to_owned())
}

async fn types(target: &Target) -> Result<()> {
    let client = connect(&target.address).await?;
    let (bytes, at) = ((0..=255).collect::<Vec<u8>>(), SystemTime::UNIX_EPOCH);
    let ints = vec![Some(1), None, Some(3)];
    let sql = "INSERT INTO types (bytes, at, flag, big, real8, ints, nothing) VALUES ($1, $2, $3, $4, $5, $6, $7)
        RETURNING bytes, at, flag, big, real8, ints, nothing, 'Very Keen'::mood::text";
    let row = client
        .query_one(
            sql,
            &[
                &bytes,
                &at,
                &true,
                &i64::MIN,
                &0.1_f64,
                &ints,
                &None::<String>,
            ],
        )
        .await?;
    assert_eq!(row.get::<_, Vec<u8>>(0), bytes);
    assert_eq!(row.get::<_, SystemTime>(1), at);
    assert!(row.get::<_, bool>(2));
    assert_eq!(row.get::<_, i64>(3), i64::MIN);
    assert_eq!(row.get::<_, Vec<Option<i32>>>(5), ints);
    assert_eq!(row.get::<_, Option<String>>(6), None);
    assert_eq!(row.get::<_, String>(7), "Very Keen");
    Ok(())
}

async fn prepared_reuse(target: &Target) -> Result<()> {
    let mut clients = Vec::new();
    for number in 0..9 {
        let client = connect(&target.address).await?;
        let sql = format!("SELECT $1 + {}", number % 3);
        let statement = client.prepare_typed(&sql, &[Type::INT4]).await?;
        clients.push((number, client, statement));
    }
    for turn in 0..4 {
        for (number, client, statement) in &clients {
            let sum: i32 = client.query_one(statement, &[&turn]).await?.get(0);
            assert_eq!(sum, turn + number % 3);
        }
    }
    Ok(())
}

async fn pipelined_errors(target: &Target) -> Result<()> {
    let client = connect(&target.address).await?;
    let (first, second, third) = tokio::join!(
        client.query_one("SELECT 1", &[]),
        client.query_one("SELECT 1 / $1::int4", &[&0]),
        client.query_one("SELECT $1::text", &[&"é"]),
    );
    assert_eq!(first?.get::<_, i32>(0), 1);
    assert_eq!(code(second)?, "22012");
    assert_eq!(third?.get::<_, String>(0), "é");
    Ok(())
}

async fn transaction_and_portal(target: &Target) -> Result<()> {
    let mut client = connect(&target.address).await?;
    client.batch_execute("DELETE FROM scratch").await?;
    let mut outer = client.transaction().await?;
    let inner = outer.savepoint("here").await?;
    assert_eq!(code(inner.execute("SELECT nope", &[]).await)?, "42703");
    inner.rollback().await?;
    let portal = outer
        .bind("SELECT n FROM generate_series(1, 10) AS n", &[])
        .await?;
    let mut seen = 0;
    for expected in [4, 4, 2] {
        let rows = outer.query_portal(&portal, 4).await?;
        assert_eq!(rows.len(), expected);
        seen += rows.len();
    }
    assert_eq!(seen, 10);
    Ok(outer.commit().await?)
}

async fn copy(target: &Target) -> Result<()> {
    let client = connect(&target.address).await?;
    client.batch_execute("DELETE FROM scratch").await?;
    let sink = client.copy_in("COPY scratch FROM STDIN").await?;
    let mut sink = pin!(sink);
    for number in 0..1000 {
        let line = format!("{number}\trow é\n").into_bytes();
        futures_util::SinkExt::send(&mut sink, std::io::Cursor::new(line)).await?;
    }
    assert_eq!(sink.finish().await?, 1000);
    client.batch_execute("DELETE FROM scratch").await?;
    Ok(())
}

async fn cancel(target: &Target) -> Result<()> {
    let client = connect(&target.address).await?;
    let (token, began) = (client.cancel_token(), Instant::now());
    let (result, sent) = tokio::join!(client.batch_execute("SELECT pg_sleep(30)"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await
    });
    sent?;
    assert_eq!(code(result)?, "57014");
    ensure!(
        began.elapsed() < Duration::from_secs(5),
        "the cancel was slow"
    );
    client.query_one("SELECT 1", &[]).await?;
    Ok(())
}

async fn settings_apart(target: &Target) -> Result<()> {
    let (a, b) = (
        connect(&target.single).await?,
        connect(&target.single).await?,
    );
    a.batch_execute("SET search_path = tenant_a").await?;
    b.batch_execute("SET search_path = tenant_b").await?;
    for _ in 0..3 {
        for (client, expected) in [(&a, "a"), (&b, "b")] {
            let row = client.query_one("SELECT owner FROM secrets", &[]).await?;
            assert_eq!(row.get::<_, String>(0), expected);
        }
    }
    Ok(())
}

async fn listen_notify(target: &Target) -> Result<()> {
    let (listener, mut connection) = config(&target.address).connect(NoTls).await?;
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(note) = message {
                let _ = sender.send(note.payload().to_owned());
            }
        }
    });
    listener.batch_execute("LISTEN rust_news").await?;
    let speaker = connect(&target.address).await?;
    speaker
        .batch_execute("SELECT pg_notify('rust_news', 'hello')")
        .await?;
    let note = tokio::time::timeout(Duration::from_secs(5), heard.recv()).await?;
    assert_eq!(note.as_deref(), Some("hello"));
    Ok(())
}

async fn include_and_upsert(target: &Target) -> Result<()> {
    let client = connect(&target.address).await?;
    let sql = "/* @include(books(order: id)) */ SELECT id, name FROM authors WHERE id = $1";
    for _ in 0..3 {
        let row = client.query_one(sql, &[&2]).await?;
        assert_eq!(
            row.columns().last().map(|column| column.name()),
            Some("books")
        );
    }
    let error = client
        .query("/* @include(boks) */ SELECT id FROM authors", &[])
        .await;
    ensure!(["42703", "42P01"].contains(&code(error)?.as_str()));
    let sql = "/* @upsert(email) */ INSERT INTO authors (name, email) VALUES ($1, $2) RETURNING id";
    let mut ids = Vec::new();
    for name in ["First", "Second"] {
        let row = client
            .query_one(sql, &[&name, &"tokio@example.org"])
            .await?;
        ids.push(row.get::<_, i32>(0));
    }
    assert_eq!(ids.first(), ids.last());
    Ok(())
}
