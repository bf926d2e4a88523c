//! The latest write of each session that may be sent again.

use std::sync::Arc;

use moka::sync::Cache;
use parking_lot::Mutex;

use super::{MOST, Owner, REMEMBERED};
use crate::record::Recording;

/// Of writes and transactions of a session, only the latest goes on.
pub(super) struct Writes(Cache<Owner, Arc<Mutex<Latest>>>);

/// A session's latest write.
pub(super) struct Latest {
    /// Under all others, where there is no write yet.
    pub(super) number: i64,
    pub(super) recording: Arc<Recording>,
}

impl Latest {
    pub(super) fn of(number: i64) -> Self {
        Self {
            number,
            recording: Arc::default(),
        }
    }
}

impl Default for Writes {
    fn default() -> Self {
        Self(
            Cache::builder()
                .max_capacity(MOST as u64)
                .time_to_idle(REMEMBERED)
                .build(),
        )
    }
}

impl Writes {
    /// The latest of a session that is about to write.
    pub(super) fn of(&self, owner: &Owner) -> Arc<Mutex<Latest>> {
        let latest = self.0.entry_by_ref(owner);
        latest
            .or_insert_with(|| Arc::new(Mutex::new(Latest::of(i64::MIN))))
            .into_value()
    }

    /// The number of a session's latest.
    pub(super) fn number(&self, owner: &Owner) -> i64 {
        let latest = self.0.get(owner);
        latest.map_or(i64::MIN, |latest| latest.lock().number)
    }
}
