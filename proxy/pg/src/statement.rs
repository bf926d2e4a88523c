//! Statements that clients prepare, shared among all sessions: one text, one entry.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use twinport_rewriter::pg::fold::Fold;
use twinport_rewriter::scan::Effects;

use crate::execute::Executes;

/// A command that concerns the session's own names, and that the server never sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// `DEALLOCATE name` of a statement that was prepared by the protocol.
    Deallocate(Box<[u8]>),
    /// `DEALLOCATE ALL`.
    DeallocateAll,
}

impl Local {
    /// What is sent in its place where the server has to say whether it happens: after an error, say, it does
    /// not. This changes nothing, and may stand wherever a DEALLOCATE may.
    pub const STAND_IN: &[u8] = b"UNLISTEN \"_tp\"";

    /// The tag of its answer.
    pub fn tag(&self) -> &'static [u8] {
        match self {
            Self::Deallocate(_) => b"DEALLOCATE",
            Self::DeallocateAll => b"DEALLOCATE ALL",
        }
    }
}

/// What to do with a statement.
#[derive(Debug, Default)]
pub struct Plan {
    /// The text that goes upstream.
    pub text: Box<[u8]>,
    /// Declared parameter types as they were on the wire.
    pub types: Box<[u8]>,
    /// What the statement may leave behind.
    pub effects: Effects,
    /// The time that the client allows it, by `@timeout`.
    pub timeout: Option<Duration>,
    /// Done here; the text only stands in for it.
    pub local: Option<Local>,
    /// Runs another statement of the session.
    pub executes: Option<Executes>,
    /// An ErrorResponse to put in place of the server's answer: the statement is refused.
    pub refusal: Option<Box<[u8]>>,
    /// So many of the result's last columns hold JSON built as text: the client is told that they are `json`.
    pub json_tail: usize,
    /// What makes these columns JSON, if the server only packs them.
    pub fold: Option<Arc<Folded>>,
    /// Whether a directive changed the text.
    pub rewritten: bool,
    /// The statement as the client wrote it, if it is annotated: what is made of it depends on the search path.
    pub source: Option<Arc<str>>,
    /// In which state of the schema its names were given a meaning, as [`Learned::names`] counts. Others who prepare the
    /// same later may mean what has come in between.
    ///
    /// [`Learned::names`]: crate::catalogs::Learned::names
    pub names: u64,
}

/// A statement whose last columns become JSON here.
#[derive(Debug)]
pub struct Folded {
    /// What becomes of each.
    pub columns: Vec<Fold>,
    /// The statement that has the server write the JSON.
    pub alone: Box<[u8]>,
    outgrown: AtomicBool,
}

impl Folded {
    /// For columns that become this, and the same statement with the JSON written by the server.
    pub fn new(columns: Vec<Fold>, alone: Box<[u8]>) -> Self {
        Self {
            columns,
            alone,
            outgrown: AtomicBool::new(false),
        }
    }

    /// Whether the statement has had a row that is too large to be held here.
    pub fn is_outgrown(&self) -> bool {
        self.outgrown.load(Ordering::Relaxed)
    }

    /// Notes that the statement has such rows: from now on the server writes the JSON.
    pub fn outgrow(&self) {
        self.outgrown.store(true, Ordering::Relaxed);
    }
}

impl PartialEq for Folded {
    fn eq(&self, other: &Self) -> bool {
        self.columns == other.columns && self.alone == other.alone
    }
}

impl Plan {
    /// Whether the same text means the same another time.
    pub fn can_be_repeated(&self) -> bool {
        let own_names = self.local.is_some() || self.executes.is_some();
        !self.rewritten && !own_names && self.refusal.is_none()
    }

    /// The same for a statement with the JSON written by the server, if that is another one.
    pub fn alone(&self) -> Option<Self> {
        let fold = self.fold.as_ref()?;
        Some(Self {
            text: fold.alone.clone(),
            fold: None,
            ..self.again()
        })
    }

