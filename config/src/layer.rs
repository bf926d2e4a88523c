//! The layers above the file: environment variables, then flags.

use std::collections::BTreeMap;

use crate::error::{Place, Problem};
use crate::key::{self, Standing};
use crate::source::{Path, Source};

/// Start of the names of our environment variables.
const PREFIX: &str = "TWINPORT_";

/// Names the settings file.
pub(crate) const FILE_VARIABLE: &str = "TWINPORT_CONFIG";

/// Values set by flags of the command line. They go before everything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides(Vec<(String, String, String)>);

impl Overrides {
    /// No flags.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key`, a path such as `pool.size` or `databases."*".url`, because of `flag`, which
    /// errors will name. The value is written as in an environment variable: no quotes, lists
    /// with commas.
    pub fn set(
        &mut self,
        flag: impl Into<String>,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> &mut Self {
        self.0.push((flag.into(), key.into(), value.into()));
        self
    }

    pub(crate) fn apply(&self, source: &mut Source, problems: &mut Vec<Problem>) {
        for (flag, key, value) in &self.0 {
            let place = Place::Flag(flag.clone());
            match key::split(key) {
                Some(path) => overlay(source, path, &place, value),
                None => problems.push(
                    Problem::new(place, key, "is not a key's path")
                        .hint("write it like `pool.size` or `databases.\"*\".url`"),
                ),
            }
        }
    }
}

/// Applies `TWINPORT_POOL__SIZE=50` and the like: `__` separates the parts of the path.
pub(crate) fn environment(
    variables: &BTreeMap<String, String>,
    source: &mut Source,
    problems: &mut Vec<Problem>,
) {
    for (variable, value) in variables {
        let Some(rest) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        let place = Place::Environment(variable.clone());
        let path: Path = rest.split("__").map(str::to_lowercase).collect();
        let single = path.len() == 1;
        if variable == FILE_VARIABLE {
            continue;
        }
        if path.iter().any(String::is_empty) {
            problems.push(
                Problem::new(place, "", "is not a key's path")
                    .hint("two underscores stand between the parts, as in TWINPORT_POOL__SIZE"),
            );
        } else if !single || matches!(key::standing(&path), Standing::Key(_)) {
            overlay(source, spell(source, path), &place, value);
        } else if let Some(right) = with_double_underscores(rest) {
            problems.push(
                Problem::new(place, "", "has one underscore between the parts of a key")
                    .hint(format!("did you mean {right}?")),
            );
        }
        // Else it isn't for us: Kubernetes sets TWINPORT_SERVICE_HOST and its like for every
        // service of our name.
    }
}

fn overlay(source: &mut Source, path: Path, place: &Place, value: &str) {
    source.overlay(path, place, value.to_owned());
}

/// Variables are in capitals; names of databases and users that the file spells otherwise
/// keep the file's spelling.
fn spell(source: &Source, path: Path) -> Path {
    let mut spelled = Path::new();
    for part in path {
        let names = source.names(&spelled);
        let name = names.iter().find(|name| name.to_lowercase() == part);
        spelled.push(name.cloned().unwrap_or(part));
    }
    spelled
}

/// The right spelling of `POOL_SIZE`, if it is a key with its dots turned to underscores.
fn with_double_underscores(rest: &str) -> Option<String> {
    let plain = rest.to_lowercase();
    let mut patterns = key::KEYS.iter().map(|key| key.pattern);
    let pattern = patterns.find(|pattern| pattern.replace('.', "_") == plain)?;
    Some(format!(
        "{PREFIX}{}",
        pattern.replace('.', "__").to_uppercase()
    ))
}
