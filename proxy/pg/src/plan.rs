//! From a statement's text to what is done with it: nothing for most, a rewrite for annotated ones.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use twinport_rewriter::pg::JsonColumns;
use twinport_rewriter::scan::Effects;
use twinport_rewriter::{Context, pg};

use crate::catalogs::Loaded;
use crate::execute::{Executes, deallocated, executed, prepared};
use crate::fault::Fault;
use crate::handles::Names;
use crate::request::{NamesNow, Unready};
use crate::session::{Session, Step};
use crate::spelling::listed;
use crate::statement::{Folded, Local, Plan, UpstreamName};

/// What to do with a statement.
pub(crate) enum Planned {
    /// It goes on as it is.
    AsIs(Effects),
    /// It is changed, answered here, or refused.
    Plan(Plan),
    /// Something is needed before that can be said.
    Wait(Step),
    /// An answer that is due decides.
    Later,
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
        let effects = self.judge(text);
        if effects.is_empty() {
            return Planned::AsIs(effects);
        }
        if effects.contains(Effects::DDL) && concerns_database(text) {
            self.wing.pools.let_go(text);
            // It may set what its connections begin with.
            self.pool.connector().forget_greetings();
        }
        if effects.contains(Effects::ANNOTATED) {
            // As long as nothing is known, each would have to wait for the one before.
            if self.can_learn(true) {
                return Planned::Wait(Step::Learn);
            }
            let Ok(sql) = std::str::from_utf8(text) else {
                return refused(
                    &Fault::error("0A000", "an annotated statement must be encoded in UTF-8")
                        .hint("Set client_encoding to UTF8, or leave the annotation out."),
                );
            };
            return self.annotated(sql, types, effects.without(Effects::ANNOTATED));
        }
        if let Some(planned) = self.by_name(text, types, effects) {
            return planned;
        }
        if effects.contains(Effects::EXECUTE) {
            // What SQL has prepared was read when it was prepared, and not since.
            return Planned::AsIs(effects.without(Effects::EXECUTE) | Effects::ANYTHING);
        }
        Planned::AsIs(effects)
    }

    /// SQL that speaks of a statement which was prepared by the protocol; `None` if it does not.
    fn by_name(&mut self, text: &[u8], types: &[u8], effects: Effects) -> Option<Planned> {
        if let Some(name) = prepared(text, effects)
            && UpstreamName::is_ours(&name)
        {
            let name = String::from_utf8_lossy(&name);
            let fault = Fault::error(
                "42P05",
                format_args!("prepared statements can't be called \"{name}\""),
            );
            return Some(refused(&fault.hint(
                "Names that begin with \"_tp\" are the proxy's own: choose another.",
            )));
        }
        if let Some(local) = deallocated(text, effects) {
            return self.deallocation(text, types, local);
        }
        let execute = executed(text, effects)?;
        let statement = match self.executable(&execute.name) {
            Ok(Some(statement)) => statement,
            Ok(None) if UpstreamName::is_ours(&execute.name) => {
                return Some(refused(&Fault::no_statement(&execute.name)));
            }
            Ok(None) => return None,
            Err(Unready::Wait(step)) => return Some(Planned::Wait(step)),
            Err(Unready::Later) => return Some(Planned::Later),
            Err(Unready::Refused(refusal)) => {
                return Some(Planned::Plan(Plan {
                    refusal: Some(refusal),
                    ..Plan::default()
                }));
            }
        };
        let inner_effects = self.effects_of(&statement);
        let inner = &statement.plan;
        Some(Planned::Plan(Plan {
            text: text.into(),
            types: types.into(),
            effects: effects.without(Effects::EXECUTE) | inner_effects,
            timeout: inner.timeout,
            // What is explained has a plan for its result.
            json_tail: if execute.explained {
                0
            } else {
                inner.json_tail
            },
            executes: Some(Executes {
                statement,
                name: execute.name.into(),
                at: execute.at,
            }),
            ..Plan::default()
        }))
    }

    /// A DEALLOCATE of names that are kept here; `None` if the server has to do it.
    fn deallocation(&self, text: &[u8], types: &[u8], local: Local) -> Option<Planned> {
        let text = match &local {
            Local::Deallocate(name) if self.replies.doubts_name(name) => {
                return Some(Planned::Later);
            }
            Local::Deallocate(name) if self.handles.get(name).is_some() => Local::STAND_IN,
            Local::Deallocate(name) if UpstreamName::is_ours(name) => {
                return Some(refused(&Fault::no_statement(name)));
            }
            Local::Deallocate(_) => return None,
            // What the session has prepared by SQL is the server's to drop, and other clients' is not: as long as
            // there is none of the first, nothing has to be sent.
            Local::DeallocateAll if self.has_state() || !self.replies.is_empty() => return None,
            Local::DeallocateAll => text,
        };
        Some(Planned::Plan(Plan {
            text: text.into(),
            types: types.into(),
            local: Some(local),
            ..Plan::default()
        }))
    }

    /// Whether the session may have state on its connection that can't be moved: statements prepared by SQL, say.
    pub(crate) fn has_state(&self) -> bool {
        let held = self.held.as_ref();
        self.pinned.is_some()
            || self.session_mode
            || held.is_some_and(|held| held.effects.contains(Effects::STATE))
    }

    /// What an annotated statement becomes where names mean what they mean now.
    pub(crate) fn annotated(&mut self, sql: &str, types: &[u8], effects: Effects) -> Planned {
        let names = match self.names() {
            Ok(names) => names.to_owned(),
            Err(Unready::Wait(step)) => return Planned::Wait(step),
            Err(Unready::Later) => return Planned::Later,
            Err(Unready::Refused(refusal)) => {
                return Planned::Plan(Plan {
                    refusal: Some(refusal),
                    ..Plan::default()
                });
            }
        };
        if let Some(fault) = self.catalog_fault.take() {
            return refused(&fault);
        }
        let Some(loaded) = self.pool.connector().catalog.current() else {
            return Planned::Wait(Step::Catalog);
        };
        match &*self.rewrite(sql, &names, &loaded) {
            Outcome::Refused(fault) => refused(fault),
            Outcome::Rewritten { text, .. } if sql.is_ascii() && !self.can_read(text) => refused(
                &Fault::error(
                    "0A000",
                    "an annotated statement speaks of names beyond ASCII, which need UTF-8",
                )
                .hint("Set client_encoding to UTF8, or leave the annotation out."),
            ),
            Outcome::Rewritten {
                text: made,
                timeout,
                json_tail,
                fold,
            } => Planned::Plan(Plan {
                text: made.clone(),
                types: types.into(),
                // It may name what the text of the client does not.
                effects: effects
                    | self
                        .judge(made)
                        .without(Effects::ANNOTATED | Effects::EXECUTE),
                timeout: *timeout,
                json_tail: *json_tail,
                fold: fold.clone(),
                rewritten: **made != *sql.as_bytes(),
                source: Some(sql.into()),
                ..Plan::default()
            }),
        }
    }

    /// Whether the server reads a text of ours as it was meant.
    fn can_read(&self, text: &[u8]) -> bool {
        text.is_ascii() || self.reported_now().get("client_encoding") == Some("UTF8")
    }

    fn rewrite(&self, sql: &str, names: &Names, loaded: &Loaded) -> Arc<Outcome> {
        let conforming = self.reported_now().conforming();
        let schemas = schemas(&names.path, &names.user);
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

    /// What names mean now; otherwise what has to be done to know it, if anything can be.
    pub(crate) fn names(&self) -> Result<NamesNow<'_>, Unready> {
        let held = self.held.as_ref();
        let changed =
            held.is_some_and(|held| held.effects.intersects(Effects::SETTINGS | Effects::LOCAL));
        if !changed {
            let path = self
                .settings
                .get("search_path")
                .or_else(|| self.reported.get("search_path"))
                .or_else(|| held.and_then(|held| held.upstream.search_path.as_deref()));
            return Ok(NamesNow {
                path: path.unwrap_or_default(),
                user: self.names_user(),
            });
        }
        // An answer that is due may be to the end of the transaction.
        if self.replies.ready_due() > 0 {
            return Err(Unready::Later);
        }
        if let Some(Names { path, user }) = &self.names_now {
            return Ok(NamesNow { path, user });
        }
        // What was sent has to be done before it can be asked for.
        if self.replies.is_empty() && !self.replies.copy_in {
            return Err(Unready::Wait(Step::SearchPath));
        }
        Err(Unready::Later)
    }
}

fn refused(fault: &Fault) -> Planned {
    Planned::Plan(Plan {
        refusal: Some(fault.to_bytes().into()),
        ..Plan::default()
    })
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
    let names = listed(path).into_iter();
    names
        .map(|name| match name.as_str() {
            "$user" => user.to_owned(),
            _ => name,
        })
        .collect()
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
        assert!(schemas("", "u").is_empty());
    }
}
