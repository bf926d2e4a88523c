//! `mongodb://` URLs: every option read, shown and read again; what is wrong is told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::time::Duration;

use proptest::prelude::*;
use twinport_config::{
    Deployment, HostPort, Mechanism, MongoUpstream, ReadMode, Settings, Shape, SslMode,
};

fn parse(lines: &str) -> Result<Settings, String> {
    let text = format!("[mongo]\n{lines}\n[users.a]\npassword = 'x'");
    Settings::parse(&text, "t").map_err(|errors| errors.to_string())
}

fn deployment(url: &str) -> Deployment {
    let settings = parse(&format!("upstream = '''{url}'''"));
    let settings = settings.unwrap_or_else(|errors| panic!("{url}: {errors}"));
    match settings.mongo.unwrap().upstream {
        MongoUpstream::Deployment(deployment) => Deployment::clone(&deployment),
        MongoUpstream::Postgres(_) => panic!("{url} is no Postgres"),
    }
}

fn place(host: &str, port: u16) -> HostPort {
    HostPort {
        host: host.to_owned(),
        port,
    }
}

#[test]
fn servers_and_login_are_read() {
    let plain = deployment("mongodb://localhost");
    assert_eq!(plain.seeds, [place("localhost", 27017)]);
    assert_eq!(
        (plain.login, plain.tls, plain.shape),
        (None, SslMode::Disable, Shape::Found)
    );

    let set = deployment("mongodb://u%40x:p%2Fq@DB1,db2:6000,[::1]:7/books?replicaSet=rs");
    assert_eq!(
        set.seeds,
        [place("db1", 27017), place("db2", 6000), place("::1", 7)]
    );
    assert_eq!(set.shape, Shape::ReplicaSet("rs".to_owned()));
    let login = set.login.unwrap();
    assert_eq!(
        (login.user.as_str(), login.source.as_str()),
        ("u@x", "books")
    );
    assert_eq!(login.password.unwrap().reveal(), "p/q");
    assert_eq!(login.mechanism, None);

    let admin = deployment("mongodb://u:p@h/?authMechanism=SCRAM-SHA-1")
        .login
        .unwrap();
    assert_eq!(
        (admin.source.as_str(), admin.mechanism),
        ("admin", Some(Mechanism::ScramSha1))
    );
}

#[test]
fn options_are_read_in_any_case() {
    let read = deployment(
        "mongodb://h/?READPREFERENCE=nearest&readPreferenceTags=dc:ny,rack:1&readPreferenceTags=\
         &maxStalenessSeconds=90&compressors=zstd,snappy&maxPoolSize=3&serverSelectionTimeoutMS=200\
         &tls=true&tlsAllowInvalidHostnames=true&appName=x&waitQueueTimeoutMS=7",
    );
    let preference = &read.read_preference;
    assert_eq!(preference.mode, ReadMode::Nearest);
    assert_eq!(preference.tags.len(), 2);
    assert_eq!(preference.max_staleness, Some(Duration::from_secs(90)));
    assert_eq!(read.compressors, ["zstd", "snappy"]);
    assert_eq!(
        (read.pool.size, read.pool.wait_timeout),
        (3, Duration::from_millis(7))
    );
    assert_eq!(read.selection_timeout, Duration::from_millis(200));
    assert_eq!((read.tls, read.await_connections), (SslMode::VerifyCa, 100));
}

#[test]
fn what_is_shown_reads_back_the_same() {
    for url in [
        "mongodb://h",
        "mongodb://u@a,b:7/?replicaSet=r%26s&authSource=x&tls=true&compressors=zlib",
        "mongodb://[::1]:7/?directConnection=true&readPreference=secondary&readPreferenceTags=a:b",
        "mongodb://h/?loadBalanced=true&tls=true&tlsInsecure=true&heartbeatFrequencyMS=500",
    ] {
        let with_password = url.replace("u@", "u:p@");
        let first = deployment(&with_password);
        let again = deployment(&first.to_string().replace("********", "p"));
        assert_eq!(again, first, "{url} gives {first}");
    }
}

#[test]
fn what_is_wrong_is_told() {
    let cases = [
        ("mongodb+srv://h", "name the servers themselves"),
        (
            "mongodb://u:hush@h/?retryWrites=true",
            "every client sets for itself",
        ),
        (
            "mongodb://u:hush@h/?replicaste=rs",
            "did you mean `replicaSet`?",
        ),
        (
            "mongodb://u:hush@h/?compressors=lz4",
            "allowed: snappy, zstd, zlib",
        ),
        ("mongodb://u:hu/sh@h", "write @ as %40"),
        ("mongodb://a,b/?directConnection=true", "name one host"),
        (
            "mongodb://a/?loadBalanced=true&replicaSet=x",
            "keep one of them",
        ),
        (
            "mongodb://a/?authMechanism=MONGODB-X509",
            "add tlsCertificateKeyFile",
        ),
        ("mongodb://u@h", "set `password`"),
        ("mongodb://%2Ftmp%2Fm.sock", "Unix socket"),
        ("mongodb://", "names no host"),
        ("mongodb://h:0", "no valid port"),
    ];
    for (url, wanted) in cases {
        let errors = parse(&format!("upstream = '{url}'")).unwrap_err();
        assert!(errors.contains(wanted), "{url}: {errors}");
        assert!(!errors.contains("hush"), "{url}: {errors}");
    }
}

#[test]
fn the_mask_has_a_name_and_an_address() {
    let upstream = "upstream = 'mongodb://h'";
    let settings = parse(&format!(
        "{upstream}\nreplica_set = 'rs'\nadvertise = 'db.x:1'"
    ))
    .unwrap();
    let mask = settings.mongo.unwrap().mask.unwrap();
    assert_eq!(
        (mask.set.as_str(), mask.address.to_string()),
        ("rs", "db.x:1".to_owned())
    );
    let half = parse(&format!("{upstream}\nreplica_set = 'rs'")).unwrap_err();
    assert!(half.contains("is set without `advertise`"), "{half}");
    let odd = parse(&format!(
        "{upstream}\nreplica_set = 'rs'\nadvertise = 'a b'"
    ))
    .unwrap_err();
    assert!(odd.contains("is not a host and a port"), "{odd}");
}

#[test]
fn the_password_may_stand_elsewhere() {
    let settings = parse("upstream = 'mongodb://u@h'\npassword = 'hush'").unwrap();
    assert!(!format!("{settings:?}").contains("hush"));
    let both = parse("upstream = 'mongodb://u:p@h'\npassword = 'q'").unwrap_err();
    assert!(both.contains("keep one of them"), "{both}");
    let nobody = parse("upstream = 'mongodb://h'\npassword = 'q'").unwrap_err();
    assert!(nobody.contains("has no user"), "{nobody}");
}

proptest! {
    /// A password with stray signs may tear the URL apart, but is never told.
    #[test]
    fn no_piece_of_a_password_is_told(before in "[ -~]{0,5}", after in "[ -~]{0,5}") {
        let url = format!("mongodb://u:{before}hush{after}@h:5432/?tls=true");
        match parse(&format!("upstream = {url:?}")) {
            Ok(settings) => {
                let shown = format!("{settings:?} {}", settings.mongo.as_ref().unwrap().upstream);
                prop_assert!(!shown.contains("hush"), "{}", shown);
            }
            Err(errors) => prop_assert!(!errors.contains("hush"), "{errors}"),
        }
    }
}
