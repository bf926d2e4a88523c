//! `proxyctl dev` as a script or a newcomer uses it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio_postgres::{NoTls, SimpleQueryMessage};
use twinport_embedded::Finder;

struct Dev {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Dev {
    fn start(args: &[&str], temporary: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_proxyctl"))
            .arg("dev")
            .args(args)
            .env("TMPDIR", temporary)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    fn ready(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Ends it and returns what else it wrote; the exit code must be 0.
    fn end(mut self, signal: Signal) -> String {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder for temporary files that the server's user, who may be another, can enter.
fn temporary() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn mentions(process: &Path, text: &str) -> bool {
    fs::read(process.join("cmdline"))
        .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
}

/// Waits until no process names the folder on its command line and nothing is left in it.
fn assert_nothing_left(folder: &Path) {
    let name = folder.to_str().unwrap();
    let start = Instant::now();
    loop {
        let files = fs::read_dir(folder).unwrap().count();
        let processes = fs::read_dir("/proc")
            .unwrap()
            .filter_map(Result::ok)
            .filter(|entry| mentions(&entry.path(), name))
            .count();
        if files + processes == 0 {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{files} files, {processes} processes left"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

async fn simple(url: &str, sql: &str) -> Vec<Vec<Option<String>>> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let rows = client.simple_query(sql).await.unwrap();
    rows.iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|at| row.get(at).map(str::to_owned))
                    .collect(),
            ),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn json_names_all_ends_and_an_include_works() {
    let folder = temporary();
    let mut dev = Dev::start(
        &["--json", "--postgres-port", "0", "--mongo-port", "0"],
        folder.path(),
    );
    let ready = dev.ready();
    let keys: Vec<_> = ready.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["admin", "database", "mongo", "postgres"]);
    assert!(
        ready["admin"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );
    let (port, direct) = (
        ready["postgres"].as_str().unwrap(),
        ready["database"].as_str().unwrap(),
    );

    let rows = simple(
        port,
        "/* @include(books(order: id, columns: [title]).publisher(columns: [name])) */ \
         SELECT name FROM authors ORDER BY id",
    )
    .await;
    let naive = simple(
        direct,
        "SELECT name, (SELECT coalesce(json_agg(json_build_object('title', b.title, 'publisher', \
             (SELECT json_build_object('name', p.name) FROM publishers p WHERE p.id = b.publisher_id)) \
             ORDER BY b.id), '[]') FROM books b WHERE b.author_id = a.id) \
         FROM authors a ORDER BY id",
    )
    .await;
    assert_eq!(rows.len(), 5);
    for (row, expected) in rows.iter().zip(&naive) {
        assert_eq!(row[0], expected[0]);
        let read = |cell: &Option<String>| -> Value {
            serde_json::from_str(cell.as_deref().unwrap()).unwrap()
        };
        assert_eq!(read(&row[1]), read(&expected[1]), "{:?}", row[0]);
    }
    assert_eq!(rows[4][1].as_deref(), Some("[]"), "no books");

    assert_eq!(dev.end(Signal::SIGTERM), "", "one line and no more");
    assert_nothing_left(folder.path());
}

/// What the MongoDB port answers to `hello`: the message's bytes.
fn hello(url: &str) -> Vec<u8> {
    let address = url.split(['@', '/']).nth(3).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut document = b"\x10hello\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0".to_vec();
    document.splice(0..0, (document.len() as i32 + 4).to_le_bytes());
    // Length, number, answer to, OP_MSG, flags; then one document.
    let mut message = Vec::new();
    for field in [document.len() as i32 + 21, 1, 0, 2013, 0] {
        message.extend(field.to_le_bytes());
    }
    message.push(0);
    message.extend(document);
    stream.write_all(&message).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut rest = vec![0; u32::from_le_bytes(length) as usize - 4];
    stream.read_exact(&mut rest).unwrap();
    rest
}

/// Needs Postgres 18 with the extension: `scripts/setup-postgres-18.sh`.
/// What `/metrics` tells at this admin port.
fn metrics(url: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn both_ports_have_the_library() {
    let folder = temporary();
    let args = ["--json", "--postgres-port", "0", "--mongo-port", "0"];
    let mut dev = Dev::start(&args, folder.path());
    let ready = dev.ready();
    let mongo = ready["mongo"].as_str().unwrap();
    assert!(mongo.starts_with("mongodb://dev:dev@127.0.0.1:"), "{mongo}");
    let answer = hello(mongo);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("maxWireVersion"), "{answer:?}");

    let metrics = metrics(ready["admin"].as_str().unwrap());
    let accepted = "\ntwinport_mongo_connections_accepted_total 1\n";
    assert!(metrics.contains(accepted), "{metrics}");

    let url = ready["postgres"].as_str().unwrap();
    for (name, count) in [("authors", 5), ("books", 8), ("publishers", 3), ("tags", 5)] {
        let rows = format!("SELECT count(*) FROM {name}");
        let documents =
            format!("SELECT count(*) FROM documentdb_api.collection('library', '{name}')");
        for sql in [rows, documents] {
            assert_eq!(
                simple(url, &sql).await,
                [[Some(count.to_string())]],
                "{sql}"
            );
        }
    }
    // The fields that the relations of the sample search by: a newcomer's first @include misses none.
    let indexes = "SELECT (index_spec).index_name FROM documentdb_api_catalog.collection_indexes
        JOIN documentdb_api_catalog.collections USING (collection_id)
        WHERE database_name = 'library' AND collection_name = 'books' AND index_is_valid ORDER BY 1";
    let indexes: Vec<_> = simple(url, indexes)
        .await
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    assert_eq!(indexes, ["_id_", "author_id_1", "publisher_id_1"]);
    dev.end(Signal::SIGTERM);
    assert_nothing_left(folder.path());
}

#[tokio::test]
async fn without_the_extension_the_other_port_works() {
    let installations = Finder::system().all();
    let Some(plain) = installations
        .iter()
        .find(|each| !each.has_extension("documentdb"))
    else {
        eprintln!("every Postgres of this machine has DocumentDB: nothing to test");
        return;
    };
    let folder = temporary();
    let mut child = Command::new(env!("CARGO_BIN_EXE_proxyctl"))
        .args(["dev", "--json", "--postgres-port", "0"])
        .env("TMPDIR", folder.path())
        .env("TWINPORT_POSTGRES_BIN", &plain.bin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut errors = child.stderr.take().unwrap();
    let mut dev = Dev { child, out };
    let ready = dev.ready();
    assert!(ready["mongo"].is_null());
    let found = simple(
        ready["postgres"].as_str().unwrap(),
        "SELECT count(*) FROM books",
    )
    .await;
    assert_eq!(found, [[Some("8".to_owned())]]);
    dev.end(Signal::SIGTERM);
    let mut reason = String::new();
    errors.read_to_string(&mut reason).unwrap();
    for part in ["no MongoDB port: Postgres ", "scripts/setup-postgres-18.sh"] {
        assert!(reason.contains(part), "{reason}");
    }
    assert_nothing_left(folder.path());
}

#[test]
fn newcomers_are_shown_a_query_at_work() {
    let folder = temporary();
    let mut dev = Dev::start(
        &["--postgres-port", "0", "--mongo-port", "0"],
        folder.path(),
    );
    let mut text = String::new();
    while !text.contains("Ctrl-C") {
        assert_ne!(dev.out.read_line(&mut text).unwrap(), 0, "{text}");
    }
    for part in [
        "psql 'postgres://dev:dev@127.0.0.1:",
        "@include(books.publisher)",
        "@upsert(email",
        "mongosh 'mongodb://dev:dev@127.0.0.1:",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let answer = text
        .lines()
        .find(|line| line.starts_with("  Ada Lind "))
        .unwrap();
    assert!(
        answer.contains("Notes from the Pier") && answer.contains("2013"),
        "{answer}"
    );
    assert!(!answer.contains("Tides"), "{answer}");
    dev.end(Signal::SIGINT);
    assert_nothing_left(folder.path());
}

#[tokio::test]
async fn kept_data_is_used_again() {
    let folder = temporary();
    let data = folder.path().join("data");
    let args = [
        "--json",
        "--postgres-port",
        "0",
        "--mongo-port",
        "0",
        "--data",
        data.to_str().unwrap(),
    ];
    let mut dev = Dev::start(&args, folder.path());
    let url = dev.ready()["postgres"].as_str().unwrap().to_owned();
    simple(&url, "INSERT INTO tags (name) VALUES ('kept')").await;
    dev.end(Signal::SIGTERM);

    let mut dev = Dev::start(&args, folder.path());
    let ready = dev.ready();
    assert!(ready["mongo"].is_string(), "the collections too");
    let url = ready["postgres"].as_str().unwrap().to_owned();
    let found = simple(&url, "SELECT count(*) FROM tags WHERE name = 'kept'").await;
    assert_eq!(found, [[Some("1".to_owned())]]);
    dev.end(Signal::SIGTERM);
    fs::remove_dir_all(&data).unwrap();
    assert_nothing_left(folder.path());
}

#[test]
fn a_missing_postgres_says_what_to_install() {
    let output = Command::new(env!("CARGO_BIN_EXE_proxyctl"))
        .args(["dev", "--json", "--postgres-version", "3"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("no Postgres 3 server found") && text.contains("apt install postgresql-3"),
        "{text}"
    );
}

#[test]
fn check_tells_what_is_wrong() {
    let folder = temporary();
    let file = folder.path().join("twinport.toml");
    fs::write(&file, "[pool]\nsise = 4\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_proxyctl"))
        .arg("check")
        .arg(&file)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("twinport.toml") && text.contains("sise"),
        "{text}"
    );
    assert!(output.stdout.is_empty());
}
