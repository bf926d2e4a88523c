//! The admin console and the HTTP port of a running server.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use twinport::Running;
use twinport_config::Settings;
use twinport_embedded::{Options, Server};
use twinport_integration::Suite;

const PASSWORD: &str = "app-secret";

/// A server behind a port, without TLS.
struct Setup {
    running: Running,
    server: Server,
}

impl Setup {
    async fn start() -> Result<Self> {
        let server = Server::start(Options::for_tests()).await?;
        let admin = server.client("postgres").await?;
        for user in ["app", "boss"] {
            let role = format!("CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'");
            admin.batch_execute(&role).await?;
        }
        admin.batch_execute("CREATE DATABASE app OWNER app").await?;
        let text = format!(
            r#"
            [postgres]
            listen = ["127.0.0.1:0"]
            [pool]
            size = 4
            [databases.app]
            url = "postgres://127.0.0.1:{}/app?sslmode=disable"
            [users.app]
            password = "{PASSWORD}"
            [users.boss]
            password = "{PASSWORD}"
            [admin]
            http = "127.0.0.1:0"
            users = ["boss"]
            "#,
            server.port()
        );
        let running = twinport::start(Settings::parse(&text, "admin.toml")?).await?;
        Ok(Self { running, server })
    }

    fn port(&self) -> Result<u16> {
        Ok(self.running.postgres.first().context("no address")?.port())
    }

    fn url(&self, user: &str, database: &str) -> Result<String> {
        let port = self.port()?;
        Ok(format!(
            "postgres://{user}:{PASSWORD}@127.0.0.1:{port}/{database}?application_name={user}-test"
        ))
    }

    async fn connect(&self, user: &str, database: &str) -> Result<Client> {
        let (client, connection) =
            tokio_postgres::connect(&self.url(user, database)?, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn http(&self, path: &str) -> Result<(u16, String)> {
        let address = self.running.admin.context("no HTTP port")?;
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let (head, body) = text.split_once("\r\n\r\n").context("no body")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, body.to_owned()))
    }

    /// A sample of `/metrics`, by its name and labels.
    async fn metric(&self, sample: &str) -> Result<f64> {
        let (_, text) = self.http("/metrics").await?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))
            .with_context(|| format!("{sample} is not in:\n{text}"))?;
        Ok(line.parse()?)
    }
}

type Row = std::collections::BTreeMap<String, Option<String>>;

async fn show(console: &Client, command: &str) -> Result<Vec<Row>> {
    let messages = console
        .simple_query(command)
        .await
        .with_context(|| command.to_owned())?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows
        .map(|row| {
            let names = row.columns().iter().enumerate();
            names
                .map(|(at, column)| (column.name().to_owned(), row.get(at).map(str::to_owned)))
                .collect()
        })
        .collect())
}

fn cell<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).and_then(Option::as_deref).unwrap_or("NULL")
}

/// The console's row of the client who calls itself `app-test`.
async fn client(console: &Client) -> Result<Row> {
    let clients = show(console, "SHOW CLIENTS").await?;
    let found = clients
        .into_iter()
        .find(|row| cell(row, "application_name") == "app-test");
    found.context("the client is not shown")
}

