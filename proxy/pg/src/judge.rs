//! What a statement may leave behind: judged by its text and by what is known of the names in it.

mod again;

pub(crate) use again::Unjudged;

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use twinport_rewriter::scan::{Effects, Names, scan};
use twinport_wire::pg::backend::Status;
use twinport_wire::pg::frontend;

use crate::left::{ASKED, bound_values};
use crate::parameters::Reported;
use crate::reading::{Speaks, decides_reading, may_change_reading, may_rename, may_shadow};
use crate::session::{Held, Session};
use crate::statement::Statement;

/// For statements of our own.
static TRUSTING: LazyLock<Names> = LazyLock::new(Names::trusting);

/// Where nothing is known.
static UNKNOWN: LazyLock<Names> = LazyLock::new(Names::default);

/// Numbers for who reads literals by settings that are not known.
static NEXT_READER: AtomicU64 = AtomicU64::new(2);

/// The functions for large objects, which leave nothing behind their transaction.
const LARGE_OBJECTS: [u32; 15] = [
    715, 764, 767, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172,
];

/// Whether a text is a `CLOSE`, without a comment before it.
fn begins_with_close(text: &[u8]) -> bool {
    let (verb, _) = text
        .trim_ascii_start()
        .split_at_checked(5)
        .unwrap_or_default();
    verb.eq_ignore_ascii_case(b"close")
}

/// What a text may do, however the server reads the backslashes in it.
fn scan_both(text: &[u8], names: &Names) -> Effects {
    let mut effects = scan(text, names, true);
    if memchr::memchr(b'\\', text).is_some() {
        effects |= scan(text, names, false);
    }
    effects
}

impl Session {
    /// Whether a message has to wait until it is known which functions leave something behind.
    pub(crate) fn must_learn(&self, tag: u8) -> bool {
        matches!(tag, frontend::QUERY | frontend::PARSE | frontend::BIND) && self.can_learn(false)
    }

    /// Whether it isn't known which functions leave something behind, and can be learned; at once, or in its time.
    pub(crate) fn can_learn(&self, at_once: bool) -> bool {
        let backend = self.pool.connector();
        !backend.is_control()
            && !backend.catalog.learned().is_known()
            && backend.catalog.learned().can_wait(at_once)
            // What it has changed itself nobody else can see yet.
            && !self
                .held
                .as_ref()
                .is_some_and(|held| held.effects.contains(Effects::DDL))
    }

    /// What a text may leave behind.
    pub(crate) fn judge(&self, text: &[u8]) -> Effects {
        let backend = self.pool.connector();
        if backend.is_control() {
            return self.scan(text, &TRUSTING);
        }
        match backend.catalog.learned().known() {
            Some(known) => self.here(text, self.scan(text, &known.names)),
            None => self.scan(text, &UNKNOWN) | Effects::ANYTHING,
        }
    }

    /// A judgement by what is known, as it holds at this point of the session.
    fn here(&self, text: &[u8], effects: Effects) -> Effects {
        let has_made = |held: &Held| held.effects.contains(Effects::DDL);
        // What the client has just made itself is not known yet, and may stand behind any name.
        if self.held.as_ref().is_some_and(has_made)
            || effects.contains(Effects::DDL | Effects::SEVERAL)
        {
            return effects | Effects::ANYTHING;
        }
        // To close a cursor takes state, and there is none.
        if effects == Effects::STATE && begins_with_close(text) && !self.has_state() {
            return Effects::NONE;
        }
        effects
    }

    fn scan(&self, text: &[u8], names: &Names) -> Effects {
        let reported = self.reported_now();
        let conforming = reported.conforming();
        let mut effects = scan(text, names, conforming);
        // What the server has been sent may change how it reads the next text.
        let may_change = self
            .held
            .as_ref()
            .is_some_and(|held| held.effects.intersects(Effects::SETTINGS | Effects::LOCAL));
        if may_change && memchr::memchr(b'\\', text).is_some() {
            effects |= scan(text, names, !conforming);
        }
        if !reported.is_plain(text) {
            effects |= Effects::ANYTHING;
        }
        effects
    }

    /// What the server has reported, as of now.
    pub(crate) fn reported_now(&self) -> &Reported {
        match &self.held {
            Some(held) => &held.upstream.reported,
            None => &self.reported,
        }
    }

    /// What a prepared statement may leave behind: its functions may be others than when it was prepared.
    pub(crate) fn effects_of(&self, statement: &Statement) -> Effects {
        let plan = &statement.plan;
        let executed = plan.executes.as_ref();
        let inner = executed.map_or(Effects::NONE, |inner| self.judged(&inner.statement));
        self.here(&plan.text, inner | self.judged(statement))
    }

    fn judged(&self, statement: &Statement) -> Effects {
        let plan = &statement.plan;
        let backend = self.pool.connector();
        if backend.is_control() {
            return plan.effects;
        }
        let Some(known) = backend.catalog.learned().known() else {
            return plan.effects | Effects::ANYTHING;
        };
        if let Some(effects) = statement.judged(known.version) {
            return effects | plan.effects;
        }
        let effects =
            scan_both(&plan.text, &known.names).without(Effects::ANNOTATED | Effects::EXECUTE);
        statement.note_judged(known.version, effects);
        effects | plan.effects
    }

