//! Why a session keeps its lease beyond its transactions.

use std::sync::Arc;

use twinport_rewriter::scan::Effects;

use crate::left::ASKED;

/// Why a lease outlives its transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pinned {
    /// It does not.
    No,
    /// The session holds what can't be moved to another connection.
    By {
        /// What that is, for people.
        reason: Arc<str>,
        /// What of it the server can't be asked for, and so stays.
        lasting: Effects,
    },
    /// The server could not be asked what the session has left, or not for everything. It is asked again.
    Unknown {
        /// What may have been left.
        effects: Effects,
        /// When it is asked again.
        until: Until,
    },
}

/// When the server is asked again what a session has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Once the client has got another answer than these, so many.
    Answered(usize),
    /// Once it is known what functions set: custom settings have to be asked for by their names.
    Learned,
}

impl Pinned {
    /// Whether it does not.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::No
    }

    /// Whether it does.
    pub(crate) fn is_some(&self) -> bool {
        !self.is_none()
    }

    /// Whether the server is to be asked again, now that the client has got so many answers, and what functions do is
    /// still being read or not.
    pub(crate) fn is_to_be_asked(&self, now: usize, learning: bool) -> bool {
        match self {
            Self::Unknown { until, .. } => match until {
                Until::Answered(ready) => *ready != now,
                Until::Learned => !learning,
            },
            _ => false,
        }
    }

    /// What is to be asked for after statements with these effects, given what is known already.
    pub(crate) fn to_ask(&self, effects: Effects) -> Effects {
        let effects = match self {
            Self::Unknown { effects: open, .. } => effects | *open,
            _ => effects,
        };
        // Reasons are asked for all together, or not at all.
        if effects.intersects(ASKED) {
            effects | Effects::STATE | self.lasting()
        } else {
            effects
        }
    }

    fn lasting(&self) -> Effects {
        match self {
            Self::By { lasting, .. } => *lasting,
            _ => Effects::NONE,
        }
    }

    /// Whether the session holds objects that may stand for others of their names.
    pub(crate) fn shadows(&self) -> bool {
        match self {
            Self::No => false,
            Self::By { reason, .. } => reason.contains("temporary"),
            Self::Unknown { .. } => true,
        }
    }

    /// What is to be said of it.
    pub(crate) fn reason(&self) -> Option<Arc<str>> {
        match self {
            Self::No => None,
            Self::By { reason, .. } => Some(Arc::clone(reason)),
            Self::Unknown { until, .. } => Some(match until {
                Until::Answered(_) => "unknown state".into(),
                Until::Learned => "functions not known yet".into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_asked_is_asked_with_the_next_answer() {
        let unknown = Pinned::Unknown {
            effects: Effects::SETTINGS,
            until: Until::Answered(3),
        };
        assert!(!unknown.is_to_be_asked(3, false) && unknown.is_to_be_asked(4, true));
        let asked = Effects::SETTINGS | Effects::STATE;
        assert_eq!(unknown.to_ask(Effects::NONE), asked);
    }

    #[test]
    fn what_functions_set_is_asked_once_they_are_known() {
        let unknown = Pinned::Unknown {
            effects: Effects::SETTINGS,
            until: Until::Learned,
        };
        assert!(!unknown.is_to_be_asked(4, true) && unknown.is_to_be_asked(3, false));
    }

    #[test]
    fn a_loaded_library_stays() {
        let loaded = Pinned::By {
            reason: "LOAD".into(),
            lasting: Effects::LOAD,
        };
        assert!(loaded.to_ask(Effects::STATE).contains(Effects::LOAD));
        assert!(loaded.to_ask(Effects::SETTINGS).contains(Effects::LOAD));
        assert_eq!(loaded.to_ask(Effects::LOCAL), Effects::LOCAL);
        let untold = Pinned::By {
            reason: "custom setting".into(),
            lasting: Effects::UNTOLD,
        };
        assert!(untold.to_ask(Effects::SETTINGS).contains(Effects::STATE));
    }
}
