//! A message before its command is read.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use twinport_wire::mongo::bson::RawDocument;
use twinport_wire::mongo::compressed::Compressed;
use twinport_wire::mongo::document::{MAX_DEPTH, validate, validate_structure};
use twinport_wire::mongo::frame::{OP_COMPRESSED, OP_MSG, OP_QUERY};
use twinport_wire::mongo::message::MORE_TO_COME;
use twinport_wire::mongo::message::opening::Opening;
use twinport_wire::mongo::query::Query;
use twinport_wire::mongo::{Command, Frame, Message};

use crate::fault::{Fault, known};
use crate::reply::Way;

/// A message whose command is not read yet.
pub(super) struct Opened<'a> {
    pub(super) way: Way,
    pub(super) body: &'a RawDocument,
    pub(super) message: Option<Message<'a>>,
    pub(super) frame: Option<Frame<'a>>,
    /// In place of these two, where it is not all there.
    pub(super) begun: Option<Begun<'a>>,
    /// OP_QUERY names it outside of the command.
    pub(super) database: Option<&'a str>,
}

/// A request that goes on while it comes.
#[derive(Clone)]
pub(crate) struct Begun<'a> {
    pub(crate) opening: Opening<'a>,
    /// All that has come of it with its opening.
    pub(crate) bytes: &'a [u8],
    pub(crate) rest: Rest,
}

/// What is still to come of a request; whoever sends it on takes it.
#[derive(Clone)]
pub(crate) struct Rest {
    pieces: Arc<Mutex<Option<mpsc::Receiver<Vec<u8>>>>>,
    pub(crate) len: usize,
}

impl Rest {
    /// Of `len` bytes, in these pieces.
    pub(crate) fn new(pieces: mpsc::Receiver<Vec<u8>>, len: usize) -> Self {
        Self {
            pieces: Arc::new(Mutex::new(Some(pieces))),
            len,
        }
    }

    /// The pieces; none if somebody has taken them.
    pub(crate) fn take(&self) -> Option<mpsc::Receiver<Vec<u8>>> {
        self.pieces.lock().take()
    }
}

/// Checks the documents beside a command all the way down.
pub(crate) fn documents(message: &Message<'_>) -> Result<(), twinport_wire::Error> {
    for sequence in message.sequences() {
        for document in sequence.documents() {
            validate(document?.as_bytes(), MAX_DEPTH)?;
        }
    }
    Ok(())
}

/// A message that can't be read.
pub(super) struct Unread {
    pub(super) error: twinport_wire::Error,
    /// How it can be answered, where it was seen to be a command.
    pub(super) way: Option<Way>,
}

impl From<twinport_wire::Error> for Unread {
    fn from(error: twinport_wire::Error) -> Self {
        Self { error, way: None }
    }
}

/// Whether the sender wants no answer to a command, also where the rest of it can't be read.
fn is_silent(frame: &Frame<'_>) -> bool {
    let flags = frame.body().first_chunk().copied().map(u32::from_le_bytes);
    frame.header.op_code == OP_MSG && flags.is_some_and(|flags| flags & MORE_TO_COME != 0)
}

/// Decodes a command, and looks into what has to be understood of it here.
fn decode<'a>(frame: &Frame<'a>, ours: bool) -> Result<Message<'a>, twinport_wire::Error> {
    let message = Message::decode(frame)?;
    if ours {
        validate(message.body.as_bytes(), MAX_DEPTH)?;
        documents(&message)?;
    } else {
        validate_structure(message.body.as_bytes(), MAX_DEPTH)?;
    }
    Ok(message)
}

impl<'a> Opened<'a> {
    /// Takes a message apart; what was compressed is put into `room`. If it is `ours` to understand, and not another
    /// server's, the documents beside the command are looked into, and all text must be UTF-8.
    pub(super) fn read(
        bytes: &'a [u8],
        room: &'a mut Vec<u8>,
        limit: usize,
        ours: bool,
    ) -> Result<Self, Unread> {
        let incomplete = || twinport_wire::Error::expected("a whole message");
        let outer = Frame::first(bytes)?.ok_or_else(incomplete)?;
        let (frame, compressor) = if outer.header.op_code == OP_COMPRESSED {
            let compressed = Compressed::decode(&outer, limit)?;
            compressed.decompress(room)?;
            let inner = Frame::first(room)?.ok_or_else(incomplete)?;
            (inner, Some(compressed.compressor))
        } else {
            (outer, None)
        };
        let way = Way {
            request: frame.header.request_id,
            legacy: frame.header.op_code == OP_QUERY,
            compressor,
            silent: is_silent(&frame),
        };
        if way.legacy {
            let query = Query::decode(&frame)?;
            validate(query.body.as_bytes(), MAX_DEPTH)?;
            return Ok(Self {
                way,
                body: query.body,
                message: None,
                frame: None,
                begun: None,
                database: Some(query.database),
            });
        }
        let message = decode(&frame, ours).map_err(|error| Unread {
            error,
            way: Some(way),
        })?;
        Ok(Self {
            way,
            body: message.body,
            message: Some(message),
            frame: Some(frame),
            begun: None,
            database: None,
        })
    }

    /// As [`Opened::read`], for the beginning of a message. What comes after it is for the server to look into.
    pub(super) fn begin(bytes: &'a [u8], rest: Rest) -> Result<Self, Unread> {
        let opening = Opening::read(bytes)?;
        let opening = opening.ok_or_else(|| twinport_wire::Error::expected("an opening"))?;
        validate_structure(opening.body.as_bytes(), MAX_DEPTH)?;
        Ok(Self {
            way: Way {
                request: opening.header.request_id,
                legacy: false,
                compressor: None,
                silent: opening.flags & MORE_TO_COME != 0,
            },
            body: opening.body,
            message: None,
            frame: None,
            begun: Some(Begun {
                opening,
                bytes,
                rest,
            }),
            database: None,
        })
    }

    /// The database that the command names.
    pub(super) fn database(&self, command: &Command<'a>) -> Result<&'a str, Fault> {
        let name = command.database.or(self.database).ok_or_else(|| {
            Fault::new(
                known::FAILED_TO_PARSE,
                "OP_MSG requests require a $db argument",
            )
        })?;
        let bad = |c: char| matches!(c, '/' | '\\' | '.' | ' ' | '"' | '$' | '\0');
        if name.is_empty() || name.len() > 63 || (name.contains(bad) && name != "$external") {
            return Err(Fault::new(
                known::INVALID_NAMESPACE,
                format_args!("Invalid database name: '{name}'"),
            ));
        }
        Ok(name)
    }
}
