//! The extended protocol: Parse, Bind, Describe, Execute, Close.
//!
//! A client's statement name stands for one of our entries; on each upstream connection an entry has a name of
//! ours. Where the entry isn't prepared on the connection that the session holds, a Parse is put in before.

use std::borrow::Cow;
use std::sync::Arc;

use twinport_wire::pg::backend::build as answer;
use twinport_wire::pg::frame::HEADER;
use twinport_wire::pg::frontend::{Bind, Execute, Parse, Target, build};

use super::Did;
use super::simple::{REFUSED, takes_back};
use crate::fault::Fault;
use crate::plan::Planned;
use crate::reply::{Bound, Expect};
use crate::session::Session;
use crate::statement::{Local, Plan, Statement, UpstreamName};
use crate::upstream::PreparedKey;

/// The unnamed statement's name.
const UNNAMED: &[u8] = b"";

/// The name of the statement that is never prepared, because it is refused.
const REFUSED_NAME: &[u8] = b"_tp_refused";

impl Session {
    pub(super) fn parse(&mut self, parse: Parse<'_>) -> Did {
        if !parse.name.is_empty() && self.handles.get(parse.name).is_some() {
            let name = String::from_utf8_lossy(parse.name);
            self.fail(&Fault::error(
                "42P05",
                format_args!("prepared statement \"{name}\" already exists"),
            ));
            return Did::Done;
        }
        // A driver that sends the same unnamed statement again and again costs no second look at it.
        let again = parse
            .name
            .is_empty()
            .then(|| self.handles.get(UNNAMED))
            .flatten();
        let again = again.filter(|handle| {
            let plan = &handle.statement.plan;
            !plan.rewritten
                && plan.refusal.is_none()
                && *plan.text == *parse.text
                && *plan.types == *parse.types
        });
        let statement = match again {
            Some(handle) => Arc::clone(&handle.statement),
            None => match self.entry(parse) {
                Ok(statement) => statement,
                Err(wait) => return wait,
            },
        };
        self.parse_as(parse.name, statement);
        Did::Done
    }

    fn entry(&mut self, parse: Parse<'_>) -> Result<Arc<Statement>, Did> {
        let plan = match self.plan(parse.text, parse.types) {
            Planned::AsIs(effects) => Plan {
                text: parse.text.into(),
                types: parse.types.into(),
                effects,
                ..Plan::default()
            },
            Planned::Plan(plan) => plan,
            Planned::Wait(step) => return Err(Did::Wait(step)),
        };
        if plan.rewritten {
            self.pool.stats().rewrites.add(1);
        }
        let statements = &self.wing.statements;
        Ok(if parse.name.is_empty() || plan.executes.is_some() {
            statements.private(plan)
        } else {
            statements.share(plan)
        })
    }

    fn parse_as(&mut self, name: &[u8], statement: Arc<Statement>) {
        let plan = &statement.plan;
        if let Some(refusal) = &plan.refusal {
            let refusal = refusal.clone();
            self.handles.remove(name);
            self.send_refused(refusal);
            return;
        }
        if plan.local.is_some() {
            self.handles.set(name, statement);
            self.replies.push(Expect::Parsed(name.into()));
            return;
        }
        let key = (statement.id, self.settings.planner());
        let text = self.text_upstream(plan);
        let Some(held) = &mut self.held else {
            return;
        };
        if name.is_empty() {
            held.upstream.unnamed = Some(key);
            build::parse(&mut self.to_upstream, UNNAMED, &text, &plan.types);
            self.replies.push(Expect::Parse {
                key,
                name: Some(name.into()),
                refusal: None,
            });
        } else if held.upstream.prepared.get(&key).is_some() {
            self.pool.stats().prepared_reused.add(1);
            self.replies.push(Expect::Parsed(name.into()));
        } else {
            self.prepare_upstream(&statement, Some(name));
        }
        self.handles.set(name, statement);
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
        let key = (statement.id, self.settings.planner());
        let known = self
            .held
            .as_mut()
            .and_then(|held| held.upstream.prepared.get(&key).copied());
        let number = known.unwrap_or_else(|| self.prepare_upstream(statement, None));
        (UpstreamName::of(number), known.is_none())
    }

