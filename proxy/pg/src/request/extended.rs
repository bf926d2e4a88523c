//! The extended protocol: Parse, Bind, Describe, Execute, Close.
//!
//! A client's statement name stands for one of our entries; on each upstream connection an entry has a name of
//! ours. Where the entry isn't prepared on the connection that the session holds, a Parse is put in before.

use std::borrow::Cow;
use std::sync::Arc;

use twinport_rewriter::scan::Effects;
use twinport_wire::pg::frame::HEADER;
use twinport_wire::pg::frontend::{Bind, Execute, Parse, Target, build};

use super::Did;
use super::reset::takes_back;
use super::simple::REFUSED;
use super::standing::{Unready, result_changed};
use crate::fault::Fault;
use crate::handles::Change;
use crate::plan::Planned;
use crate::reply::{Bound, Drops, Expect};
use crate::session::Session;
use crate::statement::{Local, Plan, Statement, UpstreamName, may_end_transaction};
use crate::upstream::PreparedKey;

/// The unnamed statement's name.
const UNNAMED: &[u8] = b"";

/// The name of the statement that is never prepared, because it is refused.
const REFUSED_NAME: &[u8] = b"_tp_refused";

impl Session {
    pub(super) fn parse(&mut self, parse: Parse<'_>) -> Did {
        // Another unnamed statement takes the place of whatever is there.
        if !parse.name.is_empty() {
            if self.replies.doubts_name(parse.name) {
                return Did::Later;
            }
            if self.handles.get(parse.name).is_some() {
                let name = String::from_utf8_lossy(parse.name);
                self.fail(&Fault::error(
                    "42P05",
                    format_args!("prepared statement \"{name}\" already exists"),
                ));
                return Did::Done;
            }
        }
        // A driver that sends the same unnamed statement again and again costs no second look at it.
        let again = parse
            .name
            .is_empty()
            .then(|| self.handles.get(UNNAMED))
            .flatten();
        let again = again.filter(|handle| {
            let plan = &handle.statement.plan;
            // A setting says what a backslash means.
            let is_plain = !parse.text.contains(&b'\\');
            is_plain
                && plan.can_be_repeated()
                && *plan.text == *parse.text
                && *plan.types == *parse.types
        });
        let statement = match again {
            Some(handle) => Arc::clone(&handle.statement),
            None => match self.entry(&parse) {
                Ok(statement) => statement,
                Err(did) => return did,
            },
        };
        self.parse_as(parse.name, statement)
    }

    fn entry(&mut self, parse: &Parse<'_>) -> Result<Arc<Statement>, Did> {
        let plan = match self.plan(parse.text, parse.types) {
            Planned::AsIs(effects) => Plan {
                text: parse.text.into(),
                types: parse.types.into(),
                effects,
                ..Plan::default()
            },
            Planned::Plan(plan) if plan.local == Some(Local::DeallocateAll) => Plan {
                text: parse.text.into(),
                effects: Effects::STATE | Effects::DEALLOCATE,
                local: None,
                ..plan
            },
            Planned::Plan(plan) => plan,
            Planned::Wait(step) => return Err(Did::Wait(step)),
            Planned::Later => return Err(Did::Later),
        };
        if plan.rewritten {
            self.pool.stats().rewrites.add(1);
        }
        Ok(self.statement_of(plan, !parse.name.is_empty()))
    }

    /// The entry of a plan: one for all who prepare the same, if it has a name and speaks of no other.
    pub(super) fn statement_of(&self, plan: Plan, named: bool) -> Arc<Statement> {
        let statements = &self.wing.statements;
        if named && plan.executes.is_none() && plan.local.is_none() {
            let names = self.pool.connector().catalog.learned().names();
            statements.share(Plan { names, ..plan })
        } else {
            statements.private(plan)
        }
    }

    fn parse_as(&mut self, name: &[u8], statement: Arc<Statement>) -> Did {
        let plan = &statement.plan;
        if let Some(refusal) = &plan.refusal {
            let refusal = refusal.clone();
            let change = self.handles.remove(name);
            self.send_refused(refusal, change);
            return Did::Done;
        }
        if self.is_doubted(&statement) {
            return Did::Later;
        }
        let key = (statement.id, self.reader());
        let names = plan.source.as_ref().and_then(|_| self.names().ok());
        let names = names.map(|names| names.to_owned());
        let text = self.text_upstream(plan);
        let change = self.handles.set(name, Arc::clone(&statement), names);
        let Some(held) = &mut self.held else {
            return Did::Done;
        };
        if name.is_empty() {
            held.upstream.unnamed = Some(key);
            build::parse(&mut self.to_upstream, UNNAMED, &text, &plan.types);
            self.replies.push(Expect::Parse {
                key,
                number: 0,
                change: Some(change),
            });
        } else if held.upstream.prepared.get(&key).is_some() {
            self.pool.stats().prepared_reused.add(1);
            self.replies.push(Expect::Parsed(change));
        } else {
            self.prepare_upstream(&statement, Some(change));
        }
        Did::Done
    }

