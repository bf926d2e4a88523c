//! Messages that can't be read, though it can be told where they end.

use super::opened::Unread;
use crate::fault::{Fault, known};
use crate::reply::{Answer, build};
use crate::session::Session;

impl Session {
    /// The answer to a message whose frame is whole, and what is in it no BSON or there twice: what follows can be
    /// read again. After anything else the connection ends, as in MongoDB.
    pub(super) fn unreadable(&mut self, Unread { error, way }: Unread) -> Answer {
        let answerable = error.is_bson() || error.is_repeated();
        let way = way.filter(|way| answerable && self.has_agreed(*way));
        let Some(way) = way else {
            return Answer::Nothing.ending();
        };
        if way.silent {
            return Answer::Nothing;
        }
        let code = if error.is_too_deep() {
            known::OVERFLOW
        } else if error.is_bson() {
            known::INVALID_BSON
        } else {
            error.mongo_code().0
        };
        let fault = Fault::new(code, error);
        Answer::Message(build(way, self.next_number(), &fault.to_document()))
    }
}