    /// Sends a Parse under a name of ours; the least used name goes when there are too many.
    fn prepare_upstream(&mut self, statement: &Arc<Statement>, shown: Option<&[u8]>) -> u32 {
        let key = (statement.id, self.settings.planner());
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
            name: shown.map(Into::into),
            refusal: None,
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
    ) -> Option<(UpstreamName, Bound)> {
        let handle = self.handles.get(name)?;
        let described = handle.described;
        let mut statement = Arc::clone(&handle.statement);
        if statement.is_stale() && !described {
            statement = self.wing.statements.share(statement.plan.again());
            self.handles.set(name, Arc::clone(&statement));
        }
        if let Some(fold) = &statement.plan.fold
            && let Some(portal) = portal
            && !statement.is_stale()
            && !self.can_fold(fold, portal, statement.plan.effects)
            && let Some(plan) = statement.plan.alone()
        {
            statement = self.alone(name, plan, described)?;
        }
        let key = (statement.id, self.settings.planner());
        let bound = Bound {
            statement: Arc::clone(&statement),
            described,
        };
        self.forget_outrun(&statement, key);
        let held = self.held.as_mut()?;
        if name.is_empty() {
            if held.upstream.unnamed != Some(key) {
                held.upstream.unnamed = Some(key);
                let plan = &statement.plan;
                let text = self.text_upstream(plan);
                build::parse(&mut self.to_upstream, UNNAMED, &text, &plan.types);
                self.replies.push(Expect::Parse {
                    key,
                    name: None,
                    refusal: None,
                });
            }
            return Some((UpstreamName::UNNAMED, bound));
        }
        let known = held.upstream.prepared.get(&key).copied();
        let number = known.unwrap_or_else(|| self.prepare_upstream(&statement, None));
        Some((UpstreamName::of(number), bound))
    }

    /// An `EXECUTE` was prepared with the name that its statement had then: if that is prepared under a later
    /// one by now, or not at all, both have to be prepared again.
    fn forget_outrun(&mut self, statement: &Statement, key: PreparedKey) {
        let Some(executes) = &statement.plan.executes else {
            return;
        };
        let inner = (executes.statement.id, self.settings.planner());
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
        let known = handle.alone.as_ref();
        if let Some(known) = known.filter(|known| described || !known.is_stale()) {
            return Some(Arc::clone(known));
        }
        let made = self.wing.statements.share(plan);
        handle.alone = Some(Arc::clone(&made));
        Some(made)
    }

    /// Notes what becomes of the unnamed portal's rows, and what time a portal's statement has.
    fn note_portal(&mut self, portal: &[u8], bound: Option<&Bound>) {
        self.timed_portals.retain(|(timed, _)| **timed != *portal);
        if let Some(after) = bound.and_then(|bound| bound.statement.plan.timeout) {
            self.timed_portals.push((portal.into(), after));
        }
        if portal.is_empty() {
            self.portal_fold = bound.and_then(|bound| bound.statement.plan.fold.clone());
        }
    }

    pub(super) fn bind(&mut self, bind: Bind<'_>) {
        self.local_portals
            .retain(|(portal, _)| **portal != *bind.portal);
        if let Some(local) = self.local_of(bind.statement) {
            self.local_portals.push((bind.portal.into(), local));
            let mut out = Vec::new();
            answer::bind_complete(&mut out);
            self.replies.push(Expect::Own(out.into()));
            return;
        }
        let Some((name, bound)) = self.bound(bind.statement, Some(bind.portal)) else {
            return;
        };
        self.note_portal(bind.portal, bound.as_ref());
        build::bind(&mut self.to_upstream, bind.portal, &name, bind.rest);
        self.replies.push(Expect::Bind(bound));
    }