    /// The same, to be prepared once more. It is neither answered here nor refused.
    pub fn again(&self) -> Self {
        Self {
            text: self.text.clone(),
            types: self.types.clone(),
            effects: self.effects,
            timeout: self.timeout,
            local: None,
            executes: None,
            refusal: None,
            json_tail: self.json_tail,
            fold: self.fold.clone(),
            rewritten: self.rewritten,
            source: self.source.clone(),
            names: self.names,
        }
    }
}

/// Whether a text may end the transaction or a part of it, and with it what was set there.
pub(crate) fn may_end_transaction(text: &[u8]) -> bool {
    let verb = text.trim_ascii_start();
    [
        "commit", "end", "rollback", "abort", "prepare", "/", "-", ";",
    ]
    .iter()
    .any(|begin| {
        verb.get(..begin.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(begin.as_bytes()))
    })
}

/// One prepared statement.
#[derive(Debug)]
pub struct Statement {
    /// A number of its own.
    pub id: u64,
    /// What to do with it.
    pub plan: Plan,
    stale: AtomicBool,
    /// Its result's columns as numbers, by what its names mean; as far as anybody wanted to know.
    columns: Mutex<Vec<(u64, u64)>>,
    /// What it may leave behind, in the last 16 bits, by the knowledge of the version in the others.
    judged: AtomicU64,
}

impl Statement {
    /// Whether the server said that its result type has changed.
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// A number that is equal for equal columns of its result, in this schema and where names mean this.
    pub fn columns(&self, view: u64) -> Option<u64> {
        let known = self.columns.lock();
        let of = known.iter().find(|(of, _)| *of == view);
        of.map(|(_, columns)| *columns)
    }

    /// Notes which columns its result has.
    pub fn note_columns(&self, view: u64, columns: u64) {
        let mut known = self.columns.lock();
        known.retain(|(of, _)| *of != view);
        if known.len() >= COLUMNS {
            known.remove(0);
        }
        known.push((view, columns));
    }

    /// What it may leave behind by the knowledge of this version, if that was noted.
    pub fn judged(&self, version: u64) -> Option<Effects> {
        let judged = self.judged.load(Ordering::Relaxed);
        let [.., high, low] = judged.to_be_bytes();
        (judged >> 16 == version).then(|| Effects::from_bits(u16::from_be_bytes([high, low])))
    }

    /// Notes what it may leave behind.
    pub fn note_judged(&self, version: u64, effects: Effects) {
        let judged = version << 16 | u64::from(effects.bits());
        self.judged.store(judged, Ordering::Relaxed);
    }
}

/// For so many meanings of its names a statement's columns are remembered.
const COLUMNS: usize = 64;

/// The name of a statement on an upstream connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamName(Text);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    /// Of ours: it fits in place.
    Ours([u8; LONGEST], usize),
    /// The client's own.
    Theirs(Box<[u8]>),
}

const PREFIX: &[u8] = b"_tp";
const LONGEST: usize = PREFIX.len() + 10;

impl UpstreamName {
    /// The unnamed statement.
    pub const UNNAMED: Self = Self(Text::Ours([0; LONGEST], 0));

    /// The name of entry number `number` of a connection.
    #[must_use]
    pub fn of(number: u32) -> Self {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        let mut name = [0; LONGEST];
        let mut len = 0;
        for (place, byte) in name.iter_mut().zip(PREFIX.iter().chain(digits)) {
            *place = *byte;
            len += 1;
        }
        Self(Text::Ours(name, len))
    }

    /// Whether a client speaks of a name as we make them: it means another's statement.
    #[must_use]
    pub fn is_ours(name: &[u8]) -> bool {
        name.starts_with(PREFIX)
    }

    /// A name that is none of ours; the server may know it.
    #[must_use]
    pub fn theirs(name: &[u8]) -> Self {
        Self(Text::Theirs(name.into()))
    }
}

impl std::ops::Deref for UpstreamName {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Text::Ours(name, len) => name.get(..*len).unwrap_or_default(),
            Text::Theirs(name) => name,
        }
    }
}

/// Those that some session holds.
#[derive(Debug, Default)]
pub struct Statements {
    next: AtomicU64,
    shared: Mutex<HashMap<u64, Vec<Weak<Statement>>>>,
}

