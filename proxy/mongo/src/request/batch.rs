//! The statements of one write. MongoDB commits each by itself; the database runs all that it is given as one
//! transaction, in which they keep what they have locked. So what fails there for want of a lock is given to it anew,
//! one statement at a time.

use std::collections::BTreeMap;

use twinport_core::sql::Rows;
use twinport_wire::mongo::bson::RawBsonRef;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::spec::ElementType;
use twinport_wire::mongo::document::{self, Documents, asks};

use super::Request;
use crate::fault::{codes, known};

/// How often a statement is tried again that a deadlock has ended.
pub(super) const CONFLICTS: u32 = 10;

/// How often an upsert by another key than `_id` is tried in haste before it waits. The server keeps such keys unique
/// by looking around behind the insert: two that insert one at a time each wait for the other, also when they are
/// alone in their transactions.
pub(super) const HASTY: u32 = 12;

/// How often an upsert is tried again that has found its key taken: behind another upsert it finds the document.
pub(super) const RACES: u32 = 3;

/// A batch, and what is known of it. What is next to be run follows from the answers so far alone, so that whoever
/// sends the batch again and gets the answers that are recorded goes on where it was left.
pub(super) struct Batch<'a> {
    statements: Vec<&'a RawDocument>,
    ordered: bool,
    /// Places in the command of what is still to be run, in the order of running.
    pending: Vec<usize>,
    /// Whether only the first of them is next, and not all.
    alone: bool,
    /// How often that one has failed alone.
    tries: u32,
    /// How often it has found its key taken.
    races: u32,
    /// The first answer.
    answer: Option<RawDocumentBuf>,
    written: i64,
    modified: i64,
    upserted: BTreeMap<usize, RawDocumentBuf>,
    errors: BTreeMap<usize, RawDocumentBuf>,
}

impl<'a> Batch<'a> {
    /// The statements under this name; `None` if there are none, or the database is to say what is wrong with them.
    pub(super) fn read(request: &Request<'a>, name: &str) -> Option<Self> {
        let statements = statements(request, name).filter(|all| !all.is_empty())?;
        let ordered = match request.command.body.get("ordered").ok()? {
            None => true,
            Some(RawBsonRef::Boolean(ordered)) => ordered,
            Some(_) => return None,
        };
        // The order of what is inserted shows.
        let sorts = !ordered && name != "documents";
        Some(Self::new(statements, ordered, sorts))
    }