    /// Whether the answer to an earlier batch decides if the statement, or the one that it executes, is prepared.
    pub(super) fn is_doubted(&self, statement: &Statement) -> bool {
        let planner = self.reader();
        let executes = statement.plan.executes.as_ref();
        self.replies.doubts_key((statement.id, planner))
            || executes.is_some_and(|inner| self.replies.doubts_key((inner.statement.id, planner)))
    }

    /// The text that the server knows a statement by.
    fn text_upstream<'a>(&mut self, plan: &'a Plan) -> Cow<'a, [u8]> {
        match &plan.executes {
            None => Cow::Borrowed(&plan.text),
            Some(executes) => {
                let (name, _) = self.prepared_upstream(&executes.statement);
                Cow::Owned(executes.with_name(&plan.text, &name))
            }
        }
    }

    /// The name that a statement has on the connection that is held, and whether it had to be prepared there.
    pub(super) fn prepared_upstream(&mut self, statement: &Arc<Statement>) -> (UpstreamName, bool) {
        let key = (statement.id, self.reader());
        let known = self
            .held
            .as_mut()
            .and_then(|held| held.upstream.prepared.get(&key).copied());
        let number = known.unwrap_or_else(|| self.prepare_upstream(statement, None));
        (UpstreamName::of(number), known.is_none())
    }

    /// Sends a Parse under a name of ours; the least used name goes when there are too many.
    fn prepare_upstream(&mut self, statement: &Arc<Statement>, change: Option<Change>) -> u32 {
        let key = (statement.id, self.reader());
        // An EXECUTE is no use without what it executes.
        let least = 1 + usize::from(statement.plan.executes.is_some());
        let capacity = self.pool.settings().prepared_statements.max(least);
        let text = self.text_upstream(&statement.plan);
        let Some(held) = &mut self.held else {
            return 0;
        };
        let upstream = &mut *held.upstream;
        while upstream.prepared.len() >= capacity {
            let Some((_, old)) = upstream.prepared.pop_lru() else {
                break;
            };
            upstream.unclosed.push(old);
        }
        for old in std::mem::take(&mut upstream.unclosed) {
            let name = UpstreamName::of(old);
            build::close(&mut self.to_upstream, Target::Statement(&name));
            self.replies.push(Expect::CloseOurs(old));
        }
        let number = upstream.next_name();
        upstream.prepared.put(key, number);
        let plan = &statement.plan;
        build::parse(
            &mut self.to_upstream,
            &UpstreamName::of(number),
            &text,
            &plan.types,
        );
        self.replies.push(Expect::Parse {
            key,
            number,
            change,
        });
        self.pool.stats().prepared.add(1);
        number
    }

    /// The name that the statement of `name` has on the connection that is held; it is prepared there if it
    /// is not yet. For a `portal` whose rows can't be folded, the server writes the JSON. `None`: the name is
    /// none of ours, and the server may know it.
    fn name_upstream(
        &mut self,
        name: &[u8],
        portal: Option<&[u8]>,
    ) -> Result<Option<(UpstreamName, Bound)>, Unready> {
        let Some(mut statement) = self.standing(name)? else {
            return Ok(None);
        };
        let Some(handle) = self.handles.get(name) else {
            return Ok(None);
        };
        let (mut described, told) = (handle.is_described(), handle.told.columns());
        if let Some(fold) = &statement.plan.fold
            && let Some(portal) = portal
            && !statement.is_stale()
            && !self.can_fold(fold, portal, statement.plan.effects)
            && let Some(plan) = statement.plan.alone()
            && let Some(alone) = self.alone(name, plan, described)
        {
            statement = alone;
        }
        if self.is_doubted(&statement) {
            return Err(Unready::Later);
        }
        let key = (statement.id, self.reader());
        match portal {
            Some(_) => self.check_columns(told, &statement, key)?,
            // The client asks for the columns anew.
            None => {
                described &= told.is_some_and(|told| (told.key, told.view) == (key, self.view()));
            }
        }
        let bound = Bound {
            statement: Arc::clone(&statement),
            key,
            view: self.view(),
            described,
            named: !name.is_empty(),
        };
        self.forget_outrun(&statement, key);
        let Some(held) = &mut self.held else {
            return Ok(None);
        };
        if name.is_empty() {
            if held.upstream.unnamed != Some(key) {
                held.upstream.unnamed = Some(key);
                let plan = &statement.plan;
                let text = self.text_upstream(plan);
                build::parse(&mut self.to_upstream, UNNAMED, &text, &plan.types);
                self.replies.push(Expect::Parse {
                    key,
                    number: 0,
                    change: None,
                });
            }
            return Ok(Some((UpstreamName::UNNAMED, bound)));
        }
        let (name, _) = self.prepared_upstream(&statement);
        Ok(Some((name, bound)))
    }

    /// An `EXECUTE` was prepared with the name that its statement had then: if that is prepared under a later
    /// one by now, or not at all, both have to be prepared again.
    fn forget_outrun(&mut self, statement: &Statement, key: PreparedKey) {
        let Some(executes) = &statement.plan.executes else {
            return;
        };
        let inner = (executes.statement.id, self.reader());
        let Some(held) = &mut self.held else {
            return;
        };
        let upstream = &mut *held.upstream;
        if upstream.unnamed == Some(key) {
            upstream.unnamed = None;
        }
        let outer = upstream.prepared.peek(&key).copied();
        let inner = upstream.prepared.get(&inner).copied();
        if let Some(outer) = outer
            && inner.is_none_or(|inner| inner > outer)
        {
            upstream.prepared.pop(&key);
            upstream.unclosed.push(outer);
        }
    }

    /// The statement of `name` as the server does it alone.
    pub(crate) fn alone(
        &mut self,
        name: &[u8],
        plan: Plan,
        described: bool,
    ) -> Option<Arc<Statement>> {
        let handle = self.handles.get_mut(name)?;
        let known = handle.alone();
        if let Some(known) = known.filter(|known| described || !known.is_stale()) {
            return Some(Arc::clone(known));
        }
        let made = self.wing.statements.share(plan);
        handle.set_alone(Arc::clone(&made));
        Some(made)
    }

    /// What a statement that is bound may leave behind; without one it is the server's, prepared by SQL.
    fn effects_bound(&self, bound: Option<&Bound>) -> Effects {
        bound.map_or(Effects::ANYTHING, |bound| self.effects_of(&bound.statement))
    }

    fn note_bound(&mut self, statement: &Statement, effects: Effects) {
        self.note_effects(effects);
        self.note_names(&statement.plan.text, effects);
        if let Some(executes) = &statement.plan.executes {
            self.note_names(&executes.statement.plan.text, effects);
        }
    }

    pub(super) fn bind(&mut self, bind: Bind<'_>) -> Did {
        let (name, bound) = match self.bound(bind.statement, Some(bind.portal)) {
            Ok(found) => found,
            Err(unready) => return self.put_off(unready),
        };
        let effects = self.effects_bound(bound.as_ref());
        self.note_values(Some(bind.rest), effects);
        self.portals.set(bind.portal, bound.clone());
        build::bind(&mut self.to_upstream, bind.portal, &name, bind.rest);
        self.replies.push(Expect::Bind(bound));
        Did::Done
    }

    /// Starts a Bind that is passed on piece by piece; how many bytes of it are handled. `None` if its head
    /// isn't all there, or the Bind goes nowhere.
    pub(super) fn begin_large_bind(&mut self, len: usize, rest: &[u8]) -> Option<usize> {
        let bind = Bind::decode(rest.get(HEADER..)?).ok()?;
        let (name, bound) = self.bound(bind.statement, Some(bind.portal)).ok()?;
        let effects = self.effects_bound(bound.as_ref());
        self.note_values(None, effects);
        self.portals.set(bind.portal, bound.clone());
        self.batch.forget();
        let tail = len - HEADER - bind.offset;
        let declared = 4 + bind.portal.len() + 1 + name.len() + 1 + tail;
        self.to_upstream.push(twinport_wire::pg::frontend::BIND);
        let declared = u32::try_from(declared).unwrap_or(u32::MAX);
        self.to_upstream.extend_from_slice(&declared.to_be_bytes());
        self.to_upstream.extend_from_slice(bind.portal);
        self.to_upstream.push(0);
        self.to_upstream.extend_from_slice(&name);
        self.to_upstream.push(0);
        self.to_upstream.extend_from_slice(bind.rest);
        self.replies.push(Expect::Bind(bound));
        self.passing = len - rest.len();
        Some(rest.len())
    }

    /// The upstream name to bind to `portal` or, without one, to describe. Otherwise the request was refused, or
    /// has to wait.
    fn bound(
        &mut self,
        name: &[u8],
        portal: Option<&[u8]>,
    ) -> Result<(UpstreamName, Option<Bound>), Unready> {
        let Some((upstream_name, bound)) = self.name_upstream(name, portal)? else {
            if self.may_be_theirs(name) {
                if portal.is_some() {
                    // Its text was read when it was prepared, and not since.
                    self.note_effects(Effects::ANYTHING);
                    self.note_unread();
                }
                return Ok((UpstreamName::theirs(name), None));
            }
            return Err(Unready::refused(&Fault::no_statement(name)));
        };
        if bound.statement.is_stale() && bound.described {
            return Err(result_changed());
        }
        // To describe a statement runs none of it.
        if portal.is_none() {
            return Ok((upstream_name, Some(bound)));
        }
        if (self.names_now.is_some() || self.reads_otherwise())
            && may_end_transaction(&bound.statement.plan.text)
        {
            self.names_now = None;
            self.note_taken_back(bound.statement.plan.effects);
        }
        let effects = self.effects_of(&bound.statement);
        if !effects.is_empty() {
            self.note_bound(&bound.statement, effects);
        }
        Ok((upstream_name, Some(bound)))
    }

    /// Whether a name that we don't know may be a statement that this session has prepared by SQL. On a connection
    /// that others have used and will use, every other name would be theirs.
    fn may_be_theirs(&self, name: &[u8]) -> bool {
        self.has_state() && !name.is_empty() && !UpstreamName::is_ours(name)
    }

    pub(super) fn describe(&mut self, target: Target<'_>, bytes: &[u8]) -> Did {
        match target {
            Target::Statement(name) => match self.bound(name, None) {
                Ok((name, bound)) => {
                    build::describe(&mut self.to_upstream, Target::Statement(&name));
                    self.replies.push(Expect::Describe(bound));
                }
                Err(unready) => return self.put_off(unready),
            },
            Target::Portal(name) => {
                self.to_upstream.extend_from_slice(bytes);
                let bound = self.portals.get(name).cloned();
                self.replies.push(Expect::Describe(bound));
            }
        }
        Did::Done
    }

    pub(super) fn execute(&mut self, execute: Execute<'_>, bytes: &[u8]) {
        self.pool.stats().statements.add(1);
        self.to_upstream.extend_from_slice(bytes);
        let bound = self.portals.get(execute.portal);
        let plan = bound.map(|bound| &bound.statement.plan);
        if let Some(bound) = bound
            && takes_back(&bound.statement.plan.text, bound.statement.plan.effects)
            && let Some(held) = &mut self.held
        {
            held.resets = true;
        }
        let drops = match plan {
            Some(Plan {
                local: Some(local), ..
            }) => Drops::Ours(local.clone()),
            Some(plan) if plan.effects.contains(Effects::DEALLOCATE) => Drops::Maybe,
            _ => Drops::Nothing,
        };
        let fold = match execute.portal {
            [] => plan.and_then(|plan| plan.fold.clone()),
            _ => None,
        };
        let timeout = plan.and_then(|plan| plan.timeout);
        self.set_clock(timeout);
        let timed = timeout.is_some();
        self.replies.push(Expect::Execute { fold, drops, timed });
    }

    pub(super) fn close(&mut self, target: Target<'_>, bytes: &[u8]) -> Did {
        match target {
            Target::Statement(name) => {
                if self.replies.doubts_name(name) {
                    return Did::Later;
                }
                let change = self.handles.remove(name);
                if change.is_none() && self.may_be_theirs(name) {
                    self.to_upstream.extend_from_slice(bytes);
                    self.replies.push(Expect::Close);
                } else {
                    self.replies.push(Expect::Closed(change.map(Box::new)));
                }
            }
            Target::Portal(name) => {
                self.portals.set(name, None);
                self.to_upstream.extend_from_slice(bytes);
                self.replies.push(Expect::Close);
            }
        }
        Did::Done
    }

    /// Makes the server fail here and gives the client this error instead of the server's.
    fn fail(&mut self, fault: &Fault) {
        self.send_refused(fault.to_bytes().into(), None);
    }

    pub(super) fn send_refused(&mut self, refusal: Box<[u8]>, change: Option<Change>) {
        build::parse(&mut self.to_upstream, REFUSED_NAME, REFUSED, &[]);
        self.replies.push(Expect::Refused(refusal, change));
    }
}
