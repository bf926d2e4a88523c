//! Errors by which a server says that it changes its place or goes: to a driver they would say so of the proxy,
//! and have it throw away all its connections to it.
//!
//! Source: <https://github.com/mongodb/specifications/blob/master/source/server-discovery-and-monitoring/server-discovery-and-monitoring.md>,
//! "not writable primary and node is recovering".

use twinport_wire::mongo::bson::RawBsonRef;
use twinport_wire::mongo::bson::raw::{RawDocument, RawDocumentBuf, cstr};
use twinport_wire::mongo::document::{integer, truth};

use super::connection::Received;
use crate::fault::{codes, known};
use crate::reply::Reply;

/// What tells drivers that the server which they speak to is not what it was.
const CHANGES: [i64; 7] = [91, 189, 10_107, 11_600, 11_602, 13_435, 13_436];

/// The answer, in which a change of the server is one that it can't be reached; drivers try again after both. The
/// text and the labels stay.
pub(super) fn masked(received: Received) -> Reply {
    let changed = received.body().ok().and_then(told);
    match changed {
        Some(document) => Reply::Document(document),
        None => Reply::Upstream(received),
    }
}

fn told(body: &RawDocument) -> Option<RawDocumentBuf> {
    let ok = matches!(body.get("ok"), Ok(Some(value)) if truth(value));
    if !ok {
        return changes(body).then(|| renamed(body)).flatten();
    }
    let concern = body.get_document("writeConcernError").ok()?;
    if !changes(concern) {
        return None;
    }
    let mut out = RawDocumentBuf::new();
    for element in body {
        let (key, value) = element.ok()?;
        if key.as_str() == "writeConcernError" {
            out.append(key, renamed(concern)?);
        } else {
            out.append(key, value);
        }
    }
    Some(out)
}

fn changes(error: &RawDocument) -> bool {
    let code = error.get("code").ok().flatten().and_then(integer);
    code.is_some_and(|code| CHANGES.contains(&code))
}

/// The same error under another code.
fn renamed(error: &RawDocument) -> Option<RawDocumentBuf> {
    let mut out = RawDocumentBuf::new();
    for element in error {
        let (key, value): (_, RawBsonRef<'_>) = element.ok()?;
        match key.as_str() {
            "code" => out.append(cstr!("code"), known::HOST_UNREACHABLE),
            "codeName" => {
                let name = codes::name(known::HOST_UNREACHABLE);
                out.append(cstr!("codeName"), name.as_str());
            }
            // The state that a driver would take for ours.
            "topologyVersion" => {}
            _ => out.append(key, value),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinport_wire::mongo::bson::rawdoc;

    #[test]
    fn only_a_change_of_the_server_is_told_otherwise() {
        let error = |code: i32| rawdoc! { "ok": 0.0, "errmsg": "why", "code": code, "codeName": "X", "errorLabels": ["L"] };
        for code in CHANGES {
            let code = i32::try_from(code).unwrap();
            let told = told(&error(code)).unwrap();
            assert_eq!(told.get_i32("code").unwrap(), 6);
            assert_eq!(told.get_str("codeName").unwrap(), "HostUnreachable");
            assert_eq!(told.get_str("errmsg").unwrap(), "why");
            assert!(told.get_array("errorLabels").is_ok());
        }
        assert_eq!(told(&error(11_000)), None);
        assert_eq!(told(&rawdoc! { "ok": 1.0, "code": 91 }), None);
        let concern =
            rawdoc! { "ok": 1.0, "n": 1, "writeConcernError": { "code": 91, "errmsg": "why" } };
        let told = told(&concern).unwrap();
        let inner = told.get_document("writeConcernError").unwrap();
        assert_eq!(inner.get_i32("code").unwrap(), 6);
        assert_eq!(told.get_i32("n").unwrap(), 1);
    }
}
