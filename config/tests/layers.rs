//! Which layer wins, and what each of them may say.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use twinport_config::{Credential, Errors, Host, Overrides, PoolMode, Settings, SslMode, locate};

const FILE: &str = r#"
[pool]
size = 30
[databases.App]
url = "postgres://u:from-file@h/app"
[users.alice]
password_file = "alice.txt"
"#;

fn load(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Settings, Errors> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("twinport.toml");
    std::fs::write(&path, file).unwrap();
    std::fs::write(folder.path().join("alice.txt"), "from-secret-file\n").unwrap();
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut overrides = Overrides::new();
    for (key, value) in flags {
        overrides.set("--set", *key, *value);
    }
    Settings::load(Some(&path), environment, &overrides)
}

fn errors(environment: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    load(FILE, environment, flags).unwrap_err().to_string()
}

#[test]
fn flags_go_before_environment_before_file_before_defaults() {
    let variables = [
        ("TWINPORT_POOL__SIZE", "40"),
        ("TWINPORT_POOL__MIN_IDLE", "4"),
    ];
    let settings = load(FILE, &variables, &[("pool.size", "50")]).unwrap();
    assert_eq!(settings.pool.size, 50);
    assert_eq!(settings.pool.min_idle, 4);
    assert_eq!(settings.pool.prepared_statements, 500);
    assert_eq!(load(FILE, &variables, &[]).unwrap().pool.size, 40);
    assert_eq!(load(FILE, &[], &[]).unwrap().pool.size, 30);
    assert_eq!(load(FILE, &[], &[]).unwrap().databases["App"].pool.size, 30);
}

#[test]
fn texts_from_outside_become_what_the_key_takes() {
    let variables = [
        ("TWINPORT_WORKERS", "3"),
        ("TWINPORT_POSTGRES__LISTEN", "127.0.0.1:1111, [::1]:2222"),
        ("TWINPORT_POOL__MODE", "session"),
        ("TWINPORT_POOL__MAX_AGE", "off"),
        ("TWINPORT_POOL__WAIT_TIMEOUT", "2m"),
        ("TWINPORT_USERS__ALICE__ADMIN", "true"),
        ("TWINPORT_ADMIN__HTTP", "off"),
    ];
    let settings = load(FILE, &variables, &[]).unwrap();
    assert_eq!(settings.workers, 3);
    assert_eq!(settings.postgres.listen.len(), 2);
    assert_eq!(settings.pool.mode, PoolMode::Session);
    assert_eq!(settings.pool.max_age, None);
    assert_eq!(settings.pool.wait_timeout, Duration::from_secs(120));
    assert!(settings.is_admin("alice"));
    assert_eq!(settings.admin.http, None);
}

#[test]
fn the_environment_reaches_names_in_any_case_and_adds_new_ones() {
    let variables = [
        ("TWINPORT_DATABASES__APP__POOL__SIZE", "7"),
        ("TWINPORT_DATABASES__EXTRA__URL", "postgres://h/extra"),
    ];
    let settings = load(FILE, &variables, &[]).unwrap();
    assert_eq!(settings.databases["App"].pool.size, 7);
    assert_eq!(settings.databases["extra"].upstream.database, "extra");
    assert_eq!(settings.databases.len(), 2);
}

