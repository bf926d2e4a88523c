//! What ran before it was known what its functions do: it is judged again once it is known.

use twinport_rewriter::scan::{Effects, Names};

use super::scan_both;
use crate::catalogs::{EndOfLearning, Known};

/// So much text is kept, in bytes: of what is left out, computed names of custom settings are not found.
const MOST: usize = 16 * 1024;

/// Statements of a lease that were judged with too little known.
#[derive(Default)]
pub(crate) struct Unjudged {
    texts: Vec<Box<[u8]>>,
    size: usize,
    /// So many of them are of transactions that have lasted.
    lasted: usize,
    /// Whether anything was noted since then.
    fresh: bool,
    /// The state of the schema when the last of them ran, as [`Learned::epoch`] counts.
    ///
    /// [`Learned::epoch`]: crate::catalogs::Learned::epoch
    epoch: u64,
    /// Whether something has run that has no text.
    opaque: bool,
    /// The session is pinned until this is ready: more will be known by then.
    pub(crate) learning: Option<EndOfLearning>,
}

impl Unjudged {
    /// Keeps a text.
    pub(crate) fn note(&mut self, text: &[u8]) {
        if is_plain(text) {
            return;
        }
        self.fresh = true;
        if self.texts.iter().any(|noted| **noted == *text) {
            return;
        }
        if self.size + text.len() > MOST {
            self.opaque = true;
            return;
        }
        self.size += text.len();
        self.texts.push(text.into());
    }

    /// Notes that something ran without a text.
    pub(crate) fn note_opaque(&mut self) {
        self.fresh = true;
        self.opaque = true;
    }

    /// Keeps what was noted since the last time only if any of it may have lasted; in which state the schema is.
    pub(crate) fn settle(&mut self, lasted: bool, epoch: u64) {
        if !std::mem::take(&mut self.fresh) {
            return;
        }
        if lasted {
            self.lasted = self.texts.len();
            self.epoch = epoch;
        } else {
            self.texts.truncate(self.lasted);
        }
    }

    /// Whether what is known was read after the last of it ran.
    pub(crate) fn is_covered(&self, known: Option<&Known>) -> bool {
        known.is_some_and(|known| known.epoch() >= self.epoch)
    }

    /// Whether there is nothing to judge again.
    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty() && !self.opaque
    }

    /// The texts.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.texts.iter().map(|text| &**text)
    }

    /// What all of it may have left, by these names. Without any, it may be anything.
    pub(crate) fn judge(&self, names: Option<&Names>) -> Effects {
        let opaque = match names {
            Some(_) if !self.opaque => Effects::NONE,
            _ => Effects::OPAQUE,
        };
        let judged = names.into_iter().flat_map(|names| {
            let texts = self.texts();
            texts.map(move |text| scan_both(text, names))
        });
        judged.fold(opaque, |all, effects| all | effects)
    }
}

/// Whether a text runs no function and reads no relation, whatever there may be.
pub(super) fn is_plain(text: &[u8]) -> bool {
    const VERBS: [&[u8]; 13] = [
        b"abort",
        b"begin",
        b"commit",
        b"deallocate",
        b"discard",
        b"end",
        b"release",
        b"reset",
        b"rollback",
        b"savepoint",
        b"set",
        b"show",
        b"start",
    ];
    let mut parts = text.split(|&b| b == b';').map(<[u8]>::trim_ascii);
    parts.all(|part| {
        let mut words = part.split(|b| !b.is_ascii_alphanumeric());
        let verb = words.next().unwrap_or_default().to_ascii_lowercase();
        let is_value = verb == b"select"
            && memchr::memchr(b'(', part).is_none()
            && words.all(|word| !is_one_of(word, &[b"from", b"into"]));
        part.is_empty() || VERBS.contains(&&*verb) || is_value
    })
}

fn is_one_of(word: &[u8], words: &[&[u8]]) -> bool {
    words.iter().any(|one| word.eq_ignore_ascii_case(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_nothing_is_not_judged_again() {
        for text in ["BEGIN; COMMIT", "SELECT 1", "SET a.b = 'from c'"] {
            assert!(is_plain(text.as_bytes()), "{text}");
        }
        for text in [
            "SELECT f()",
            "TABLE t",
            "BEGIN; SELECT a FROM t",
            "SELECT 1 INTO t",
        ] {
            assert!(!is_plain(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_did_not_last_is_not_judged_again() {
        let mut unjudged = Unjudged::default();
        unjudged.note(b"SELECT * FROM t");
        unjudged.settle(true, 1);
        unjudged.note(b"DO $$ BEGIN END $$");
        assert_eq!(unjudged.judge(None), Effects::OPAQUE);
        unjudged.settle(false, 2);
        assert_eq!(unjudged.texts().count(), 1);
        let names = Names::trusting();
        assert_eq!(unjudged.judge(Some(&names)), Effects::NONE);
        unjudged.note(&[b'x'; MOST]);
        assert!(unjudged.judge(Some(&names)).contains(Effects::OPAQUE));
    }
}
