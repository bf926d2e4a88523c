//! Private servers against the Postgres of this machine.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, process::Command, time::Duration};

use tokio_postgres::{NoTls, error::SqlState};
use twinport_embedded::{Auth, Error, Options, Server};

async fn setting(server: &Server, name: &str) -> String {
    let client = server.client("postgres").await.unwrap();
    client
        .query_one(&format!("SHOW {name}"), &[])
        .await
        .unwrap()
        .get(0)
}

fn is_process(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn several_start_at_once_and_leave_nothing() {
    let starts: Vec<_> = (0..4)
        .map(|_| tokio::spawn(Server::start(Options::for_tests())))
        .collect();
    let mut servers = Vec::new();
    for start in starts {
        servers.push(start.await.unwrap().unwrap());
    }
    for server in &servers {
        assert_eq!(setting(server, "port").await, server.port().to_string());
        assert_eq!(setting(server, "wal_level").await, "logical");
        assert_eq!(setting(server, "fsync").await, "off");
    }
    let traces: Vec<_> = servers
        .iter()
        .map(|server| (server.pid().unwrap(), server.data().to_owned()))
        .collect();
    drop(servers);
    for (pid, data) in traces {
        assert!(!is_process(pid));
        assert!(!data.parent().unwrap().exists());
    }
}

#[tokio::test]
async fn survives_a_kill_and_keeps_its_port() {
    let mut server = Server::start(Options {
        data: None,
        ..Options::default()
    })
    .await
    .unwrap();
    let client = server.client("postgres").await.unwrap();
    client
        .batch_execute("CREATE TABLE t AS SELECT 7 AS seven")
        .await
        .unwrap();
    let port = server.port();

    server.kill9().unwrap();
    assert!(client.simple_query("SELECT 1").await.is_err());
    assert!(server.pid().is_none());
    server.restart().await.unwrap();

    assert_eq!(server.port(), port);
    let client = server.client("postgres").await.unwrap();
    let seven: i32 = client
        .query_one("SELECT seven FROM t", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(seven, 7);

    server.stop().await.unwrap();
    assert!(server.client("postgres").await.is_err());
}

#[tokio::test]
async fn asks_for_the_password() {
    for auth in [Auth::Scram, Auth::Md5] {
        let server = Server::start(Options {
            auth,
            ..Options::for_tests()
        })
        .await
        .unwrap();
        let url = server.url();
        tokio_postgres::connect(&url, NoTls)
            .await
            .map(drop)
            .unwrap();
        let wrong = url.replace("twinport", "wrong");
        let error = tokio_postgres::connect(&wrong, NoTls)
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INVALID_PASSWORD));
        let socket = tokio_postgres::Config::new()
            .host_path(server.socket_dir())
            .port(server.port())
            .user(server.superuser())
            .password(server.password())
            .connect(NoTls)
            .await;
        socket.map(drop).unwrap();
    }
}

#[tokio::test]
async fn offers_tls() {
    let server = Server::start(
        Options {
            tls: true,
            ..Options::for_tests()
        }
        .set("work_mem", "5MB"),
    )
    .await
    .unwrap();
    assert_eq!(setting(&server, "ssl").await, "on");
    assert_eq!(setting(&server, "work_mem").await, "5MB");
    assert!(
        server
            .authority()
            .unwrap()
            .pem()
            .contains("BEGIN CERTIFICATE")
    );
}

#[tokio::test]
async fn settings_change_while_it_runs() {
    let mut server = Server::start(Options::for_tests()).await.unwrap();
    server.set("work_mem", "7MB");
    server.reload().unwrap();
    for _ in 0..200 {
        if setting(&server, "work_mem").await == "7MB" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(setting(&server, "work_mem").await, "7MB");
}

#[tokio::test]
async fn kept_data_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    // Postgres may run as another user than the test.
    fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let data = Some(folder.path().join("kept"));
    let options = Options {
        data,
        ..Options::default()
    };
    for run in 0..2 {
        let server = Server::start(options.clone()).await.unwrap();
        let client = server.client("postgres").await.unwrap();
        client
            .batch_execute("CREATE TABLE IF NOT EXISTS t (n int); INSERT INTO t VALUES (1)")
            .await
            .unwrap();
        let rows: i64 = client
            .query_one("SELECT count(*) FROM t", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(rows, run + 1);
    }
}

#[tokio::test]
async fn foreign_folders_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("letter.txt"), "dear").unwrap();
    let data = Some(folder.path().to_owned());
    let error: Error = Server::start(Options {
        data,
        ..Options::default()
    })
    .await
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("neither empty nor a Postgres data folder"),
        "{error}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn taken_ports_are_told() {
    let first = Server::start(Options::for_tests()).await.unwrap();
    let port = Some(first.port());
    let error = Server::start(Options {
        port,
        ..Options::for_tests()
    })
    .await
    .unwrap_err();
    assert!(error.is_start() && error.is_port_taken(), "{error}");
}

/// Runs as a program of its own, to be killed.
#[tokio::test]
#[ignore = "helper of the next test"]
async fn helper_that_is_killed() {
    let server = Server::start(Options::for_tests()).await.unwrap();
    println!(
        "server {} {}",
        server.pid().unwrap(),
        server.data().display()
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[test]
fn a_killed_owner_leaves_nothing() {
    use std::io::{BufRead, BufReader};

    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "helper_that_is_killed",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(owner.stdout.take().unwrap());
    let line = output
        .lines()
        .map(Result::unwrap)
        .find_map(|line| Some(line.split_once("server ")?.1.to_owned()))
        .unwrap();
    let (pid, data) = line.split_once(' ').unwrap();
    let (pid, data) = (pid.parse().unwrap(), Path::new(data));
    assert!(is_process(pid) && data.exists());

    owner.kill().unwrap();
    owner.wait().unwrap();
    for _ in 0..100 {
        if !is_process(pid) && !data.parent().unwrap().exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(
        !data.parent().unwrap().exists(),
        "{} is left",
        data.display()
    );
    assert!(!is_process(pid), "server {pid} still runs");
}
