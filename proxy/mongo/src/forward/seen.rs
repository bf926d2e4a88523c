//! What is looked at in an answer; the rest goes on unread.

use std::ops::Range;

use twinport_wire::mongo::bson::RawDocument;
use twinport_wire::mongo::bson::spec::ElementType;
use twinport_wire::mongo::document::{self, integer, truth};
use twinport_wire::mongo::message::answer;

use super::connection::Received;
use crate::fault::{Fault, codes};

/// What a server says that is not, or not any more, the primary: the command was not run, or not whole.
const NOT_PRIMARY: [i64; 3] = [10_107, 13_435, 13_436];
/// What a server says that changes its place, or goes: the command may have been run.
const CHANGING: [i64; 4] = [91, 189, 11_600, 11_602];
/// What a server says that does not know a cursor any more: killed, behind its data, or never there.
const CURSOR_GONE: [i64; 6] = [43, 136, 175, 237, 280, 286];

/// What an answer says that concerns us.
pub(super) struct Seen {
    pub(super) ok: bool,
    pub(super) code: i64,
    /// The cursor's id, and where it stands in the body.
    pub(super) cursor: Option<(i64, Range<usize>)>,
    pub(super) namespace: String,
}

impl Seen {
    pub(super) fn read(received: &Received) -> Result<Self, Fault> {
        let body = received.body().map_err(|error| Fault::protocol(&error))?;
        let ok = matches!(body.get("ok"), Ok(Some(value)) if truth(value));
        let failed = if ok {
            body.get_document("writeConcernError").ok()
        } else {
            Some(body)
        };
        let code = failed.and_then(|failed| failed.get("code").ok()?.and_then(integer));
        let (cursor, namespace) = cursor_in(body);
        Ok(Self {
            ok,
            code: code.unwrap_or_default(),
            cursor,
            namespace,
        })
    }

    /// What was read as it passed.
    pub(super) fn passed(seen: &answer::Seen) -> Self {
        Self {
            ok: seen.ok,
            code: seen.code.unwrap_or_default(),
            cursor: seen.cursor.map(|id| (id, 0..0)),
            namespace: seen.namespace.clone(),
        }
    }

    /// The command was not run, or not whole, since the server is not the primary.
    pub(super) fn is_not_primary(&self) -> bool {
        !self.ok && NOT_PRIMARY.contains(&self.code)
    }

    /// Whether the cursor that was read goes on: it is over when its id is zero, or when the server does not know
    /// it any more.
    pub(super) fn is_open(&self) -> bool {
        match &self.cursor {
            Some((id, _)) => *id != 0,
            None => self.ok || !CURSOR_GONE.contains(&self.code),
        }
    }

    /// The server has no such transaction, or none any more.
    pub(super) fn ends_transaction(&self) -> bool {
        let code = i32::try_from(self.code);
        !self.ok && code.is_ok_and(codes::ends_transaction)
    }

    pub(super) fn is_other_than_thought(&self) -> bool {
        NOT_PRIMARY.contains(&self.code) || CHANGING.contains(&self.code)
    }
}

fn cursor_in(body: &RawDocument) -> (Option<(i64, Range<usize>)>, String) {
    let Some((ElementType::EmbeddedDocument, at)) = document::place(body, "cursor") else {
        return (None, String::new());
    };
    let bytes = body.as_bytes().get(at.clone()).unwrap_or_default();
    let Ok(inner) = document::document(bytes) else {
        return (None, String::new());
    };
    let Some((ElementType::Int64, place)) = document::place(inner, "id") else {
        return (None, String::new());
    };
    let id = inner.get_i64("id").unwrap_or_default();
    let place = at.start + place.start..at.start + place.end;
    let namespace = inner.get_str("ns").unwrap_or_default().to_owned();
    (Some((id, place)), namespace)
}
