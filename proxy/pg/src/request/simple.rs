//! The simple protocol: Query.

use std::borrow::Cow;

use twinport_rewriter::scan::Effects;
use twinport_wire::pg::backend::{Status, build as answer};
use twinport_wire::pg::frontend::build;

use super::Did;
use crate::plan::Planned;
use crate::reply::Expect;
use crate::session::Session;
use crate::statement::{Local, Plan};

/// A text that no server accepts: it makes the server fail where we refuse, so that a pipeline, a transaction
/// and the status all behave as after any other error. The client gets our error instead of the server's.
pub(crate) const REFUSED: &[u8] = b"twinport refuses this statement";

impl Session {
    pub(super) fn query(&mut self, text: &[u8], bytes: &[u8]) -> Did {
        self.batch.forget();
        self.pool.stats().statements.add(1);
        if let Some(held) = &mut self.held {
            held.upstream.unnamed = None;
        }
        let plan = match self.plan(text, &[]) {
            Planned::AsIs(effects) => {
                if !effects.is_empty() {
                    self.note_effects(effects);
                }
                self.to_upstream.extend_from_slice(bytes);
                self.replies.push(Expect::PLAIN_QUERY);
                if takes_back(text, effects) {
                    self.restore_baseline();
                }
                return Did::Done;
            }
            Planned::Plan(plan) => plan,
            Planned::Wait(step) => return Did::Wait(step),
        };
        self.planned_query(plan);
        Did::Done
    }

    fn planned_query(&mut self, plan: Plan) {
        let alone = self.replies.is_empty() && !self.replies.unsynced;
        let idle = alone && self.replies.status == Status::Idle;
        if let Some(local) = plan
            .local
            .as_ref()
            .filter(|_| self.replies.status != Status::Failed && alone)
        {
            let mut out = Vec::new();
            answer::command_complete(&mut out, self.do_local(local));
            answer::ready_for_query(&mut out, self.replies.status);
            self.to_client.extend_from_slice(&out);
            return;
        }
        if let Some(refusal) = plan.refusal {
            if idle {
                self.to_client.extend_from_slice(&refusal);
                answer::ready_for_query(&mut self.to_client, Status::Idle);
            } else {
                build::query(&mut self.to_upstream, REFUSED);
                self.replies.push(Expect::Query {
                    refusal: Some(refusal),
                    json_tail: 0,
                    fold: None,
                    timed: false,
                });
            }
            return;
        }
        if plan.rewritten {
            self.pool.stats().rewrites.add(1);
        }
        self.note_effects(plan.effects);
        self.set_clock(plan.timeout);
        let fold = plan
            .fold
            .as_ref()
            .filter(|fold| self.can_fold(fold, b"", plan.effects))
            .cloned();
        let text = match (&plan.executes, &plan.fold) {
            (Some(executes), _) => {
                let (name, fresh) = self.prepared_upstream(&executes.statement);
                if fresh {
                    build::sync(&mut self.to_upstream);
                    self.replies.push(Expect::Sync { shown: false });
                }
                Cow::Owned(executes.with_name(&plan.text, &name))
            }
            (None, Some(packed)) if fold.is_none() => Cow::Borrowed(&*packed.alone),
            (None, _) => Cow::Borrowed(&*plan.text),
        };
        build::query(&mut self.to_upstream, &text);
        self.replies.push(Expect::Query {
            refusal: None,
            json_tail: plan.json_tail,
            fold,
            timed: plan.timeout.is_some(),
        });
        if takes_back(&plan.text, plan.effects) {
            self.restore_baseline();
        }
    }

    /// A RESET goes to what the client asked for at login, which on the connection was set by us: behind the RESET
    /// it is set again.
    pub(super) fn restore_baseline(&mut self) {
        if let Some(sql) = self.baseline.restore() {
            build::query(&mut self.to_upstream, sql.as_bytes());
            self.replies.push(Expect::Ours);
        }
    }

    /// Does a command that never reaches the upstream; its tag.
    pub(super) fn do_local(&mut self, local: &Local) -> &'static [u8] {
        match local {
            Local::Deallocate(name) => {
                self.handles.remove(name);
                b"DEALLOCATE"
            }
            Local::DeallocateAll => {
                self.handles.clear();
                b"DEALLOCATE ALL"
            }
        }
    }
}

/// The statement that a `DEALLOCATE` names; `None` if the text is anything else.
pub(crate) fn deallocate(text: &[u8], effects: Effects) -> Option<Local> {
    if !effects.contains(Effects::DEALLOCATE) || effects.contains(Effects::SEVERAL) {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let text = text.trim().trim_end_matches(';').trim_end();
    let rest = strip_word(text, "deallocate")?;
    let name = strip_word(rest, "prepare").unwrap_or(rest);
    if name.eq_ignore_ascii_case("all") {
        return Some(Local::DeallocateAll);
    }
    let name = match name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'))
    {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None if name
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == '$') =>
        {
            name.to_lowercase()
        }
        None => return None,
    };
    Some(Local::Deallocate(name.into_bytes().into()))
}

/// Whether a statement may take settings back to the server's own values.
pub(super) fn takes_back(text: &[u8], effects: Effects) -> bool {
    if !effects.contains(Effects::SETTINGS) {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    ["reset", "default", "discard"]
        .iter()
        .any(|word| memchr::memmem::find(&lower, word.as_bytes()).is_some())
}

fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (first, rest) = text.split_once(char::is_whitespace)?;
    first.eq_ignore_ascii_case(word).then(|| rest.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deallocate_is_understood_in_its_forms() {
        let of = |text: &str| deallocate(text.as_bytes(), Effects::DEALLOCATE);
        let named = |name: &str| Some(Local::Deallocate(name.as_bytes().into()));
        assert_eq!(of("DEALLOCATE s1"), named("s1"));
        assert_eq!(of("deallocate PREPARE S1;"), named("s1"));
        assert_eq!(of("DEALLOCATE \"_pg\"\"3_0\" ;"), named("_pg\"3_0"));
        assert_eq!(of("DEALLOCATE ALL"), Some(Local::DeallocateAll));
        assert_eq!(of("DISCARD ALL"), None);
        assert_eq!(of("DEALLOCATE a, b"), None);
    }
}
