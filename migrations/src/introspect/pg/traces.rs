//! What leaves something behind in the session that uses it: functions, and relations by their rules, triggers,
//! defaults, policies and checks.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::{BitOr, BitOrAssign};

use tokio_postgres::GenericClient;

use super::body::Body;
use super::{get, rows, trees};
use crate::Error;

/// What something may leave in its session, as flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trace(u8);

impl Trace {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Settings, temporary objects, locks: what the server can be asked about.
    pub const SESSION: Self = Self(1);
    /// A custom setting under a name that is computed.
    pub const UNTOLD: Self = Self(1 << 1);
    /// Whatever dynamic SQL, or compiled code, does.
    pub const OPAQUE: Self = Self(1 << 2);
    /// Another schema.
    pub const SCHEMA: Self = Self(1 << 3);
    /// What nobody can be asked about.
    pub const HIDDEN: Self = Self(1 << 4);

    /// Whether all of `other`'s flags are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Trace {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Trace {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What is known of a database's names. All are without their schemas.
#[derive(Debug, Default)]
pub struct Traces {
    /// The server's version, as a number.
    pub version: i32,
    /// Functions, types and keywords of the server's own; `None` if they are those of the version that was known.
    pub builtin: Option<HashSet<String>>,
    /// Users' functions that leave nothing, and types.
    pub harmless: Vec<String>,
    /// Functions and relations that leave something; in lower case.
    pub stateful: HashMap<String, Trace>,
    /// What can be reached without a name: by an operator, a cast, a domain.
    pub everywhere: Trace,
    /// Texts of what leaves something: names of custom settings are in them.
    pub texts: Vec<String>,
}

const VERSION: &str = "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4";

/// The server's own names.
const BUILTIN: &str = "
SELECT proname::text FROM pg_catalog.pg_proc WHERE oid < 16384
 UNION SELECT typname::text FROM pg_catalog.pg_type WHERE oid < 16384 AND typtype <> 'c'
 UNION SELECT word FROM pg_catalog.pg_get_keywords()";

/// Users' functions: with the extension that they belong to, and the body of what is not compiled.
const FUNCTIONS: &str = "
SELECT p.oid, p.proname::text, l.lanname::text, p.provolatile::text, p.prosqlbody IS NULL, p.prosrc,
       (SELECT e.extname::text FROM pg_catalog.pg_depend d
          JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
         WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
           AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e')
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 WHERE p.oid >= 16384 AND n.nspname !~ '^pg_temp_'";

const TYPES: &str = "
SELECT typname::text FROM pg_catalog.pg_type
 WHERE oid >= 16384 AND typtype IN ('b', 'd', 'e', 'r', 'm') AND typcategory <> 'A'";

/// Compiled functions of these extensions leave nothing behind, though they are called volatile.
const HARMLESS: [&str; 14] = [
    "citext",
    "hstore",
    "lo",
    "pageinspect",
    "pg_stat_statements",
    "pgcrypto",
    "pgrowlocks",
    "pgstattuple",
    "plpgsql",
    "postgis",
    "postgis_raster",
    "postgis_topology",
    "uuid-ossp",
    "vector",
];

/// What the catalog says of functions and of what calls them, not judged yet.
#[derive(Debug, Default)]
pub struct Material {
    version: i32,
    builtin: Option<HashSet<String>>,
    types: Vec<String>,
    functions: Vec<Function>,
    found: Vec<trees::Found>,
}

#[derive(Debug)]
struct Function {
    oid: u32,
    name: String,
    language: String,
    volatility: String,
    /// Whether its source is its body.
    has_source: bool,
    source: String,
    extension: Option<String>,
}

/// Reads what [`Material::judge`] needs. The server's own names are left out if its version is `known`.
///
/// It takes no locks: nothing is to wait for who changes the schema.
///
/// # Errors
/// What the server or the connection says.
pub async fn session_traces(
    client: &impl GenericClient,
    known: Option<i32>,
) -> Result<Material, Error> {
    let mut material = Material::default();
    if let Some(row) = rows(client, VERSION).await?.first() {
        material.version = get(row, 0)?;
    }
    if known != Some(material.version) {
        let rows = rows(client, BUILTIN).await?;
        let names = rows.iter().map(|row| get(row, 0));
        material.builtin = Some(names.collect::<Result<_, _>>()?);
    }
    for row in rows(client, TYPES).await? {
        material.types.push(get(&row, 0)?);
    }
    for row in rows(client, FUNCTIONS).await? {
        material.functions.push(Function {
            oid: get(&row, 0)?,
            name: get(&row, 1)?,
            language: get(&row, 2)?,
            volatility: get(&row, 3)?,
            has_source: get(&row, 4)?,
            source: get(&row, 5)?,
            extension: get(&row, 6)?,
        });
    }
    material.found = trees::read(client).await?;
    Ok(material)
}

impl Material {
    /// Judges by the words of functions' bodies and by what rules, triggers, defaults, policies and checks call, so
    /// rather too many than too few. A compiled function that is volatile may do anything, unless its extension is
    /// known.
    ///
    /// With tens of thousands of functions this takes a second of computing.
    #[must_use]
    pub fn judge(self) -> Traces {
        let mut traces = Traces {
            version: self.version,
            builtin: self.builtin,
            harmless: self.types,
            ..Traces::default()
        };
        let mut graph = Graph::default();
        for function in self.functions {
            let node = graph.node(function.oid, &function.name);
            let known = matches!(function.language.as_str(), "sql" | "plpgsql");
            if function.language == "c" || function.language == "internal" {
                node.trace |= compiled(&function.volatility, function.extension.as_deref());
            } else if function.has_source {
                let body = Body::read(&function.source, &function.language);
                node.trace |= body.trace;
                node.quoted |= body.quoted;
                node.words.extend(body.words);
                node.texts.push(function.source);
                if !known && function.volatility == "v" {
                    node.trace |= Trace::SESSION | Trace::OPAQUE;
                }
            }
            traces.harmless.push(function.name);
        }
        for found in self.found {
            let node = graph.node(found.oid, &found.name);
            node.references.extend(found.references);
            node.trace |= found.trace;
            node.texts.extend(found.strings);
        }
        graph.close(&mut traces);
        traces
            .harmless
            .retain(|name| !traces.stateful.contains_key(&name.to_lowercase()));
        traces
    }
}

/// What a compiled function may leave.
fn compiled(volatility: &str, extension: Option<&str>) -> Trace {
    match extension {
        // Whose functions run the SQL that they are given, or set what `pg_settings` shows.
        Some("tablefunc" | "xml2") => Trace::SESSION | Trace::OPAQUE,
        Some("pg_trgm") if volatility == "v" => Trace::SESSION,
        Some(name) if HARMLESS.contains(&name) => Trace::NONE,
        _ if volatility == "v" => Trace::SESSION | Trace::OPAQUE,
        _ => Trace::NONE,
    }
}

/// Who uses whom. A node is a name, since that is all that a statement says.
#[derive(Debug, Default)]
struct Graph {
    nodes: HashMap<String, Node>,
    names: HashMap<u32, String>,
}

#[derive(Debug, Default)]
struct Node {
    trace: Trace,
    /// What its strings leave if what it uses runs them.
    quoted: Trace,
    words: BTreeSet<String>,
    references: Vec<u32>,
    texts: Vec<String>,
}

impl Graph {
    /// The node of an object; that without a name stands for what is reached without one.
    fn node(&mut self, oid: u32, name: &str) -> &mut Node {
        let name = name.to_lowercase();
        self.names.insert(oid, name.clone());
        self.nodes.entry(name).or_default()
    }

    /// Hands traces on to all that use what leaves them.
    fn close(self, traces: &mut Traces) {
        let mut users: HashMap<&str, Vec<&str>> = HashMap::new();
        for (name, node) in &self.nodes {
            let by_oid = node.references.iter().filter_map(|oid| self.names.get(oid));
            for used in node.words.iter().chain(by_oid) {
                if self.nodes.contains_key(used) && used != name {
                    users.entry(used).or_default().push(name);
                }
            }
        }
        let mut found: HashMap<&str, Trace> = HashMap::new();
        let mut next: Vec<(&str, Trace)> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.trace != Trace::NONE)
            .map(|(name, node)| (name.as_str(), node.trace))
            .collect();
        while let Some((name, trace)) = next.pop() {
            let known = found.entry(name).or_default();
            if known.contains(trace) {
                continue;
            }
            *known |= trace;
            if let Some(node) = self.nodes.get(name)
                && known.contains(Trace::OPAQUE)
            {
                *known |= node.quoted;
            }
            let all = *known;
            next.extend(
                users
                    .get(name)
                    .into_iter()
                    .flatten()
                    .map(|user| (*user, all)),
            );
        }
        traces.everywhere = found.remove("").unwrap_or_default();
        for (name, trace) in found {
            if let Some(node) = self.nodes.get(name) {
                traces.texts.extend(node.texts.iter().cloned());
            }
            traces.stateful.insert(name.to_owned(), trace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_inherit_it() {
        let mut graph = Graph::default();
        for (oid, name, body) in [
            (1, "low", "select set_config('a.b', 'b', false)"),
            (2, "Middle", "select low()"),
            (3, "high", "select 1 from \"Middle\"()"),
            (4, "other", "select 1"),
        ] {
            let body = Body::read(body, "sql");
            let node = graph.node(oid, name);
            node.trace = body.trace;
            node.words.extend(body.words);
        }
        graph.node(5, "view").references.push(3);
        graph.node(0, "").references.push(5);
        let mut traces = Traces::default();
        graph.close(&mut traces);
        let mut found: Vec<_> = traces.stateful.keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, ["high", "low", "middle", "view"]);
        assert_eq!(traces.everywhere, Trace::SESSION);
    }
}
