//! sqlx: its pool, its statement cache, its binary formats.

use anyhow::{Result, ensure};
use sqlx::postgres::{PgListener, PgPoolCopyExt, PgPoolOptions};
use sqlx::{Connection, PgConnection, Row};
use twinport_integration::Target;

pub(crate) async fn suite(target: Target) -> Result<()> {
    types(&target).await?;
    transaction_and_savepoint(&target).await?;
    pool_with_cached_statements(&target).await?;
    copy(&target).await?;
    settings_apart(&target).await?;
    listen_notify(&target).await?;
    if target.annotated {
        include_and_upsert(&target).await?;
    }
    Ok(())
}

async fn connect(target: &Target) -> Result<PgConnection> {
    Ok(PgConnection::connect(&target.address.url()).await?)
}

async fn types(target: &Target) -> Result<()> {
    let mut connection = connect(target).await?;
    let bytes: Vec<u8> = (0..=255).collect();
    let ints = vec![Some(1), None, Some(3)];
    let sql = "INSERT INTO types (num, bytes, big, real8, ints, texts, mood, nothing)
        VALUES ($1::text::numeric, $2, $3, $4, $5, $6, $7::text::mood, $8)
        RETURNING num::text, bytes, big, real8, ints, texts, mood::text, nothing";
    let texts = vec!["a\"b".to_owned(), "c,d".to_owned(), String::new()];
    let row = sqlx::query(sql)
        .bind("12345678901234567890.000000000123")
        .bind(&bytes)
        .bind(i64::MIN)
        .bind(0.1_f64)
        .bind(&ints)
        .bind(&texts)
        .bind("Very Keen")
        .bind(None::<String>)
        .fetch_one(&mut connection)
        .await?;
    assert_eq!(row.get::<String, _>(0), "12345678901234567890.000000000123");
    assert_eq!(row.get::<Vec<u8>, _>(1), bytes);
    assert_eq!(row.get::<i64, _>(2), i64::MIN);
    assert_eq!(row.get::<f64, _>(3).to_bits(), 0.1_f64.to_bits());
    assert_eq!(row.get::<Vec<Option<i32>>, _>(4), ints);
    assert_eq!(row.get::<Vec<String>, _>(5), texts);
    assert_eq!(row.get::<String, _>(6), "Very Keen");
    assert_eq!(row.get::<Option<String>, _>(7), None);
    Ok(connection.close().await?)
}

async fn transaction_and_savepoint(target: &Target) -> Result<()> {
    let mut connection = connect(target).await?;
    sqlx::query("DELETE FROM scratch")
        .execute(&mut connection)
        .await?;
    let mut outer = Connection::begin(&mut connection).await?;
    sqlx::query("INSERT INTO scratch VALUES (1, 'kept')")
        .execute(&mut *outer)
        .await?;
    let mut inner = Connection::begin(&mut *outer).await?;
    let twice = sqlx::query("INSERT INTO scratch VALUES (1, 'twice')")
        .execute(&mut *inner)
        .await;
    ensure!(twice.is_err(), "the error is told");
    inner.rollback().await?;
    outer.commit().await?;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM scratch")
        .fetch_one(&mut connection)
        .await?;
    assert_eq!(count, 1);
    Ok(connection.close().await?)
}

async fn pool_with_cached_statements(target: &Target) -> Result<()> {
    let pool = PgPoolOptions::new()
        .max_connections(9)
        .connect(&target.address.url())
        .await?;
    let tasks: Vec<_> = (0..9_i32)
        .map(|number| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for turn in 0..10_i32 {
                    let sql = "SELECT $1 * 100 + $2";
                    let sum: i32 = sqlx::query_scalar(sql)
                        .bind(number)
                        .bind(turn)
                        .fetch_one(&pool)
                        .await?;
                    ensure!(sum == number * 100 + turn, "another's row");
                }
                Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    pool.close().await;
    Ok(())
}

async fn copy(target: &Target) -> Result<()> {
    let pool = PgPoolOptions::new().connect(&target.address.url()).await?;
    sqlx::query("DELETE FROM scratch").execute(&pool).await?;
    let mut into = pool.copy_in_raw("COPY scratch FROM STDIN").await?;
    into.send(&b"1\ta\n2\tb\n"[..]).await?;
    assert_eq!(into.finish().await?, 2);
    sqlx::query("DELETE FROM scratch").execute(&pool).await?;
    pool.close().await;
    Ok(())
}

async fn settings_apart(target: &Target) -> Result<()> {
    let mut a = PgConnection::connect(&target.single.url()).await?;
    let mut b = PgConnection::connect(&target.single.url()).await?;
    sqlx::query("SET search_path = tenant_a")
        .execute(&mut a)
        .await?;
    sqlx::query("SET search_path = tenant_b")
        .execute(&mut b)
        .await?;
    for _ in 0..3 {
        for (client, expected) in [(&mut a, "a"), (&mut b, "b")] {
            let owner: String = sqlx::query_scalar("SELECT owner FROM secrets")
                .fetch_one(client)
                .await?;
            assert_eq!(owner, expected);
        }
    }
    a.close().await?;
    Ok(b.close().await?)
}

async fn listen_notify(target: &Target) -> Result<()> {
    let mut listener = PgListener::connect(&target.address.url()).await?;
    listener.listen("sqlx_news").await?;
    let mut speaker = connect(target).await?;
    sqlx::query("SELECT pg_notify('sqlx_news', 'hello')")
        .execute(&mut speaker)
        .await?;
    let limit = std::time::Duration::from_secs(5);
    let note = tokio::time::timeout(limit, listener.recv()).await??;
    assert_eq!(note.payload(), "hello");
    Ok(speaker.close().await?)
}

async fn include_and_upsert(target: &Target) -> Result<()> {
    let mut connection = connect(target).await?;
    let sql =
        "/* @include(books(order: id, columns: [title])) */ SELECT id FROM authors WHERE id = $1";
    for _ in 0..3 {
        let row = sqlx::query(sql).bind(2).fetch_one(&mut connection).await?;
        let books: sqlx::types::JsonValue = row.get("books");
        assert_eq!(
            books.to_string(),
            r#"[{"title":"Small Gods"},{"title":"Mort"}]"#
        );
    }
    let sql = "/* @upsert(email) */ INSERT INTO authors (name, email) VALUES ($1, $2) RETURNING id";
    let mut ids = Vec::new();
    for name in ["First", "Second"] {
        let id: i32 = sqlx::query_scalar(sql)
            .bind(name)
            .bind("sqlx@example.org")
            .fetch_one(&mut connection)
            .await?;
        ids.push(id);
    }
    assert_eq!(ids.first(), ids.last());
    Ok(connection.close().await?)
}