impl Statements {
    /// A statement of one session alone: the unnamed one.
    pub fn private(&self, plan: Plan) -> Arc<Statement> {
        Arc::new(Statement {
            id: self.next.fetch_add(1, Ordering::Relaxed) + 1,
            plan,
            stale: AtomicBool::new(false),
            columns: Mutex::default(),
            judged: AtomicU64::new(0),
        })
    }

    /// The entry of this text and these types, made by `plan` if nobody holds one.
    pub fn share(&self, plan: Plan) -> Arc<Statement> {
        let mut hasher = DefaultHasher::new();
        (&plan.text, &plan.types).hash(&mut hasher);
        let mut shared = self.shared.lock();
        let found = shared.entry(hasher.finish()).or_default();
        found.retain(|weak| weak.strong_count() > 0);
        let same = found.iter().filter_map(Weak::upgrade).find(|held| {
            !held.is_stale()
                && held.plan.text == plan.text
                && held.plan.types == plan.types
                && held.plan.refusal == plan.refusal
                && held.plan.effects == plan.effects
                && held.plan.timeout == plan.timeout
                && held.plan.json_tail == plan.json_tail
                && held.plan.fold == plan.fold
                && held.plan.source == plan.source
                && held.plan.names == plan.names
        });
        if let Some(same) = same {
            return same;
        }
        let made = self.private(plan);
        found.push(Arc::downgrade(&made));
        made
    }

    /// Notes that the server can't run the statement any more as it was prepared; the next one who prepares
    /// the text gets a new entry.
    pub fn retire(&self, statement: &Statement) {
        statement.stale.store(true, Ordering::Relaxed);
    }

    /// Forgets entries that nobody holds; to be called now and then.
    pub fn sweep(&self) {
        self.shared.lock().retain(|_, found| {
            found.retain(|weak| weak.strong_count() > 0);
            !found.is_empty()
        });
    }

    /// How many texts are held.
    pub fn count(&self) -> usize {
        self.shared.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str, types: &[u8]) -> Plan {
        Plan {
            text: text.as_bytes().into(),
            types: types.into(),
            ..Plan::default()
        }
    }

    #[test]
    fn upstream_names_fit_in_place() {
        assert_eq!(*UpstreamName::UNNAMED, *b"");
        assert_eq!(*UpstreamName::of(0), *b"_tp0");
        assert_eq!(*UpstreamName::of(u32::MAX), *b"_tp4294967295");
        assert_eq!(
            *UpstreamName::theirs(b"a name of theirs"),
            *b"a name of theirs"
        );
    }

    #[test]
    fn a_judgement_holds_for_one_version() {
        let statement = Statements::default().private(plan("SELECT f()", &[]));
        assert_eq!(statement.judged(7), None);
        statement.note_judged(7, Effects::UNTOLD);
        assert_eq!(statement.judged(7), Some(Effects::UNTOLD));
        assert_eq!(statement.judged(8), None);
    }

    #[test]
    fn equal_texts_and_types_share_an_entry() {
        let statements = Statements::default();
        let a = statements.share(plan("SELECT $1", &[]));
        assert_eq!(a.id, statements.share(plan("SELECT $1", &[])).id);
        assert_ne!(a.id, statements.share(plan("SELECT $1", &[0, 0, 0, 23])).id);
    }

    #[test]
    fn what_was_prepared_before_names_changed_is_not_shared_later() {
        let statements = Statements::default();
        let later = Plan {
            names: 1,
            ..plan("SELECT 1", &[])
        };
        let a = statements.share(plan("SELECT 1", &[]));
        let b = statements.share(later.again());
        assert_ne!(a.id, b.id);
        assert_eq!(b.id, statements.share(later).id);
    }

    #[test]
    fn a_retired_entry_is_not_given_out_again() {
        let statements = Statements::default();
        let a = statements.share(plan("SELECT * FROM t", &[]));
        statements.retire(&a);
        assert_ne!(a.id, statements.share(plan("SELECT * FROM t", &[])).id);
    }

    #[test]
    fn nothing_is_kept_that_nobody_holds() {
        let statements = Statements::default();
        drop(statements.share(plan("SELECT 1", &[])));
        statements.sweep();
        assert_eq!(statements.count(), 0);
    }
}
