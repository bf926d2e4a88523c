//! What a client's statement name stands for at this moment: the schema, the search path and other names may have
//! changed since it was prepared.

use std::sync::Arc;

use twinport_wire::pg::frontend::{Target, build};

use super::Did;
use crate::fault::Fault;
use crate::handles::{Columns, Names};
use crate::plan::Planned;
use crate::reply::{Bound, Expect};
use crate::session::{Session, Step};
use crate::statement::{Plan, Statement};
use crate::upstream::PreparedKey;

/// Why a request can't be sent now.
#[derive(Debug)]
pub(crate) enum Unready {
    /// It has to wait for this.
    Wait(Step),
    /// It has to wait for an answer that is due.
    Later,
    /// It is refused with this error.
    Refused(Box<[u8]>),
}

impl Unready {
    /// It is refused.
    pub(super) fn refused(fault: &Fault) -> Self {
        Self::Refused(fault.to_bytes().into())
    }
}

/// Another result type than the client was told of: it would decode rows wrongly.
pub(super) fn result_changed() -> Unready {
    Unready::refused(
        &Fault::error("0A000", "cached plan must not change result type")
            .revalidating()
            .hint("The schema or the search path has changed: prepare the statement again."),
    )
}

impl Session {
    /// What becomes of a request of the extended protocol that can't be sent now.
    pub(super) fn put_off(&mut self, unready: Unready) -> Did {
        match unready {
            Unready::Wait(step) => Did::Wait(step),
            Unready::Later => Did::Later,
            Unready::Refused(refusal) => {
                self.send_refused(refusal, None);
                Did::Done
            }
        }
    }

    /// The statement of a name as it is meant now. What has to be made anew is, and is kept.
    pub(super) fn standing(&mut self, name: &[u8]) -> Result<Option<Arc<Statement>>, Unready> {
        if self.replies.doubts_name(name) {
            return Err(Unready::Later);
        }
        let Some(handle) = self.handles.get(name) else {
            return Ok(None);
        };
        let statement = Arc::clone(&handle.statement);
        let outdated = statement.is_stale() && !handle.is_described();
        let plan = &statement.plan;
        let made = if let Some(source) = &plan.source {
            return self.rewritten(name, source, &statement, outdated).map(Some);
        } else if let Some(executes) = &plan.executes {
            let inner = self.executable(&executes.name)?;
            if inner.is_some_and(|inner| Arc::ptr_eq(&inner, &executes.statement)) {
                return Ok(Some(statement));
            }
            let plan = self.planned(&plan.text, &plan.types)?;
            self.wing.statements.private(plan)
        } else if outdated {
            self.wing.statements.share(plan.again())
        } else {
            return Ok(Some(statement));
        };
        if let Some(handle) = self.handles.get_mut(name) {
            handle.replace(Arc::clone(&made));
        }
        Ok(Some(made))
    }

    /// What SQL runs by the name of a statement that was prepared by the protocol: rows that SQL asks for can go
    /// anywhere, so that the server writes their JSON.
    pub(crate) fn executable(&mut self, name: &[u8]) -> Result<Option<Arc<Statement>>, Unready> {
        let Some(statement) = self.standing(name)? else {
            return Ok(None);
        };
        let Some(plan) = statement.plan.alone() else {
            return Ok(Some(statement));
        };
        let handle = self.handles.get(name);
        let described = handle.is_some_and(|handle| handle.is_described());
        Ok(self.alone(name, plan, described))
    }

    /// An annotated statement as it has to be written where names mean what they mean now.
    fn rewritten(
        &mut self,
        name: &[u8],
        source: &Arc<str>,
        statement: &Arc<Statement>,
        outdated: bool,
    ) -> Result<Arc<Statement>, Unready> {
        let names = self.names()?;
        let handle = self.handles.get(name);
        let known = handle.and_then(|handle| handle.names());
        if !outdated && known.is_some_and(|known| *known == names) {
            return Ok(Arc::clone(statement));
        }
        let names = names.to_owned();
        let kept = handle.and_then(|handle| handle.rewriting(&names));
        let made = match kept.filter(|kept| !kept.is_stale()) {
            Some(kept) => kept,
            None => {
                let plan = &statement.plan;
                match self.annotated(source, &plan.types, plan.effects) {
                    Planned::Plan(Plan {
                        refusal: Some(refusal),
                        ..
                    }) => return Err(Unready::Refused(refusal)),
                    Planned::Plan(plan) => self.statement_of(plan, !name.is_empty()),
                    Planned::Wait(step) => return Err(Unready::Wait(step)),
                    Planned::AsIs(_) | Planned::Later => return Err(Unready::Later),
                }
            }
        };
        if let Some(handle) = self.handles.get_mut(name) {
            handle.rewritten(names, Arc::clone(&made));
        }
        Ok(made)
    }

    /// The plan of a text that is looked at once more.
    fn planned(&mut self, text: &[u8], types: &[u8]) -> Result<Plan, Unready> {
        match self.plan(text, types) {
            Planned::AsIs(effects) => Ok(Plan {
                text: text.into(),
                types: types.into(),
                effects,
                ..Plan::default()
            }),
            Planned::Plan(Plan {
                refusal: Some(refusal),
                ..
            }) => Err(Unready::Refused(refusal)),
            Planned::Plan(plan) => Ok(plan),
            Planned::Wait(step) => Err(Unready::Wait(step)),
            Planned::Later => Err(Unready::Later),
        }
    }

    /// What the columns of a statement's result depend on, as a number.
    pub(super) fn view(&self) -> u64 {
        let epoch = self.pool.connector().catalog.learned().epoch();
        self.settings.planner() ^ epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// A client that was told of columns decodes rows by them: where names mean something else than then, or the schema
    /// may have changed, they have to be the same, as the server would see to with a statement of its own.
    pub(super) fn check_columns(
        &mut self,
        told: Option<Columns>,
        statement: &Arc<Statement>,
        key: PreparedKey,
    ) -> Result<(), Unready> {
        let Some(told) = told else {
            return Ok(());
        };
        let view = self.view();
        // Or it will have been told of others before it gets rows.
        if (told.key, told.view) == (key, view) || self.replies.describes(key) {
            return Ok(());
        }
        match statement.columns(view) {
            Some(now) if now == told.number => Ok(()),
            Some(_) => Err(result_changed()),
            None => {
                let (name, _) = self.prepared_upstream(statement);
                build::describe(&mut self.to_upstream, Target::Statement(&name));
                self.replies.push(Expect::Columns(Bound {
                    statement: Arc::clone(statement),
                    key,
                    view,
                    described: true,
                    named: true,
                }));
                Err(Unready::Later)
            }
        }
    }
}

/// What names mean, as it is known now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamesNow<'a> {
    pub(crate) path: &'a str,
    pub(crate) user: &'a str,
}

impl NamesNow<'_> {
    /// To be kept.
    pub(crate) fn to_owned(self) -> Names {
        Names {
            path: self.path.into(),
            user: self.user.into(),
        }
    }
}

impl PartialEq<NamesNow<'_>> for Names {
    fn eq(&self, now: &NamesNow<'_>) -> bool {
        *self.path == *now.path && *self.user == *now.user
    }
}
