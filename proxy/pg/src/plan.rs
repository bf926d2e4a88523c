//! From a statement's text to what is done with it: nothing for most, a rewrite for annotated ones.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use twinport_rewriter::pg::JsonColumns;
use twinport_rewriter::scan::{Effects, scan};
use twinport_rewriter::{Context, pg};

use crate::catalogs::Loaded;
use crate::execute::{Executes, executed};
use crate::fault::Fault;
use crate::request::deallocate;
use crate::session::{Session, Step};
use crate::statement::{Folded, Local, Plan, Statement};

/// What to do with a statement.
pub(crate) enum Planned {
    /// It goes on as it is.
    AsIs(Effects),
    /// It is changed, answered here, or refused.
    Plan(Plan),
    /// Something is needed before that can be said.
    Wait(Step),
}

/// Rewritten statements, by text and by what their names mean.
pub(crate) type Rewrites = Cache<RewriteKey, Arc<Outcome>>;

#[derive(PartialEq, Eq, Hash)]
pub(crate) struct RewriteKey {
    catalog: u64,
    path: Arc<str>,
    conforming: bool,
    text: Box<str>,
}

/// What the rewriter made of a statement.
pub(crate) enum Outcome {
    Rewritten {
        text: Box<[u8]>,
        timeout: Option<Duration>,
        json_tail: usize,
        fold: Option<Arc<Folded>>,
    },
    Refused(Fault),
}

/// A cache of at most `bytes` of text.
pub(crate) fn rewrites(bytes: u64) -> Rewrites {
    Cache::builder()
        .max_capacity(bytes)
        .weigher(|key: &RewriteKey, outcome: &Arc<Outcome>| {
            let made = match &**outcome {
                Outcome::Rewritten { text, fold, .. } => {
                    // The JSON's members are about as long as the statement that packs them.
                    text.len()
                        + fold
                            .as_ref()
                            .map_or(0, |fold| text.len() + fold.alone.len())
                }
                Outcome::Refused(fault) => fault.message.len(),
            };
            u32::try_from(key.text.len() + made + 256).unwrap_or(u32::MAX)
        })
        .build()
}

impl Session {
    /// Looks at a statement's text.
    pub(crate) fn plan(&mut self, text: &[u8], types: &[u8]) -> Planned {
        let stateful = self.pool.connector().catalog.stateful();
        let effects = scan(text, &stateful);
        if effects.is_empty() {
            return Planned::AsIs(effects);
        }
        if effects.contains(Effects::DDL) && concerns_database(text) {
            self.wing.pools.let_go(text);
        }
        if effects.contains(Effects::ANNOTATED) {
            return self.annotated(text, types, effects.without(Effects::ANNOTATED));
        }
        if let Some(local) = deallocate(text, effects)
            && self.is_ours(&local)
        {
            return Planned::Plan(Plan {
                text: text.into(),
                types: types.into(),
                local: Some(local),
                ..Plan::default()
            });
        }
        if let Some((name, at)) = executed(text, effects)
            && let Some(statement) = self.executable(&name)
        {
            let inner = &statement.plan;
            return Planned::Plan(Plan {
                text: text.into(),
                types: types.into(),
                effects: effects.without(Effects::EXECUTE) | inner.effects,
                timeout: inner.timeout,
                json_tail: inner.json_tail,
                executes: Some(Executes {
                    statement,
                    name: at,
                }),
                ..Plan::default()
            });
        }
        Planned::AsIs(effects.without(Effects::EXECUTE))
    }

    /// What SQL runs by the name of a statement that was prepared by the protocol: rows that SQL asks for can go
    /// anywhere, so that the server writes their JSON.
    fn executable(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        let handle = self.handles.get(name)?;
        match handle.statement.plan.alone() {
            None => Some(Arc::clone(&handle.statement)),
            Some(plan) => self.alone(name, plan, handle.described),
        }
    }

    /// Whether a DEALLOCATE speaks of statements that were prepared by the protocol, whose names we keep.
    fn is_ours(&self, local: &Local) -> bool {
        match local {
            Local::Deallocate(name) => self.handles.get(name).is_some(),
            Local::DeallocateAll => self.pinned.is_none(),
        }
    }

    fn annotated(&mut self, text: &[u8], types: &[u8], effects: Effects) -> Planned {
        let refused = |fault: &Fault| {
            Planned::Plan(Plan {
                refusal: Some(fault.to_bytes().into()),
                ..Plan::default()
            })
        };
        let Ok(sql) = std::str::from_utf8(text) else {
            return refused(
                &Fault::error("0A000", "an annotated statement must be encoded in UTF-8")
                    .hint("Set client_encoding to UTF8, or leave the annotation out."),
            );
        };
        let path = match self.path_of_names() {
            Ok(path) => path,
            Err(Some(step)) => return Planned::Wait(step),
            Err(None) => {
                return refused(
                    &Fault::error(
                        "0A000",
                        "an annotated statement can't be pipelined behind a SET in the same transaction",
                    )
                    .hint("Wait for the answer to the SET before sending the annotated statement."),
                );
            }
        };
        if let Some(fault) = self.catalog_fault.take() {
            return refused(&fault);
        }
        let Some(loaded) = self.pool.connector().catalog.current() else {
            return Planned::Wait(Step::Catalog);
        };
        match &*self.rewrite(sql, path, &loaded) {
            Outcome::Refused(fault) => refused(fault),
            Outcome::Rewritten {
                text: made,
                timeout,
                json_tail,
                fold,
            } => Planned::Plan(Plan {
                text: made.clone(),
                types: types.into(),
                effects,
                timeout: *timeout,
                json_tail: *json_tail,
                fold: fold.clone(),
                rewritten: **made != *text,
                ..Plan::default()
            }),
        }
    }