/// The client's row once `column` says `value`: what a statement left is looked for after its answer.
async fn client_with(console: &Client, column: &str, value: &str) -> Result<Row> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let row = client(console).await?;
        if cell(&row, column) == value {
            return Ok(row);
        }
        ensure!(Instant::now() < until, "{column} is never {value}: {row:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn every_show_answers_and_tells_the_truth() -> Result<()> {
    let setup = Setup::start().await?;
    let app = setup.connect("app", "app").await?;
    app.simple_query("SELECT 1").await?;
    let console = setup.connect("boss", "twinport").await?;

    client_with(&console, "state", "idle").await?;
    let pools = show(&console, "SHOW POOLS").await?;
    let pool = pools.first().context("no pool")?;
    assert_eq!((cell(pool, "database"), cell(pool, "user")), ("app", "app"));
    assert_eq!((cell(pool, "cl_active"), cell(pool, "cl_idle")), ("1", "1"));
    assert_eq!((cell(pool, "sv_idle"), cell(pool, "pool_size")), ("1", "4"));

    let servers = show(&console, "SHOW SERVERS").await?;
    let server = servers.iter().find(|row| cell(row, "state") == "idle");
    let pid: i32 = cell(server.context("no idle server")?, "remote_pid").parse()?;
    let direct = setup.server.client("app").await?;
    let found = direct
        .query("SELECT FROM pg_stat_activity WHERE pid = $1", &[&pid])
        .await?;
    assert_eq!(
        found.len(),
        1,
        "remote_pid {pid} is no process of the server"
    );

    let client = client(&console).await?;
    assert_eq!(
        (cell(&client, "state"), cell(&client, "pin")),
        ("idle", "NULL")
    );
    assert_eq!(
        (cell(&client, "addr"), cell(&client, "tls")),
        ("127.0.0.1", "")
    );

    let databases = show(&console, "SHOW DATABASES").await?;
    let database = databases.first().context("no database")?;
    assert_eq!(cell(database, "port"), setup.server.port().to_string());
    assert_eq!(cell(database, "current_client_connections"), "1");

    let config = show(&console, "SHOW CONFIG").await?;
    let value = |key: &str| {
        let row = config.iter().find(|row| cell(row, "key") == key);
        row.map(|row| cell(row, "value").to_owned())
    };
    assert_eq!(value("pool.size").as_deref(), Some("4"));
    assert!(
        !format!("{config:?}").contains(PASSWORD),
        "a secret is shown"
    );

    for command in [
        "SHOW STATS",
        "SHOW STATS_TOTALS",
        "SHOW LISTS",
        "SHOW USERS",
        "SHOW VERSION",
        "SHOW HELP",
    ] {
        assert!(!show(&console, command).await?.is_empty(), "{command}");
    }
    Ok(())
}

#[tokio::test]
async fn a_pinned_client_shows_why() -> Result<()> {
    let setup = Setup::start().await?;
    let console = setup.connect("boss", "pgbouncer").await?;
    let app = setup.connect("app", "app").await?;
    let cases = [
        ("LISTEN news", "LISTEN", "UNLISTEN news"),
        (
            "CREATE TEMP TABLE t (id int)",
            "temporary table",
            "DROP TABLE t",
        ),
        (
            "SELECT pg_advisory_lock(7)",
            "advisory lock",
            "SELECT pg_advisory_unlock(7)",
        ),
    ];
    for (begin, reason, end) in cases {
        app.batch_execute(begin).await?;
        let row = client_with(&console, "pin", reason).await.context(begin)?;
        let link = cell(&row, "link").to_owned();
        let servers = show(&console, "SHOW SERVERS").await?;
        let server = servers.iter().find(|row| cell(row, "id") == link);
        let server = server.context("the client's server is not shown")?;
        assert_eq!(
            (cell(server, "state"), cell(server, "pin")),
            ("active", reason)
        );
        app.batch_execute(end).await?;
        client_with(&console, "pin", "NULL").await.context(end)?;
    }
    Ok(())
}

#[tokio::test]
async fn only_admins_and_only_commands() -> Result<()> {
    let setup = Setup::start().await?;
    let refused = tokio_postgres::connect(&setup.url("app", "twinport")?, NoTls).await;
    let error = refused.err().context("a non-admin was let in")?;
    let error = error.as_db_error().context("no answer")?;
    assert_eq!((error.code().code(), error.severity()), ("42501", "FATAL"));
    assert!(error.hint().is_some());

    let console = setup.connect("boss", "twinport").await?;
    for wrong in ["SHOW POOL", "SELECT 1", "DROP TABLE t"] {
        let error = console.simple_query(wrong).await.err().context(wrong)?;
        assert_eq!(
            error.code().map(|code| code.code()),
            Some("42601"),
            "{wrong}"
        );
    }
    let error = console
        .simple_query("RECONNECT nobody")
        .await
        .err()
        .context("RECONNECT")?;
    assert_eq!(error.code().map(|code| code.code()), Some("3D000"));
    Ok(())
}

