//! Messages that can't be read, though it can be told where they end.

use twinport_wire::mongo::Frame;
use twinport_wire::mongo::frame::OP_MSG;
use twinport_wire::mongo::message::MORE_TO_COME;

use crate::fault::{Fault, known};
use crate::reply::{Answer, Way, build};
use crate::session::Session;

impl Session {
    /// The answer to a message whose frame is whole, and what is in it no BSON: what follows can be read again.
    pub(super) fn unreadable(&mut self, bytes: &[u8], error: &twinport_wire::Error) -> Answer {
        let frame = Frame::first(bytes).ok().flatten();
        let frame = frame.filter(|frame| error.is_bson() && frame.header.op_code == OP_MSG);
        let flags = frame.and_then(|frame| frame.body().first_chunk().copied());
        let (Some(frame), Some(flags)) = (frame, flags.map(u32::from_le_bytes)) else {
            return Answer::Nothing.ending();
        };
        if flags & MORE_TO_COME != 0 {
            return Answer::Nothing;
        }
        let way = Way {
            request: frame.header.request_id,
            legacy: false,
            compressor: None,
            silent: false,
        };
        let fault = Fault::new(known::INVALID_BSON, error);
        Answer::Message(build(way, self.next_number(), &fault.to_document()))
    }
}
