//! Where a cursor is: it waits for a getMore, or one has it.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;
use twinport_core::view;

use super::{Cursor, Standing};

/// Where a cursor is.
pub(super) enum Place {
    Waiting(Box<Cursor>, Instant),
    /// A getMore has it, and wants to know if it is killed.
    Busy(Holder, Arc<Notify>),
    /// A getMore has it, and it is killed when that is done.
    Doomed(Holder),
}

/// Whose a cursor is that a getMore has.
#[derive(Clone)]
pub(super) struct Holder {
    pub(super) user: Arc<str>,
    pub(super) session: Option<[u8; 16]>,
    pub(super) namespace: String,
    /// What it reads is gone, as this says.
    pub(super) lost: Option<Arc<str>>,
}

impl Holder {
    pub(super) fn of(cursor: &Cursor) -> Self {
        Self {
            user: Arc::clone(&cursor.identity.user),
            session: cursor.session,
            namespace: cursor.namespace.clone(),
            lost: None,
        }
    }
}

impl Place {
    pub(super) fn user(&self) -> &str {
        match self {
            Self::Waiting(cursor, _) => &cursor.identity.user,
            Self::Busy(holder, _) | Self::Doomed(holder) => &holder.user,
        }
    }

    /// The cursor, if it waits and may do so for as long as it likes.
    pub(super) fn patient(&self) -> Option<&Cursor> {
        match self {
            Self::Waiting(cursor, _) if cursor.patient => Some(cursor),
            _ => None,
        }
    }

    /// As the admin console shows it.
    pub(super) fn shown(&self, id: i64) -> view::Cursor {
        match self {
            Self::Waiting(cursor, since) => view::Cursor {
                id,
                user: cursor.identity.user.to_string(),
                namespace: cursor.namespace.clone(),
                session: cursor.session.as_ref().map(view::session),
                transaction: cursor.transaction,
                idle: Some(since.elapsed()),
                upstream: match &cursor.standing {
                    Standing::Continued {
                        connection: Some(held),
                        ..
                    } => Some(held.number()),
                    _ => None,
                },
            },
            Self::Busy(holder, _) | Self::Doomed(holder) => view::Cursor {
                id,
                user: holder.user.to_string(),
                namespace: holder.namespace.clone(),
                session: holder.session.as_ref().map(view::session),
                transaction: None,
                idle: None,
                upstream: None,
            },
        }
    }
}
