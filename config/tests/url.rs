//! Odd texts in URLs and files: nothing panics, nothing tells a secret.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use proptest::prelude::*;
use twinport_config::{Host, Settings, Upstream};

fn upstream(url: &str) -> Upstream {
    let text = format!("[databases.app]\nurl = '''{url}'''\n[users.a]\npassword = 'x'");
    let settings = Settings::parse(&text, "t").unwrap_or_else(|errors| panic!("{url}: {errors}"));
    settings.database("app").unwrap().upstream.clone()
}

/// Host, port, database, user, password.
type Parts = (String, u16, String, Option<String>, Option<String>);

fn parts(url: &str) -> Parts {
    let upstream = upstream(url);
    let password = upstream
        .password
        .map(|password| password.reveal().to_owned());
    let host = upstream.host.to_string();
    (
        host,
        upstream.port,
        upstream.database,
        upstream.user,
        password,
    )
}

#[test]
fn every_form_of_a_url_is_read() {
    let some = |text: &str| Some(text.to_owned());
    let cases = [
        ("postgres://h", ("h", 5432, "app", None, None)),
        ("postgresql://h/", ("h", 5432, "app", None, None)),
        ("postgres://h:6000/db", ("h", 6000, "db", None, None)),
        ("postgres://u@h/db", ("h", 5432, "db", some("u"), None)),
        ("postgres://u:@h/db", ("h", 5432, "db", some("u"), None)),
        (
            "postgres://u:p:q@h/db",
            ("h", 5432, "db", some("u"), some("p:q")),
        ),
        (
            "postgres://u:p@q@h/db",
            ("h", 5432, "db", some("u"), some("p@q")),
        ),
        (
            "postgres://u%40x:p%2Fq%25@h/d%20b",
            ("h", 5432, "d b", some("u@x"), some("p/q%")),
        ),
        (
            "postgres://[2001:db8::1]:6000/db",
            ("[2001:db8::1]", 6000, "db", None, None),
        ),
        (
            "postgres://%2Frun%2Fpg/db",
            ("/run/pg", 5432, "db", None, None),
        ),
        (
            "postgres:///db?host=/run/pg&port=6000&user=u&password=p%26q",
            ("/run/pg", 6000, "db", some("u"), some("p&q")),
        ),
        ("postgres://h?dbname=a%2Fb", ("h", 5432, "a/b", None, None)),
        (
            "postgres://h/db?user=other",
            ("h", 5432, "db", some("other"), None),
        ),
        ("  postgres://h/db?  ", ("h", 5432, "db", None, None)),
    ];
    for (url, (host, port, database, user, password)) in cases {
        let wanted: Parts = (host.to_owned(), port, database.to_owned(), user, password);
        assert_eq!(parts(url), wanted, "{url}");
    }
}

#[test]
fn what_is_shown_reads_back_the_same() {
    for url in [
        "postgres://u@h/a%2Fb?sslmode=verify-ca&sslnegotiation=direct&channel_binding=require",
        "postgres:///d%3Fb?host=/run/my%20pg&application_name=a%26b&options=-c%20geqo%3Doff",
        "postgres://[::1]:1/*?sslmode=prefer",
    ] {
        let first = upstream(url);
        assert_eq!(upstream(&first.to_string()), first, "{url} gives {first}");
    }
    assert_eq!(upstream("postgres://h").host, Host::Tcp("h".into()));
}

proptest! {
    /// A password with stray signs may tear the URL apart, but is never told.
    #[test]
    fn no_piece_of_a_password_is_told(before in "[ -~]{0,5}", after in "[ -~]{0,5}") {
        let url = format!("postgres://u:{before}hush{after}@h:5432/db?sslmode=require");
        let text = format!("[databases.app]\nurl = \"{url}\"\n[users.a]\npassword = 'x'");
        match Settings::parse(&text, "t") {
            Ok(settings) => {
                let debug = format!("{settings:?}");
                prop_assert!(!debug.contains("hush"), "{}", debug);
                let upstream = &settings.databases["app"].upstream;
                prop_assert!(!upstream.to_string().contains("hush"), "{upstream}");
            }
            Err(errors) => prop_assert!(!errors.to_string().contains("hush"), "{errors}"),
        }
    }

    /// A secret without proper quotes isn't told by the message about the quotes.
    #[test]
    fn no_piece_of_a_torn_line_is_told(before in "[ -~]{0,5}", after in "[ -~]{0,5}") {
        let text = format!("[users.a]\npassword = {before}hush{after}\n");
        let errors = Settings::parse(&text, "t").unwrap_err().to_string();
        prop_assert!(!errors.contains("hush"), "{errors}");
    }

    #[test]
    fn any_text_gives_settings_or_errors(text in "\\PC{0,60}", url in "\\PC{0,40}") {
        let _ = Settings::parse(&text, "t");
        let quoted = format!("{url:?}").replace("\\'", "'");
        let errors = Settings::parse(&format!("[databases.app]\nurl = {quoted}"), "t");
        prop_assert!(errors.is_err());
    }
}
