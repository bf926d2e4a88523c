//! `[admin]` and `[log]`.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use crate::build::address;
use crate::read::{Section, choice};
use crate::settings::{Admin, Log, LogFormat};

const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace", "off"];

pub(super) fn admin(section: &Section<'_>) -> Admin {
    let users = section.texts("users").unwrap_or_default();
    Admin {
        database: section
            .text("database")
            .unwrap_or_else(|| "twinport".to_owned()),
        http: http(section),
        users: users
            .into_iter()
            .map(|(_, name)| name)
            .collect::<BTreeSet<_>>(),
    }
}

fn http(section: &Section<'_>) -> Option<SocketAddr> {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 9187));
    if section.is_off("http") {
        return None;
    }
    match (section.item("http"), section.text("http")) {
        (Some(item), Some(text)) => address(section, "http", &item.place, &text),
        _ => Some(default),
    }
}

pub(super) fn log(section: &Section<'_>) -> Log {
    let level = section.text("level").unwrap_or_else(|| "info".to_owned());
    for directive in level.split(',') {
        let word = directive.rsplit('=').next().unwrap_or_default().trim();
        if !LEVELS.contains(&word) {
            let hint = choice(word, LEVELS);
            section.refuse(
                "level",
                format!("`{word}` is not a level"),
                format!("{hint}; or directives such as info,twinport_pg=debug"),
            );
        }
    }
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    Log {
        level,
        format: section.word("format", &formats).unwrap_or_default(),
    }
}
