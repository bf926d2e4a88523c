//! OP_QUERY, which only handshakes still use, and OP_REPLY, its answer.
//!
//! Source: <https://www.mongodb.com/docs/manual/legacy-opcodes/>.

use bson::RawDocument;

use super::cursor::Cursor;
use super::document;
use super::frame::{Frame, OP_QUERY, OP_REPLY};
use super::out::{Out, frame};
use crate::Error;

/// The answer's flag that servers have always set.
const AWAIT_CAPABLE: u32 = 1 << 3;

/// An OP_QUERY that carries a command, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The sender's number for it.
    pub request_id: i32,
    /// The database that the command is for.
    pub database: &'a str,
    /// The command.
    pub body: &'a RawDocument,
}

impl<'a> Query<'a> {
    /// Decodes a frame. A command inside `$query` is taken out of it.
    ///
    /// # Errors
    /// [`Error::is_malformed`]; [`Error::is_unsupported`] if it is no command
    /// but a question to a collection, which servers have long stopped taking.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, Error> {
        frame.expect(OP_QUERY, "OP_QUERY")?;
        let mut cursor = Cursor::new("OP_QUERY", frame.body());
        cursor.u32()?;
        let collection = cursor.text()?;
        cursor.i32()?;
        cursor.i32()?;
        let mut body = cursor.document()?;
        if !cursor.rest().is_empty() {
            cursor.document()?;
        }
        cursor.end()?;
        let database = collection
            .strip_suffix(".$cmd")
            .filter(|name| !name.is_empty());
        let Some(database) = database else {
            return Err(Error::unsupported(
                "OP_QUERY is supported for hello and isMaster only; \
                 the client driver may need an upgrade",
            ));
        };
        if let Some(first) = body.iter().next() {
            let (key, value) = first.map_err(document::bad)?;
            if let ("$query" | "query", Some(inner)) = (key.as_str(), value.as_document()) {
                body = inner;
            }
        }
        Ok(Self {
            request_id: frame.header.request_id,
            database,
            body,
        })
    }
}

/// Appends an OP_REPLY with one document.
pub fn reply<O: Out>(out: &mut O, request_id: i32, response_to: i32, body: &RawDocument) {
    frame(out, request_id, response_to, OP_REPLY, |out| {
        out.put_u32_le(AWAIT_CAPABLE);
        out.put_i64_le(0);
        out.put_i32_le(0);
        out.put_i32_le(1);
        out.put_slice(body.as_bytes());
    });
}

/// Appends an OP_QUERY that carries a command.
pub fn query<O: Out>(out: &mut O, request_id: i32, database: &str, body: &RawDocument) {
    frame(out, request_id, 0, OP_QUERY, |out| {
        out.put_u32_le(0);
        let end = memchr::memchr(0, database.as_bytes()).unwrap_or(database.len());
        out.put_slice(database.as_bytes().get(..end).unwrap_or_default());
        out.put_slice(b".$cmd\0");
        out.put_i32_le(0);
        out.put_i32_le(-1);
        out.put_slice(body.as_bytes());
    });
}

/// The document of an OP_REPLY that answers a command.
///
/// # Errors
/// [`Error::is_malformed`], also if there is not exactly one document.
pub fn answer<'a>(frame: &Frame<'a>) -> Result<&'a RawDocument, Error> {
    frame.expect(OP_REPLY, "OP_REPLY")?;
    let mut cursor = Cursor::new("OP_REPLY", frame.body());
    cursor.u32()?;
    cursor.i64()?;
    cursor.i32()?;
    if cursor.i32()? != 1 {
        return Err(cursor.error("it must have one document"));
    }
    let body = cursor.document()?;
    cursor.end()?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;
    use bytes::BufMut as _;

    use super::*;

    fn built(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn hello_by_op_query_round_trip() {
        let body = rawdoc! { "isMaster": 1, "helloOk": true };
        let bytes = built(|out| query(out, 9, "admin", &body));
        let query = Query::decode(&Frame::first(&bytes).unwrap().unwrap()).unwrap();
        assert_eq!((query.request_id, query.database), (9, "admin"));
        assert_eq!(query.body, &*body);

        let bytes = built(|out| reply(out, 1, 9, &body));
        let frame = Frame::first(&bytes).unwrap().unwrap();
        assert_eq!(frame.header.response_to, 9);
        assert_eq!(answer(&frame).unwrap(), &*body);
    }

    #[test]
    fn a_wrapped_command_is_unwrapped() {
        let wrapped = rawdoc! { "$query": { "ismaster": 1 }, "$readPreference": {} };
        let bytes = built(|out| query(out, 9, "admin", &wrapped));
        let query = Query::decode(&Frame::first(&bytes).unwrap().unwrap()).unwrap();
        assert_eq!(query.body, &*rawdoc! { "ismaster": 1 });
    }

    #[test]
    fn a_question_to_a_collection_is_refused() {
        let bytes = built(|out| {
            frame(out, 1, 0, OP_QUERY, |out| {
                out.put_u32_le(0);
                out.put_slice(b"test.books\0");
                out.put_i64_le(0);
                out.put_slice(document::EMPTY);
            });
        });
        let error = Query::decode(&Frame::first(&bytes).unwrap().unwrap()).unwrap_err();
        assert!(error.is_unsupported(), "{error}");
    }

    #[test]
    fn a_query_cut_off_anywhere_is_refused() {
        let bytes = built(|out| query(out, 9, "admin", &rawdoc! { "hello": 1 }));
        for end in 16..bytes.len() {
            let mut bytes = bytes[..end].to_vec();
            bytes[..4].copy_from_slice(&(end as u32).to_le_bytes());
            let frame = Frame::first(&bytes).unwrap().unwrap();
            assert!(Query::decode(&frame).is_err(), "{end}");
        }
    }
}
