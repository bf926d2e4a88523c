//! What leaves something behind in the session that uses it: functions, and relations by their rules, triggers,
//! defaults, policies and checks.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::{BitOr, BitOrAssign};

use tokio_postgres::GenericClient;

use super::body::Body;
use super::trees::How;
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
    /// Settings of the server's own that end with the transaction: in it texts may mean something else.
    pub const LOCAL: Self = Self(1 << 5);

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

/// What something may leave in its session, by how it is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uses {
    /// Wherever it is named: a view, or a table with policies.
    pub named: Trace,
    /// Where it is called: a function.
    pub called: Trace,
    /// Where it is written to: a table with triggers or defaults.
    pub written: Trace,
}

impl Uses {
    /// However it is used.
    #[must_use]
    pub fn any(self) -> Trace {
        self.named | self.called | self.written
    }

    fn add(&mut self, other: Self) -> bool {
        let before = *self;
        self.named |= other.named;
        self.called |= other.called;
        self.written |= other.written;
        *self != before
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
    pub stateful: HashMap<String, Uses>,
    /// What can be reached without a name: by an operator, a cast, a domain.
    pub everywhere: Trace,
    /// What event triggers leave.
    pub events: Trace,
    /// Texts of what leaves something: names of custom settings are in them.
    pub texts: Vec<String>,
    /// Texts of what sets something for its transaction, and leaves nothing.
    pub passing: Vec<String>,
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
const HARMLESS: [&str; 39] = [
    "adminpack",
    "amcheck",
    "autoinc",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "earthdistance",
    "fuzzystrmatch",
    "hstore",
    "insert_username",
    "intarray",
    "lo",
    "ltree",
    "moddatetime",
    "old_snapshot",
    "pageinspect",
    "pg_buffercache",
    "pg_freespacemap",
    "pg_prewarm",
    "pg_stat_statements",
    "pg_surgery",
    "pg_visibility",
    "pg_walinspect",
    "pgcrypto",
    "pgrowlocks",
    "pgstattuple",
    "plpgsql",
    "postgis",
    "postgis_raster",
    "postgis_topology",
    "seg",
    "sslinfo",
    "tcn",
    "tsm_system_rows",
    "tsm_system_time",
    "unaccent",
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

/// The node of what event triggers do: whatever changes the schema uses it. No object has such a name.
pub(super) const DDL: &str = "\u{1}ddl";

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
                node.uses.called |= compiled(&function.volatility, function.extension.as_deref());
            } else if function.has_source {
                let body = Body::read(&function.source, &function.language);
                node.uses.called |= body.trace;
                node.writes |= body.writes();
                node.quoted |= body.quoted;
                node.words.extend(body.words);
                node.texts.push(function.source);
                if !known && function.volatility == "v" {
                    node.uses.called |= Trace::SESSION | Trace::OPAQUE;
                    node.writes = true;
                }
            }
            traces.harmless.push(function.name);
        }
        for found in self.found {
            let node = graph.node(found.oid, &found.name);
            let how = found.how;
            let references = found.references.into_iter();
            node.references
                .extend(references.map(|reference| (reference, how)));
            match how {
                How::Named => node.uses.named |= found.trace,
                How::Called => node.uses.called |= found.trace,
                How::Written => node.uses.written |= found.trace,
            }
            node.texts.extend(found.strings);
        }
        graph.close(&mut traces);
        let stateful = &traces.stateful;
        let leaves = |name: &str| {
            let uses = stateful.get(&name.to_lowercase());
            uses.is_some_and(|uses| uses.called != Trace::NONE)
        };
        traces.harmless.retain(|name| !leaves(name));
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
    uses: Uses,
    /// What its strings leave if what it uses runs them.
    quoted: Trace,
    /// Whether its body writes to tables.
    writes: bool,
    words: BTreeSet<String>,
    references: Vec<(u32, How)>,
    texts: Vec<String>,
}

impl Graph {
    /// The node of an object; that without a name stands for what is reached without one.
    fn node(&mut self, oid: u32, name: &str) -> &mut Node {
        let name = name.to_lowercase();
        if oid != 0 {
            self.names.insert(oid, name.clone());
        }
        self.nodes.entry(name).or_default()
    }