    /// Notes what may be names of custom settings, in a statement that may set some.
    pub(crate) fn note_names(&mut self, text: &[u8], effects: Effects) {
        if effects.is_empty() {
            return;
        }
        if effects.contains(Effects::DDL) && may_rename(text) {
            self.note_reading();
            if let Some(held) = &mut self.held {
                held.renames = true;
            }
        }
        let learned = Arc::clone(self.pool.connector().catalog.learned());
        let speaks = learned.last().map_or(Speaks::NONE, |known| known.speaks);
        let sets = effects.intersects(Effects::SETTINGS | Effects::LOCAL);
        let makes = effects.contains(Effects::STATE);
        if (sets && may_change_reading(text)) || (makes && (speaks.temporary || may_shadow(text))) {
            self.note_reading();
        } else if effects.contains(Effects::OPAQUE)
            || (sets && speaks.reading && !again::is_plain(text))
        {
            self.doubt_reading();
        }
        let is_known = learned.is_known();
        let outside = self.replies.status == Status::Idle;
        if effects.intersects(ASKED)
            && let Some(held) = &mut self.held
        {
            held.look_back.note_text(text, effects);
            if outside {
                held.look_back.note_outside(text);
            }
            if !is_known || held.effects.contains(Effects::DDL) {
                held.unjudged.get_or_insert_default().note(text);
            }
        }
    }

    /// As [`Session::note_names`], in what is bound; `None` if it is passed on piece by piece.
    pub(crate) fn note_values(&mut self, rest: Option<&[u8]>, effects: Effects) {
        let sets = effects.intersects(Effects::SETTINGS | Effects::LOCAL);
        if sets && rest.is_some_and(|rest| bound_values(rest).any(decides_reading)) {
            self.note_reading();
        }
        if !effects.intersects(ASKED) {
            return;
        }
        let Some(held) = &mut self.held else {
            return;
        };
        match rest {
            None => held.look_back.note_more(),
            Some(rest) => {
                for value in bound_values(rest) {
                    held.look_back.note_value(value, effects);
                }
            }
        }
    }

    /// Notes that texts are read in another way from here on, until it is known again in which.
    pub(crate) fn note_reading(&mut self) {
        if let Some(held) = &mut self.held {
            held.reader = NonZeroU64::new(NEXT_READER.fetch_add(2, Ordering::Relaxed));
            held.doubts_reading = false;
        }
    }

    /// Whether statements of this lease may have changed how texts are read.
    pub(crate) fn reads_otherwise(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.reader.is_some())
    }

    /// Notes that what has changed how texts are read may be taken back by what is sent now: the end of a transaction, or
    /// with [`Effects::LOCAL`] of a part of it. Who keeps his connection learns of the first when it is answered: what he
    /// has set for good is not to have everything prepared again with each.
    pub(crate) fn note_taken_back(&mut self, effects: Effects) {
        let keeps = self.session_mode || self.pinned.is_some();
        if keeps && !effects.contains(Effects::LOCAL) {
            return;
        }
        let in_doubt = self.held.as_ref().is_some_and(|held| held.doubts_reading);
        if self.reads_otherwise() {
            self.note_reading();
        }
        if let Some(held) = &mut self.held {
            held.doubts_reading = in_doubt;
        }
    }

    /// Notes that texts may be read in another way from here on, until the server has said whether they are.
    fn doubt_reading(&mut self) {
        if self.held.as_ref().is_some_and(|held| held.reader.is_none()) {
            self.note_reading();
            if let Some(held) = &mut self.held {
                held.doubts_reading = true;
            }
        }
    }

    /// Everything is answered, perhaps: what the server reports when it has been changed has been reported by now.
    pub(crate) fn settle_reading(&mut self) {
        let Some(held) = &mut self.held else {
            return;
        };
        if !held.doubts_reading || !self.replies.is_empty() || self.replies.unsynced {
            return;
        }
        held.doubts_reading = false;
        let known = self.pool.connector().catalog.learned().last();
        if known.is_some_and(|known| !known.speaks.unreported) {
            held.forget_reader();
        }
    }

    /// A number for what a text means that is prepared now.
    pub(crate) fn reader(&self) -> u64 {
        let own = self.held.as_ref().and_then(|held| held.reader);
        own.map_or_else(|| self.settings.reader(), NonZeroU64::get)
    }

    /// Notes what a FunctionCall may do: it names its function by a number.
    pub(crate) fn note_function(&mut self, body: &[u8]) {
        let number = body.first_chunk::<4>().map(|oid| u32::from_be_bytes(*oid));
        if !number.is_some_and(|oid| LARGE_OBJECTS.contains(&oid)) {
            self.note_effects(Effects::ANYTHING);
            self.note_unread();
        }
    }

    /// Notes that something runs whose text is not known.
    pub(crate) fn note_unread(&mut self) {
        let is_known = self.pool.connector().catalog.learned().is_known();
        if let Some(held) = &mut self.held
            && !is_known
        {
            held.unjudged.get_or_insert_default().note_opaque();
        }
        self.doubt_reading();
    }
}
