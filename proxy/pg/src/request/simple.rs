//! The simple protocol: Query.

use std::borrow::Cow;

use twinport_rewriter::scan::Effects;
use twinport_wire::pg::backend::{Status, build as answer};
use twinport_wire::pg::frontend::build;

use super::Did;
use super::reset::takes_back;
use crate::plan::Planned;
use crate::reply::{Drops, Expect};
use crate::session::Session;
use crate::statement::{Plan, may_end_transaction};

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
                if self.reads_otherwise()
                    && (effects.contains(Effects::SEVERAL) || may_end_transaction(text))
                {
                    self.note_taken_back(effects);
                }
                if !effects.is_empty() {
                    self.note_effects(effects);
                    self.note_names(text, effects);
                }
                self.to_upstream.extend_from_slice(bytes);
                let mut expect = Expect::PLAIN_QUERY;
                if effects.contains(Effects::DEALLOCATE)
                    && let Expect::Query { drops, .. } = &mut expect
                {
                    *drops = Drops::Maybe;
                }
                self.replies.push(expect);
                if takes_back(text, effects) {
                    self.restore_baseline(text);
                }
                return Did::Done;
            }
            Planned::Plan(plan) => plan,
            Planned::Wait(step) => return Did::Wait(step),
            Planned::Later => return Did::Later,
        };
        if let Some(executes) = &plan.executes
            && self.is_doubted(&executes.statement)
        {
            return Did::Later;
        }
        self.planned_query(plan);
        Did::Done
    }

    fn planned_query(&mut self, plan: Plan) {
        let alone = self.replies.is_empty() && !self.replies.unsynced;
        let idle = alone && self.replies.status == Status::Idle;
        let mut drops = Drops::Nothing;
        if let Some(local) = plan.local.clone() {
            if alone && self.replies.status != Status::Failed {
                self.handles.carry_out(&local);
                answer::command_complete(&mut self.to_client, local.tag());
                answer::ready_for_query(&mut self.to_client, self.replies.status);
                return;
            }
            drops = Drops::Ours(local);
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
                    drops: Drops::Nothing,
                });
            }
            return;
        }
        if plan.rewritten {
            self.pool.stats().rewrites.add(1);
        }
        self.note_effects(plan.effects);
        self.note_names(&plan.text, plan.effects);
        if let Some(executes) = &plan.executes {
            self.note_names(&executes.statement.plan.text, plan.effects);
        }
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
            drops,
        });
        if takes_back(&plan.text, plan.effects) {
            self.restore_baseline(&plan.text);
        }
    }
}