    fn new(statements: Vec<&'a RawDocument>, ordered: bool, sorts: bool) -> Self {
        let mut pending: Vec<usize> = (0..statements.len()).collect();
        // Batches that take their locks in one order don't deadlock.
        let keys = statements.iter().filter(|_| sorts).copied().map(key);
        if let Some(keys) = keys.collect::<Option<Vec<Key<'_>>>>() {
            pending.sort_by_key(|at| keys.get(*at).copied());
        }
        Self {
            statements,
            ordered,
            pending,
            alone: false,
            tries: 0,
            races: 0,
            answer: None,
            written: 0,
            modified: 0,
            upserted: BTreeMap::new(),
            errors: BTreeMap::new(),
        }
    }

    /// Places of what is next to be run.
    fn part(&self) -> &[usize] {
        let end = match self.alone {
            true => self.pending.len().min(1),
            false => self.pending.len(),
        };
        self.pending.get(..end).unwrap_or_default()
    }

    /// Whether what is next must not wait for a lock: it would keep others waiting, who may have what it waits for.
    pub(super) fn is_hasty(&self) -> bool {
        match self.part() {
            [only] if self.tries < HASTY => self
                .statements
                .get(*only)
                .is_some_and(|statement| is_upsert_by_other(statement, "q")),
            part => part.len() > 1,
        }
    }

    /// Whether what is next are several statements of which some delete one document.
    pub(super) fn deletes_ones(&self) -> bool {
        let one = |statement: &&RawDocument| asks(statement, "limit");
        let mut part = self.part().iter().filter_map(|at| self.statements.get(*at));
        self.part().len() > 1 && part.any(one)
    }

    /// Whether the whole batch is next, as it came.
    pub(super) fn is_as_it_came(&self) -> bool {
        self.part().len() == self.statements.len() && self.pending.is_sorted()
    }

    /// What is next to be run.
    pub(super) fn sequence(&self) -> Vec<u8> {
        let part = self.part().iter();
        let statements = part.filter_map(|at| self.statements.get(*at));
        statements.fold(Vec::new(), |mut bytes, statement| {
            bytes.extend_from_slice(statement.as_bytes());
            bytes
        })
    }

    /// Whether all is done, for this time or for good.
    pub(super) fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// How often what is next has failed alone.
    pub(super) fn tries(&self) -> u32 {
        self.tries
    }

    /// Takes the answer to what was next.
    pub(super) fn take(&mut self, answer: &RawDocument) {
        let part = self.part().to_vec();
        let hasty = self.is_hasty();
        self.written += count(answer, "n");
        self.modified += count(answer, "nModified");
        for upserted in listed(answer, "upserted") {
            let (_, at) = place(upserted, &part);
            self.upserted.insert(at, placed(upserted, at));
        }
        let (mut again, mut raced) = (Vec::new(), false);
        let mut reached = part.len();
        for error in listed(answer, "writeErrors") {
            let (index, at) = place(error, &part);
            reached = reached.min(index);
            match self.may_pass(error, at, hasty) {
                Some(taken) => {
                    raced = taken;
                    again.push(at);
                }
                None => {
                    self.errors.insert(at, placed(error, at));
                }
            }
        }
        let failed_alone = !again.is_empty() && part.len() == 1;
        if !failed_alone {
            (self.tries, self.races) = (0, 0);
        } else if raced {
            self.races += 1;
        } else {
            self.tries += 1;
        }
        if self.ordered {
            self.alone = !again.is_empty();
            if reached < part.len() && again.is_empty() {
                self.pending.clear();
            } else {
                self.pending.drain(..reached);
            }
        } else {
            self.alone = true;
            self.pending.drain(..part.len());
            again.sort_unstable();
            self.pending.splice(..0, again);
        }
        self.answer.get_or_insert_with(|| answer.to_owned());
    }

    /// Whether a statement may do better another time, and if so, whether it is because its key was taken.
    fn may_pass(&self, error: &RawDocument, at: usize, hasty: bool) -> Option<bool> {
        let state = codes::unpacked(error.get_i32("code").unwrap_or_default());
        let statement = self.statements.get(at);
        let by_other = statement.is_some_and(|statement| is_upsert_by_other(statement, "q"));
        let most = if by_other {
            HASTY + CONFLICTS
        } else {
            CONFLICTS
        };
        let passes = match &*state {
            "40P01" | "40001" => self.tries < most,
            "55P03" => hasty,
            _ => {
                let text = error.get_str("errmsg").unwrap_or_default();
                let taken = codes::of_sqlstate(&state) == Some(known::DUPLICATE_KEY)
                    && self.races < RACES
                    && statement.is_some_and(|statement| has_raced(statement, "q", text));
                return taken.then_some(true);
            }
        };
        passes.then_some(false)
    }

    /// What the whole batch is answered with, as the database would.
    pub(super) fn rows(&self) -> Rows {
        let mut out = RawDocumentBuf::new();
        for (key, value) in self
            .answer
            .iter()
            .flat_map(|answer| answer.iter().flatten())
        {
            match key.as_str() {
                "n" => out.append(key, number(self.written)),
                "nModified" => out.append(key, number(self.modified)),
                "upserted" | "writeErrors" => {}
                _ => out.append(key, value),
            }
        }
        for (name, found) in [
            (cstr!("upserted"), &self.upserted),
            (cstr!("writeErrors"), &self.errors),
        ] {
            if !found.is_empty() {
                out.append(name, found.values().cloned().collect::<RawArrayBuf>());
            }
        }
        let succeeded = [u8::from(self.errors.is_empty())];
        let mut rows = Rows::default();
        rows.push([Some(out.as_bytes()), Some(&succeeded[..])]);
        rows
    }
}

