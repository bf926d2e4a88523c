//! Finds keys that don't exist and tables where values belong.

use crate::error::Problem;
use crate::key::{self, Standing};
use crate::nearest::{list, nearest};
use crate::source::{Item, Source, Value};

/// Names that users of other poolers write, and ours.
const ELSEWHERE: &[(&str, &str)] = &[
    ("auth_type", "postgres.auth.method"),
    ("auth_query", "postgres.auth.auth_query"),
    ("auth_user", "postgres.auth.auth_user"),
    ("auth_dbname", "postgres.auth.auth_database"),
    ("auth_file", "users.NAME.verifier"),
    ("admin_users", "admin.users"),
    ("client_idle_timeout", "postgres.client_idle_timeout"),
    ("client_login_timeout", "postgres.login_timeout"),
    ("client_tls_ca_file", "postgres.tls.client_ca"),
    ("client_tls_cert_file", "postgres.tls.certificate"),
    ("client_tls_key_file", "postgres.tls.key"),
    ("client_tls_sslmode", "postgres.tls.mode"),
    ("connect_query", "databases.NAME.settings.NAME"),
    ("default_pool_size", "pool.size"),
    ("host", "databases.NAME.url"),
    ("dbname", "databases.NAME.url"),
    (
        "idle_transaction_timeout",
        "postgres.idle_transaction_timeout",
    ),
    ("listen_addr", "postgres.listen"),
    ("listen_port", "postgres.listen"),
    ("max_client_conn", "postgres.max_clients"),
    ("max_db_client_connections", "databases.NAME.max_clients"),
    ("max_db_connections", "pool.max_connections"),
    ("max_prepared_statements", "pool.prepared_statements"),
    ("max_user_client_connections", "users.NAME.max_clients"),
    ("min_pool_size", "pool.min_idle"),
    ("pool_mode", "pool.mode"),
    ("pool_size", "pool.size"),
    ("port", "databases.NAME.url"),
    ("query_wait_timeout", "pool.wait_timeout"),
    ("server_connect_timeout", "pool.connect_timeout"),
    ("server_check_delay", "pool.health_check_interval"),
    ("server_idle_timeout", "pool.idle_timeout"),
    ("server_lifetime", "pool.max_age"),
    ("server_tls_sslmode", "databases.NAME.url"),
    ("unix_socket_dir", "postgres.unix_socket_dir"),
    ("user", "databases.NAME.url"),
    ("verbose", "log.level"),
];

/// Judges every key that is set against the list of keys.
pub(crate) fn check(source: &Source, problems: &mut Vec<Problem>) {
    for (path, item) in source.items() {
        let is_table = matches!(item.value, Value::Table);
        match key::standing(path) {
            Standing::Section if !is_table => problems.push(wants_table(path, item)),
            Standing::Key(key) if is_table => {
                let message = format!("is a table, but takes a value: {}", key.kind);
                let name = path.last().map_or("", String::as_str);
                let problem = Problem::new(item.place.clone(), key::display(path), message);
                problems.push(problem.hint(format!("write `{name} = …`")));
            }
            // Only the outermost unknown name: what is inside of it follows from it.
            Standing::Unknown if parent_is_section(path) => problems.push(unknown(path, item)),
            _ => {}
        }
    }
}

fn parent_is_section(path: &[String]) -> bool {
    match path.split_last() {
        Some((_, [])) => true,
        Some((_, parent)) => key::standing(parent) == Standing::Section,
        None => false,
    }
}

fn wants_table(path: &[String], item: &Item) -> Problem {
    let shown = key::display(path);
    let message = format!("is {}, but must be a table", item.value.kind());
    let children = key::children(path);
    let hint = match (&children, path) {
        (None, [group]) => format!("write [{group}.NAME] with its keys below"),
        (Some(names), _) => format!("write [{shown}] with its keys below: {}", list(names)),
        (None, _) => format!("write [{shown}] with its names below"),
    };
    Problem::new(item.place.clone(), shown, message).hint(hint)
}

fn unknown(path: &[String], item: &Item) -> Problem {
    let (name, section) = path
        .split_last()
        .map_or(("", &[][..]), |(name, section)| (name.as_str(), section));
    let allowed = key::children(section).unwrap_or_default();
    let elsewhere = ELSEWHERE.iter().find(|(theirs, _)| *theirs == name);
    let hint = if let Some(near) = nearest(name, &allowed) {
        format!("did you mean `{near}`? allowed here: {}", list(&allowed))
    } else if let Some((_, ours)) = elsewhere {
        format!("this is `{ours}` here")
    } else if let Some(other) = same_name(name) {
        format!("did you mean `{other}`?")
    } else {
        format!("allowed here: {}", list(&allowed))
    };
    Problem::new(item.key.clone(), key::display(path), "no such key").hint(hint)
}

/// A key of another section with this very name.
fn same_name(name: &str) -> Option<&'static str> {
    let mut patterns = key::KEYS.iter().map(|key| key.pattern);
    patterns.find(|pattern| pattern.rsplit('.').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_poolers_lead_to_keys_that_exist() {
        for (theirs, ours) in ELSEWHERE {
            let known = key::KEYS.iter().any(|key| key.pattern == *ours);
            assert!(known, "{theirs} leads to {ours}");
        }
    }
}