    fn rewrite(&self, sql: &str, path: Arc<str>, loaded: &Loaded) -> Arc<Outcome> {
        let conforming = self.reported.get("standard_conforming_strings") != Some("off");
        let schemas = schemas(&path, self.names_user());
        let key = RewriteKey {
            catalog: loaded.version,
            path: schemas.join(",").into(),
            conforming,
            text: sql.into(),
        };
        self.wing.rewrites.get_with(key, || {
            let context = Context {
                catalog: &loaded.catalog,
                search_path: &schemas,
                server_version: self.reported.server_version(),
                standard_conforming_strings: conforming,
            };
            let made = outcome(sql, &context)
                .unwrap_or_else(|error| Outcome::Refused(Fault::from(&error)));
            Arc::new(made)
        })
    }

    /// Whether packed rows of a portal can become JSON here: if nothing but an Execute can ask for them, texts come in
    /// UTF-8, and no row was too large so far.
    pub(crate) fn can_fold(&self, fold: &Folded, portal: &[u8], effects: Effects) -> bool {
        let Some(held) = &self.held else {
            return false;
        };
        let may_change = Effects::SETTINGS | Effects::LOCAL;
        portal.is_empty()
            && !fold.is_outgrown()
            && !(held.effects | effects).intersects(may_change)
            && held.upstream.reported.get("client_encoding") == Some("UTF8")
    }

    /// Whose name `$user` stands for.
    fn names_user(&self) -> &str {
        let set = |name| self.settings.get(name).filter(|value| *value != "none");
        set("role")
            .or_else(|| set("session_authorization"))
            .unwrap_or_else(|| self.pool.connector().user())
    }

    /// The search path as it is now; otherwise what has to be done to know it, if anything can be.
    fn path_of_names(&self) -> Result<Arc<str>, Option<Step>> {
        let changed = self
            .held
            .as_ref()
            .is_some_and(|held| held.effects.intersects(Effects::SETTINGS | Effects::LOCAL));
        if changed {
            let at_rest =
                self.replies.is_empty() && !self.replies.unsynced && self.to_upstream.is_empty();
            return match &self.path_now {
                Some(path) => Ok(Arc::clone(path)),
                None if at_rest => Err(Some(Step::SearchPath)),
                None => Err(None),
            };
        }
        Ok(self
            .settings
            .get("search_path")
            .or_else(|| self.reported.get("search_path"))
            .map_or_else(|| Arc::clone(&self.default_path), Arc::from))
    }
}

/// Carries out a statement's directives, with the JSON written by the server and, if that can be, here.
fn outcome(sql: &str, context: &Context<'_>) -> Result<Outcome, twinport_rewriter::Error> {
    // A cast to json has the server check what it has just built; we name the type instead.
    let alone = pg::rewrite_with(sql, context, JsonColumns::Text)?;
    let (text, fold) = if alone.text_as_json == 0 {
        (alone.sql, None)
    } else {
        let packed = pg::rewrite_with(sql, context, JsonColumns::Packed)?;
        let folded = Folded::new(packed.folds, alone.sql.into_bytes().into());
        (packed.sql, Some(Arc::new(folded)))
    };
    Ok(Outcome::Rewritten {
        text: text.into_bytes().into(),
        timeout: alone.timeout,
        json_tail: alone.text_as_json,
        fold,
    })
}

/// Whether a statement drops, renames or copies a whole database, which the server refuses while anybody is
/// connected to it.
fn concerns_database(text: &[u8]) -> bool {
    let mut words = text
        .split(|byte| !byte.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let verb = words.next().unwrap_or_default();
    let is_verb = ["create", "alter", "drop"]
        .iter()
        .any(|known| verb.eq_ignore_ascii_case(known.as_bytes()));
    is_verb
        && words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case(b"database"))
}

/// The schemas of a `search_path`, `$user` replaced.
fn schemas(path: &str, user: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = path.trim_start();
    while !rest.is_empty() {
        let (name, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_name(quoted)
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            (name.trim().to_lowercase(), after)
        };
        match name.as_str() {
            "" => {}
            "$user" => found.push(user.to_owned()),
            _ => found.push(name),
        }
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
    found
}

fn quoted_name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            name.push(c);
        } else if text.get(at + 1..).is_some_and(|rest| rest.starts_with('"')) {
            name.push('"');
            chars.next();
        } else {
            return (name, text.get(at + 1..).unwrap_or_default());
        }
    }
    (name, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_about_whole_databases_are_told() {
        assert!(concerns_database(b"DROP DATABASE IF EXISTS app"));
        assert!(concerns_database(b" create database a TEMPLATE app"));
        assert!(!concerns_database(b"DROP TABLE database"));
    }

    #[test]
    fn a_search_path_is_taken_apart() {
        assert_eq!(schemas("\"$user\", public", "bob"), ["bob", "public"]);
        assert_eq!(
            schemas("App , \"My \"\"One\"\",x\",b", "u"),
            ["app", "My \"One\",x", "b"]
        );
        assert!(schemas("", "u").is_empty());
    }
}