/// What a write brings under this name, beside its command or in it; `None` if it can't be read.
pub(super) fn statements<'a>(request: &Request<'a>, name: &str) -> Option<Vec<&'a RawDocument>> {
    match request.sequence(name) {
        Some(bytes) => Documents::new(bytes).collect::<Result<_, _>>().ok(),
        None => {
            let listed = request.command.body.get_array(name).ok()?.into_iter();
            listed.map(|each| each.ok()?.as_document()).collect()
        }
    }
}

/// Whether an upsert that has found a key taken may find the document that has it: only if that is the key by which
/// it looks, as far as can be told. By its `_id` with other conditions it means one version of the document.
pub(super) fn has_raced(statement: &RawDocument, query: &str, text: &str) -> bool {
    let of_id = text.contains("Index '_id_'") || text.contains("\"collection_pk_");
    if !of_id {
        return is_upsert_by_other(statement, query);
    }
    let query = upsert_by(statement, query);
    query.is_some_and(|query| has_id(query) && query.into_iter().count() == 1)
}

/// Whether a statement is an upsert that doesn't look for an `_id`.
pub(super) fn is_upsert_by_other(statement: &RawDocument, query: &str) -> bool {
    upsert_by(statement, query).is_some_and(|query| !has_id(query))
}

/// What an upsert looks for; `None` if it is none.
fn upsert_by<'a>(statement: &'a RawDocument, query: &str) -> Option<&'a RawDocument> {
    asks(statement, "upsert").then(|| statement.get_document(query).ok())?
}

fn has_id(query: &RawDocument) -> bool {
    query.get("_id").is_ok_and(|id| id.is_some())
}

/// A key in an order in which equal ones are neighbours: a kind, a number, bytes.
type Key<'a> = (u8, i64, &'a [u8]);

/// The `_id` that a statement looks for, if it looks for nothing else.
fn key(statement: &RawDocument) -> Option<Key<'_>> {
    if statement.get("collation").ok()?.is_some() {
        return None;
    }
    let query = statement.get_document("q").ok()?;
    if query.into_iter().count() != 1 {
        return None;
    }
    let (kind, range) = document::place(query, "_id")?;
    match kind {
        // Those that are equal are so in either type.
        ElementType::Int32 | ElementType::Int64 => {
            let number = query.get("_id").ok()?.and_then(document::integer)?;
            Some((ElementType::Int32 as u8, number, &[]))
        }
        ElementType::ObjectId
        | ElementType::String
        | ElementType::Binary
        | ElementType::DateTime => Some((kind as u8, 0, query.as_bytes().get(range)?)),
        _ => None,
    }
}

fn listed<'a>(answer: &'a RawDocument, name: &str) -> impl Iterator<Item = &'a RawDocument> {
    let listed = answer.get_array(name).into_iter().flatten().flatten();
    listed.filter_map(RawBsonRef::as_document)
}

fn count(answer: &RawDocument, name: &str) -> i64 {
    let value = answer.get(name).ok().flatten();
    value.and_then(document::integer).unwrap_or_default()
}

/// As the extension writes it.
fn number(count: i64) -> RawBsonRef<'static> {
    i32::try_from(count).map_or(RawBsonRef::Int64(count), RawBsonRef::Int32)
}

/// What an entry of an answer is about: its place in the part, and in the command.
fn place(entry: &RawDocument, part: &[usize]) -> (usize, usize) {
    let index = usize::try_from(count(entry, "index")).unwrap_or_default();
    (index, part.get(index).copied().unwrap_or_default())
}

/// The entry with its place in the command.
fn placed(entry: &RawDocument, at: usize) -> RawDocumentBuf {
    let mut out = RawDocumentBuf::new();
    for (key, value) in entry.into_iter().flatten() {
        match key.as_str() {
            "index" => out.append(key, i32::try_from(at).unwrap_or(i32::MAX)),
            _ => out.append(key, value),
        }
    }
    out
}

#[cfg(test)]
mod tests;