    /// Starts a Bind that is passed on piece by piece; how many bytes of it are handled. `None` if its head
    /// isn't all there, or the Bind goes nowhere.
    pub(super) fn begin_large_bind(&mut self, len: usize, rest: &[u8]) -> Option<usize> {
        let bind = Bind::decode(rest.get(HEADER..)?).ok()?;
        if self.local_of(bind.statement).is_some() {
            return None;
        }
        let (name, bound) = self.bound(bind.statement, Some(bind.portal))?;
        self.note_portal(bind.portal, bound.as_ref());
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

    fn local_of(&self, name: &[u8]) -> Option<Local> {
        self.handles.get(name)?.statement.plan.local.clone()
    }

    /// The upstream name to bind to `portal` or, without one, to describe; `None` if the request was refused instead.
    fn bound(
        &mut self,
        name: &[u8],
        portal: Option<&[u8]>,
    ) -> Option<(UpstreamName, Option<Bound>)> {
        let Some((upstream_name, bound)) = self.name_upstream(name, portal) else {
            return Some((UpstreamName::theirs(name), None));
        };
        if bound.statement.is_stale() && bound.described {
            // Another result type than the client was told of: it would decode rows wrongly.
            self.fail(
                &Fault::error("0A000", "cached plan must not change result type")
                    .hint("The schema has changed: prepare the statement again."),
            );
            return None;
        }
        self.note_effects(bound.statement.plan.effects);
        let resets = takes_back(&bound.statement.plan.text, bound.statement.plan.effects);
        if let Some(held) = &mut self.held {
            held.resets |= resets;
        }
        Some((upstream_name, Some(bound)))
    }

    pub(super) fn describe(&mut self, target: Target<'_>, bytes: &[u8]) {
        match target {
            Target::Statement(name) => {
                if self.local_of(name).is_some() {
                    let mut out = Vec::new();
                    answer::parameter_description(&mut out, &[]);
                    answer::no_data(&mut out);
                    self.replies.push(Expect::Own(out.into()));
                } else if let Some((name, bound)) = self.bound(name, None) {
                    build::describe(&mut self.to_upstream, Target::Statement(&name));
                    self.replies.push(Expect::Describe(bound));
                }
            }
            Target::Portal(name) => {
                if self
                    .local_portals
                    .iter()
                    .any(|(portal, _)| **portal == *name)
                {
                    let mut out = Vec::new();
                    answer::no_data(&mut out);
                    self.replies.push(Expect::Own(out.into()));
                } else {
                    self.to_upstream.extend_from_slice(bytes);
                    let bound = self.replies.last_bound();
                    self.replies.push(Expect::Describe(bound));
                }
            }
        }
    }

    pub(super) fn execute(&mut self, execute: Execute<'_>, bytes: &[u8]) {
        self.pool.stats().statements.add(1);
        let local = self
            .local_portals
            .iter()
            .find(|(portal, _)| **portal == *execute.portal)
            .map(|(_, local)| local.clone());
        if let Some(local) = local {
            let mut out = Vec::new();
            answer::command_complete(&mut out, self.do_local(&local));
            self.replies.push(Expect::Own(out.into()));
            return;
        }
        self.to_upstream.extend_from_slice(bytes);
        let fold = match execute.portal {
            [] => self.portal_fold.clone(),
            _ => None,
        };
        let mut portals = self.timed_portals.iter();
        let timeout = portals.find(|(portal, _)| **portal == *execute.portal);
        let timeout = timeout.map(|(_, after)| *after);
        self.set_clock(timeout);
        let timed = timeout.is_some();
        self.replies.push(Expect::Execute { fold, timed });
    }

    pub(super) fn close(&mut self, target: Target<'_>, bytes: &[u8]) {
        match target {
            Target::Statement(name) if self.handles.remove(name) => {
                let mut out = Vec::new();
                answer::close_complete(&mut out);
                self.replies.push(Expect::Own(out.into()));
            }
            _ => {
                self.to_upstream.extend_from_slice(bytes);
                self.replies.push(Expect::Close);
            }
        }
    }

    /// Makes the server fail here and gives the client this error instead of the server's.
    fn fail(&mut self, fault: &Fault) {
        self.send_refused(fault.to_bytes().into());
    }

    fn send_refused(&mut self, refusal: Box<[u8]>) {
        build::parse(&mut self.to_upstream, REFUSED_NAME, REFUSED, &[]);
        self.replies.push(Expect::Parse {
            key: (0, 0),
            name: None,
            refusal: Some(refusal),
        });
    }
}
