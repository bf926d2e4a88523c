//! `proxyctl check`: judges a file and says what it amounts to.

use std::fmt;
use std::path::Path;

use crate::build::{AUTH_METHODS, MONGO_METHODS, POOL_MODES, TLS_MODES};
use crate::error::Errors;
use crate::layer::Overrides;
use crate::load::environment;
use crate::settings::Settings;
use crate::upstream::text::name_of;

/// What a good file amounts to. `Display` is made for a terminal; secrets are masked.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The file.
    pub file: String,
    /// What it says.
    pub settings: Settings,
}

/// Loads a file as the server would, with the environment of this process.
///
/// # Errors
///
/// All that is wrong, at once.
pub fn check(path: impl AsRef<Path>) -> Result<Summary, Errors> {
    let path = path.as_ref();
    let settings = Settings::load(Some(path), environment(), &Overrides::new())?;
    Ok(Summary {
        file: path.display().to_string(),
        settings,
    })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        let postgres = &settings.postgres;
        writeln!(f, "{}: good", self.file)?;
        let mut places: Vec<String> = postgres.listen.iter().map(ToString::to_string).collect();
        places.extend(
            postgres
                .unix_socket_dir
                .iter()
                .map(|folder| folder.display().to_string()),
        );
        if places.is_empty() {
            writeln!(f, "  postgres   no port")?;
        } else {
            writeln!(f, "  postgres   {}", places.join(", "))?;
            let tls = name_of(&postgres.tls.mode, TLS_MODES);
            let method = name_of(&postgres.auth.method, AUTH_METHODS);
            writeln!(
                f,
                "             {method}, TLS {tls}, up to {} clients",
                postgres.max_clients
            )?;
        }
        if let Some(mongo) = &settings.mongo {
            let places: Vec<String> = mongo.listen.iter().map(ToString::to_string).collect();
            writeln!(
                f,
                "  mongo      {}, from {}",
                places.join(", "),
                mongo.upstream
            )?;
            let tls = name_of(&mongo.tls.mode, TLS_MODES);
            let method = name_of(&mongo.auth.method, MONGO_METHODS);
            writeln!(
                f,
                "             {method}, TLS {tls}, up to {} clients",
                mongo.max_clients
            )?;
        }
        let databases: Vec<_> = settings
            .databases
            .values()
            .chain(&settings.wildcard)
            .collect();
        let width = databases
            .iter()
            .map(|database| database.name.chars().count())
            .max();
        for (index, database) in databases.iter().enumerate() {
            let label = if index == 0 { "databases" } else { "" };
            let mode = name_of(&database.pool.mode, POOL_MODES);
            writeln!(
                f,
                "  {label:<10} {:<width$}  {}  ({mode}, {} connections per user)",
                database.name,
                database.upstream,
                database.pool.size,
                width = width.unwrap_or_default(),
            )?;
        }
        let users: Vec<&str> = settings.users.keys().map(String::as_str).collect();
        let users = if users.is_empty() {
            "none listed".to_owned()
        } else {
            users.join(", ")
        };
        writeln!(f, "  users      {users}")?;
        write!(f, "  admin      database `{}`", settings.admin.database)?;
        match settings.admin.http {
            Some(http) => write!(f, ", http://{http}/metrics"),
            None => write!(f, ", no HTTP"),
        }?;
        for caution in settings.cautions() {
            write!(f, "\n  caution: {caution}")?;
        }
        Ok(())
    }
}
