//! Answers: from rows or errors to the bytes that the client gets.

use twinport_core::sql::Rows;
use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{RawBsonRef, rawdoc};
use twinport_wire::mongo::compressed::{Compressor, compress};
use twinport_wire::mongo::document;
use twinport_wire::mongo::frame::Frame;
use twinport_wire::mongo::{message, query};

use crate::fault::{Fault, codes, duplicate, known};
use crate::forward::{Passing, Received};

/// What a command is answered with.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A document of ours, or one that was changed.
    Document(RawDocumentBuf),
    /// One of the database's, as it came: in the first row, in this column.
    Row(Rows, usize),
    /// A message that a server has sent, as it came.
    Upstream(Received),
    /// One that goes on while it comes.
    Passing(Box<Passing>),
    /// The connection is closed instead.
    HangUp,
}

impl Reply {
    /// `{ ok: 1 }`.
    pub(crate) fn ok() -> Self {
        Self::Document(rawdoc! { "ok": 1.0 })
    }

    /// A column that must hold a document.
    pub(crate) fn row(rows: Rows, column: usize) -> Result<Self, Fault> {
        let bytes = rows.get(0, column).unwrap_or_default();
        match document::document(bytes) {
            Ok(_) => Ok(Self::Row(rows, column)),
            Err(_) => Err(no_answer()),
        }
    }

    /// The document.
    pub(crate) fn document(&self) -> Result<&RawDocument, Fault> {
        match self {
            Self::Document(document) => Ok(document),
            Self::HangUp | Self::Passing(_) => Err(no_answer()),
            Self::Row(rows, column) => {
                let bytes = rows.get(0, *column).unwrap_or_default();
                document::document(bytes).map_err(|_| no_answer())
            }
            Self::Upstream(received) => received.body().map_err(|_| no_answer()),
        }
    }

    /// The same, and what became of the write concern.
    pub(crate) fn with_unmet(self, concern: &Fault) -> Result<Self, Fault> {
        let mut document = self.document()?.to_owned();
        let error = rawdoc! {
            "code": concern.code,
            "codeName": codes::name(concern.code),
            "errmsg": concern.message.as_str(),
        };
        document.append(cstr!("writeConcernError"), error);
        Ok(Self::Document(document))
    }

    /// The message that answers a request; one that came as it goes is not copied.
    pub(crate) fn into_message(self, way: Way, number: i32) -> Result<Vec<u8>, Fault> {
        let received = match self {
            Self::Upstream(received) if !way.legacy => received,
            reply => return Ok(build(way, number, reply.document()?)),
        };
        let mut out = received.into_bytes();
        if !message::build::readdress(&mut out, number, way.request) {
            return Err(no_answer());
        }
        Ok(compressed(way, out))
    }
}

fn no_answer() -> Fault {
    Fault::new(known::INTERNAL_ERROR, "the database gave no answer")
}

/// What the client gets.
pub(crate) enum Answer {
    /// It asked for none.
    Nothing,
    Message(Vec<u8>),
    /// It goes on while it comes, under this number, as the answer to that.
    Passing(Box<Passing>, i32, i32),
    /// The connection ends with it.
    Last(Vec<u8>),
}

impl Answer {
    /// The same, and the connection ends.
    pub(crate) fn ending(self) -> Self {
        match self {
            Self::Message(bytes) | Self::Last(bytes) => Self::Last(bytes),
            Self::Nothing | Self::Passing(..) => Self::Last(Vec::new()),
        }
    }
}

/// How a request came, and so how its answer goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// The client's number for the request.
    pub(crate) request: i32,
    /// It came by OP_QUERY.
    pub(crate) legacy: bool,
    /// It came compressed.
    pub(crate) compressor: Option<Compressor>,
    /// No answer is wanted.
    pub(crate) silent: bool,
}

/// Builds the message.
pub(crate) fn build(way: Way, number: i32, body: &RawDocument) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.as_bytes().len() + 64);
    if way.legacy {
        query::reply(&mut out, number, way.request, body);
    } else {
        message::build::reply(&mut out, number, way.request, body);
    }
    compressed(way, out)
}

/// The same, as small as it was agreed on.
fn compressed(way: Way, out: Vec<u8>) -> Vec<u8> {
    if let Some(compressor) = way.compressor
        && let Ok(Some(frame)) = Frame::first(&out)
    {
        let mut smaller = Vec::with_capacity(out.len() / 2);
        if compress(&mut smaller, &frame, compressor) {
            return smaller;
        }
    }
    out
}

/// The result of a write, with MongoDB's codes inside `writeErrors`, and the last of these.
pub(crate) fn write_result(rows: Rows) -> Result<(Reply, Option<Fault>), Fault> {
    let success = rows.boolean(0, 1).unwrap_or(true);
    let reply = Reply::row(rows, 0)?;
    if success {
        return Ok((reply, None));
    }
    let original = reply.document()?;
    let mut out = RawDocumentBuf::new();
    let mut last = None;
    for element in original {
        let (key, value) = element.map_err(|_| no_answer())?;
        match (key.as_str(), value) {
            ("writeErrors", RawBsonRef::Array(errors)) => {
                let mut translated = RawArrayBuf::new();
                for error in errors {
                    match error.map_err(|_| no_answer())? {
                        RawBsonRef::Document(error) => {
                            let code = code_of(error.get_i32("code").unwrap_or_default());
                            let text = error.get_str("errmsg").unwrap_or_default();
                            last = Some(Fault::new(code, text));
                            translated.push(write_error(error, code)?);
                        }
                        other => translated.push(other),
                    }
                }
                out.append(cstr!("writeErrors"), translated);
            }
            _ => out.append(key, value),
        }
    }
    Ok((Reply::Document(out), last))
}

fn write_error(error: &RawDocument, code: i32) -> Result<RawDocumentBuf, Fault> {
    let mut out = RawDocumentBuf::new();
    for element in error {
        let (key, value) = element.map_err(|_| no_answer())?;
        match (key.as_str(), value) {
            ("code", _) => out.append(cstr!("code"), code),
            ("errmsg", RawBsonRef::String(text)) => {
                out.append(cstr!("errmsg"), duplicate(code, text.to_owned(), None));
            }
            _ => out.append(key, value),
        }
    }
    Ok(out)
}

/// The code that a packed SQLSTATE stands for.
pub(crate) fn code_of(packed: i32) -> i32 {
    codes::of_sqlstate(&codes::unpacked(packed)).unwrap_or(known::INTERNAL_ERROR)
}