#[tokio::test]
async fn the_extended_protocol_works_too() -> Result<()> {
    let setup = Setup::start().await?;
    let console = setup.connect("boss", "twinport").await?;
    let statement = console.prepare("SHOW LISTS").await?;
    for _ in 0..2 {
        let rows = console.query(&statement, &[]).await?;
        let row = rows
            .iter()
            .find(|row| row.get::<_, &str>("list") == "databases")
            .context("no databases")?;
        assert_eq!(row.get::<_, i64>("items"), 1);
    }
    let wrong = console
        .prepare("SHOW NOTHING")
        .await
        .err()
        .context("prepared")?;
    assert_eq!(wrong.code().map(|code| code.code()), Some("42601"));
    assert_eq!(console.query("SHOW VERSION", &[]).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn psql_reads_it() -> Result<()> {
    let setup = Setup::start().await?;
    let psql = setup.server.installation().bin.join("psql");
    let output = Command::new(psql)
        .args([&setup.url("boss", "twinport")?, "-X", "-A", "-t"])
        .args(["-c", "SHOW VERSION", "-c", "SHOW POOLS"])
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.starts_with("Twinport "), "{text}");
    Ok(())
}

/// A driver's program at the console.
async fn suite(name: &'static str, command: &'static [&'static str]) -> Result<()> {
    let setup = Setup::start().await?;
    // A pool and a client to be shown.
    let app = setup.connect("app", "app").await?;
    app.simple_query("SELECT 1").await?;
    let url = setup.url("boss", "twinport")?;
    let suite = Suite {
        name,
        command,
        folder: name,
        checks: &[
            "every_show",
            "numbers_are_numbers",
            "wrong_command_then_usable",
            "several_commands_at_once",
            "both_protocols",
            "transactions_of_the_driver",
        ],
        annotated: &[],
    };
    let environment = [
        ("TWINPORT_TEST_URL", url.clone()),
        ("TWINPORT_TEST_SINGLE_URL", url.clone()),
        ("TWINPORT_TEST_DIRECT_URL", url),
        ("TWINPORT_TEST_CA", String::new()),
    ];
    suite.run_in(&environment).await
}

#[tokio::test]
async fn psycopg_reads_it() -> Result<()> {
    suite("python", &["{cache}/python/bin/python", "console_suite.py"]).await
}

#[tokio::test]
async fn node_postgres_reads_it() -> Result<()> {
    suite("node", &["node", "console_suite.js"]).await
}

#[tokio::test]
async fn pgjdbc_reads_it() -> Result<()> {
    const JARS: &str = "{cache}/java/checks:{cache}/java/postgresql.jar";
    suite("java", &["java", "-cp", JARS, "ConsoleSuite.java"]).await
}

#[tokio::test]
async fn reconnect_closes_what_is_idle() -> Result<()> {
    let setup = Setup::start().await?;
    let console = setup.connect("boss", "twinport").await?;
    let app = setup.connect("app", "app").await?;
    let pid =
        |rows: Vec<SimpleQueryMessage>| match rows.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }) {
            Some(pid) => Ok(pid),
            None => Err(anyhow::anyhow!("no pid")),
        };
    let before = pid(app.simple_query("SELECT pg_backend_pid()").await?)?;
    console.simple_query("RECONNECT app").await?;
    let after = pid(app.simple_query("SELECT pg_backend_pid()").await?)?;
    assert_ne!(before, after);
    Ok(())
}

#[tokio::test]
async fn metrics_can_be_read_and_grow() -> Result<()> {
    let setup = Setup::start().await?;
    let app = setup.connect("app", "app").await?;
    app.simple_query("SELECT 1").await?;
    let (status, text) = setup.http("/metrics").await?;
    assert_eq!(status, 200);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').context("no value")?;
        value.parse::<f64>().with_context(|| line.to_owned())?;
    }
    let labels = r#"{database="app",user="app"}"#;
    let statements = format!("twinport_pool_statements_total{labels}");
    let before = setup.metric(&statements).await?;
    app.simple_query("SELECT 1").await?;
    assert_eq!(setup.metric(&statements).await?, before + 1.0);
    assert!(
        setup
            .metric(&format!("twinport_pool_sent_bytes_total{labels}"))
            .await?
            > 0.0
    );
    assert_eq!(setup.metric("twinport_clients").await?, 1.0);
    Ok(())
}

#[tokio::test]
async fn readiness_ends_with_the_drain() -> Result<()> {
    let setup = Setup::start().await?;
    assert_eq!(setup.http("/healthz").await?.0, 200);
    assert_eq!(setup.http("/readyz").await?.0, 200);
    let app = setup.connect("app", "app").await?;
    app.batch_execute("BEGIN").await?;
    let console = setup.connect("boss", "twinport").await?;
    let address = setup.running.admin.context("no HTTP port")?;
    let drain = setup.running.drain();
    console.simple_query("SHUTDOWN").await?;
    setup.running.shutdown_requested().await;
    let stopping = tokio::spawn(setup.running.finish(Duration::from_secs(20)));
    while !drain.is_draining() {
        tokio::task::yield_now().await;
    }
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        .await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    assert!(text.starts_with("HTTP/1.1 503"), "{text}");
    app.batch_execute("COMMIT").await?;
    assert!(stopping.await?, "the drain had to be forced");
    Ok(())
}
