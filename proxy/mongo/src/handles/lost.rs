//! Cursors whose collection is dropped or renamed: the next getMore says so, and they are over.

use std::sync::Arc;

use super::{Cursor, Cursors, Place, Standing};

impl Cursors {
    /// The cursors that read such a namespace.
    pub(crate) fn reading(&self, is_such: impl Fn(&str) -> bool) -> Vec<i64> {
        let places = self.places.lock();
        let reading = places.iter().filter(|(_, place)| match place {
            Place::Waiting(cursor, _) => is_such(&cursor.namespace),
            Place::Busy(holder, _) => is_such(&holder.namespace),
            Place::Doomed(_) => false,
        });
        reading.map(|(&id, _)| id).collect()
    }

    /// Ends these cursors, whose next getMore is told why. Gives what is left of them, to be closed.
    pub(crate) fn lose(&self, ids: &[i64], why: &Arc<str>) -> Vec<Cursor> {
        let mut places = self.places.lock();
        let mut left = Vec::new();
        for id in ids {
            match places.get_mut(id) {
                Some(Place::Waiting(cursor, _)) => left.extend(cursor.lose(why)),
                // When that getMore is done.
                Some(Place::Busy(holder, _)) => holder.lost = Some(Arc::clone(why)),
                Some(Place::Doomed(_)) | None => {}
            }
        }
        left
    }
}

impl Cursor {
    /// Takes what there is of it in the database; `None` if there was nothing any more.
    pub(super) fn lose(&mut self, why: &Arc<str>) -> Option<Self> {
        if matches!(self.standing, Standing::Lost(_)) {
            return None;
        }
        let standing = std::mem::replace(&mut self.standing, Standing::Lost(Arc::clone(why)));
        Some(Self {
            id: self.id,
            identity: self.identity.clone(),
            session: self.session,
            transaction: self.transaction,
            client: self.client,
            database: self.database.clone(),
            namespace: self.namespace.clone(),
            standing,
            patient: self.patient,
            filed: std::mem::take(&mut self.filed),
        })
    }
}