    /// Hands traces on to all that use what leaves them.
    fn close(self, traces: &mut Traces) {
        let mut found: HashMap<&str, Uses> = HashMap::new();
        let users = self.users();
        let mut next: Vec<(&str, Uses)> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.uses != Uses::default())
            .map(|(name, node)| (name.as_str(), node.uses))
            .collect();
        while let Some((name, uses)) = next.pop() {
            let known = found.entry(name).or_default();
            if !known.add(uses) {
                continue;
            }
            if let Some(node) = self.nodes.get(name)
                && known.called.contains(Trace::OPAQUE)
            {
                known.called |= node.quoted;
            }
            let all = *known;
            let users = users.get(name).into_iter().flatten();
            next.extend(users.map(|user| (user.name, user.inherits(all))));
        }
        traces.everywhere = found.remove("").unwrap_or_default().any();
        traces.events = found.remove(DDL).unwrap_or_default().any();
        for (name, uses) in found {
            if let Some(node) = self.nodes.get(name) {
                let texts = match uses.any().without(Trace::LOCAL) {
                    Trace::NONE => &mut traces.passing,
                    _ => &mut traces.texts,
                };
                texts.extend(node.texts.iter().cloned());
            }
            traces.stateful.insert(name.to_owned(), uses);
        }
    }

    /// The users of each node, by its name.
    fn users(&self) -> HashMap<&str, Vec<User<'_>>> {
        let mut users: HashMap<&str, Vec<User>> = HashMap::new();
        for (name, node) in &self.nodes {
            let by_word = node.words.iter();
            let by_word = by_word.map(|word| (word, How::Called, node.writes));
            let by_oid = node.references.iter();
            let by_oid = by_oid.filter_map(|(oid, how)| Some((self.names.get(oid)?, *how, true)));
            for (used, how, writes) in by_word.chain(by_oid) {
                if self.nodes.contains_key(used) && used != name {
                    users
                        .entry(used)
                        .or_default()
                        .push(User { name, how, writes });
                }
            }
        }
        users
    }
}

/// Who uses something.
struct User<'a> {
    name: &'a str,
    how: How,
    writes: bool,
}

impl User<'_> {
    /// What it leaves if what it uses leaves this.
    fn inherits(&self, used: Uses) -> Uses {
        let read = used.named | used.called;
        match self.how {
            How::Named => Uses {
                named: read,
                written: used.written,
                ..Uses::default()
            },
            How::Called => Uses {
                called: if self.writes { used.any() } else { read },
                ..Uses::default()
            },
            How::Written => Uses {
                written: used.any(),
                ..Uses::default()
            },
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
            node.uses.called = body.trace;
            node.words.extend(body.words);
        }
        graph.node(5, "view").references.push((3, How::Named));
        graph.node(0, "").references.push((5, How::Named));
        let mut traces = Traces::default();
        graph.close(&mut traces);
        let mut found: Vec<_> = traces.stateful.keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, ["high", "low", "middle", "view"]);
        assert_eq!(traces.everywhere, Trace::SESSION);
    }

    #[test]
    fn what_a_use_leaves_depends_on_how() {
        let mut graph = Graph::default();
        for (oid, name, body) in [
            (1, "fire", "begin execute 'x'; end"),
            (2, "writer", "insert into fired values (1)"),
            (3, "reader", "select 1 from fired"),
            (4, "maker", "create temp table t (a int)"),
            (5, "hands", "select run('set x = 1')"),
        ] {
            let body = Body::read(body, "plpgsql");
            let node = graph.node(oid, name);
            node.uses.called = body.trace;
            node.quoted = body.quoted;
            node.writes = body.writes();
            node.words.extend(body.words);
        }
        graph.node(6, "fired").references.push((1, How::Written));
        graph.node(7, "view").references.push((6, How::Named));
        graph.node(8, "parent").references.push((6, How::Written));
        graph.node(9, "cheap").references.push((8, How::Named));
        graph.node(0, DDL).uses.named = Trace::HIDDEN;
        let mut traces = Traces::default();
        graph.close(&mut traces);
        let of = |name: &str| traces.stateful.get(name).copied().unwrap_or_default();
        let opaque = Trace::SESSION | Trace::OPAQUE;
        for name in ["fired", "view", "parent", "cheap"] {
            let found = of(name);
            assert_eq!((found.any(), found.written), (opaque, opaque), "{name}");
        }
        assert_eq!((of("fire").called, of("writer").called), (opaque, opaque));
        assert_eq!(of("reader"), Uses::default());
        assert_eq!(of("maker").called, Trace::SESSION | Trace::HIDDEN);
        assert_eq!(of("hands"), Uses::default());
        assert_eq!(traces.events, Trace::HIDDEN);
        assert_eq!(traces.everywhere, Trace::NONE);
    }
}