#[test]
fn a_secret_from_a_higher_layer_replaces_the_files() {
    let password = |settings: &Settings| match &settings.users["alice"].credential {
        Some(Credential::Password(secret)) => secret.reveal().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(password(&load(FILE, &[], &[]).unwrap()), "from-secret-file");
    let variables = [
        ("TWINPORT_USERS__ALICE__PASSWORD", "from-environment"),
        ("TWINPORT_DATABASES__APP__PASSWORD", "upstream-secret"),
    ];
    let settings = load(FILE, &variables, &[]).unwrap();
    assert_eq!(password(&settings), "from-environment");
    let upstream = &settings.databases["App"].upstream;
    assert_eq!(
        upstream.password.as_ref().unwrap().reveal(),
        "upstream-secret"
    );
    let named = [
        ("TWINPORT_USERS__ALICE__PASSWORD_ENV", "ALICE"),
        ("ALICE", "by-name"),
    ];
    assert_eq!(password(&load(FILE, &named, &[]).unwrap()), "by-name");
}

#[test]
fn variables_in_a_url_need_no_percent_signs() {
    let file = r#"
[databases.parts]
url = "postgres://${USER_NAME}:${PASSWORD}@${HOST}:5433/parts?sslmode=disable"
[databases.whole]
url = "${DATABASE_URL}"
[users.alice]
password = "x"
"#;
    let variables = [
        ("USER_NAME", "al"),
        ("PASSWORD", "p@ss/w%rd?#:\n"),
        ("HOST", "db.internal"),
        (
            "DATABASE_URL",
            "postgresql://bob:a%40b@[::1]/whole?sslrootcert=system\n",
        ),
    ];
    let settings = load(file, &variables, &[]).unwrap();
    let parts = &settings.databases["parts"].upstream;
    assert_eq!(parts.user.as_deref(), Some("al"));
    assert_eq!(parts.password.as_ref().unwrap().reveal(), "p@ss/w%rd?#:");
    assert_eq!(parts.host, Host::Tcp("db.internal".into()));
    assert_eq!((parts.port, parts.sslmode), (5433, SslMode::Disable));
    let whole = &settings.databases["whole"].upstream;
    assert_eq!(whole.password.as_ref().unwrap().reveal(), "a@b");
    assert_eq!(whole.host, Host::Tcp("::1".into()));
    assert_eq!((whole.port, whole.sslmode), (5432, SslMode::VerifyFull));
    assert_eq!(
        whole.to_string(),
        "postgres://bob:********@[::1]:5432/whole?sslmode=verify-full"
    );
}

#[test]
fn errors_name_the_variable_or_the_flag() {
    let variables = [
        ("TWINPORT_POOL__SISE", "5"),
        ("TWINPORT_POOL_SIZE", "5"),
        ("TWINPORT_POOL__SIZE", "many"),
        ("TWINPORT_POOL____MODE", "session"),
        ("TWINPORT_WORKERS", "0"),
    ];
    let flags = [
        ("pool.wait_timeout", "5"),
        ("pool..size", "5"),
        ("log.leval", "debug"),
    ];
    insta::assert_snapshot!("outside", errors(&variables, &flags));
}

#[test]
fn variables_that_kubernetes_sets_for_a_service_of_our_name_are_ignored() {
    let variables = [
        ("TWINPORT_SERVICE_HOST", "10.0.0.1"),
        ("TWINPORT_PORT", "tcp://10.0.0.1:6432"),
        ("TWINPORT_PORT_6432_TCP_ADDR", "10.0.0.1"),
    ];
    load(FILE, &variables, &[]).unwrap();
}

#[test]
fn the_file_is_named_by_argument_then_variable() {
    let variables = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let variable = variables("TWINPORT_CONFIG", "/v.toml");
    assert_eq!(
        locate(Some(Path::new("/a.toml")), &variable).unwrap(),
        Path::new("/a.toml")
    );
    assert_eq!(locate(None, &variable).unwrap(), Path::new("/v.toml"));
    let missing = Settings::load(Some(Path::new("/nowhere/t.toml")), [], &Overrides::new());
    let text = missing.unwrap_err().to_string();
    assert!(
        text.starts_with("/nowhere/t.toml: can't read the settings: "),
        "{text}"
    );
}

#[test]
fn files_that_matter_are_listed_for_watching() {
    let settings = load(FILE, &[], &[]).unwrap();
    let names: Vec<_> = settings
        .files
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, ["twinport.toml", "alice.txt"]);
}
