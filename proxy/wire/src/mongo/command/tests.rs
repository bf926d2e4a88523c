//! What is read of commands as drivers send them, and what is refused.

use bson::spec::BinarySubtype;
use bson::{Binary, RawDocumentBuf, rawdoc};
use proptest::prelude::*;

use super::*;

fn uuid(byte: u8) -> Binary {
    Binary {
        subtype: BinarySubtype::Uuid,
        bytes: vec![byte; 16],
    }
}

#[test]
fn a_write_in_a_transaction() {
    let body = rawdoc! {
        "insert": "books",
        "ordered": true,
        "$db": "test",
        "lsid": { "id": uuid(7) },
        "txnNumber": 3_i64,
        "startTransaction": true,
        "autocommit": false,
        "readConcern": { "level": "snapshot" },
        "writeConcern": { "w": "majority" },
        "$clusterTime": { "clusterTime": 1 },
        "$readPreference": { "mode": "primary" },
        "comment": "@upsert(email)",
        "maxTimeMS": 1500.0,
        "documents": [{ "lsid": 1, "comment": 2 }],
    };
    let command = Command::read(&body).unwrap();
    assert_eq!(
        (command.name, command.collection()),
        ("insert", Some("books"))
    );
    assert_eq!(command.database, Some("test"));
    assert_eq!(command.session().unwrap(), Some([7; 16]));
    assert_eq!(command.txn_number, Some(3));
    assert_eq!(command.start_transaction, Some(true));
    assert_eq!(command.autocommit, Some(false));
    assert!(command.in_transaction());
    assert_eq!(command.comment.unwrap().as_str(), Some("@upsert(email)"));
    assert_eq!(command.max_time_ms, Some(1500));
    let level = command.read_concern.unwrap().get_str("level");
    assert_eq!(level.unwrap(), "snapshot");
    assert_eq!(
        command.write_concern.unwrap().get_str("w").unwrap(),
        "majority"
    );
    assert!(command.read_preference.is_some() && command.cluster_time.is_some());
}

#[test]
fn the_least_command() {
    let body = rawdoc! { "aggregate": 1 };
    let command = Command::read(&body).unwrap();
    assert_eq!((command.name, command.collection()), ("aggregate", None));
    assert_eq!(command.session().unwrap(), None);
    assert!(!command.in_transaction() && command.comment.is_none());
    assert_eq!(command.cursors().unwrap().count(), 0);
}

#[test]
fn ids_of_cursors() {
    let body = rawdoc! { "getMore": 5_i64, "collection": "books", "comment": { "a": 1 } };
    let command = Command::read(&body).unwrap();
    assert_eq!(command.cursor().unwrap(), 5);
    assert_eq!(command.collection(), Some("books"));
    assert!(command.comment.unwrap().as_document().is_some());

    let body = rawdoc! { "killCursors": "books", "cursors": [1_i64, 2, "three"] };
    let command = Command::read(&body).unwrap();
    let ids: Vec<Result<i64, _>> = command.cursors().unwrap().collect();
    assert!(matches!(ids[..], [Ok(1), Ok(2), Err(_)]), "{ids:?}");
    assert!(command.cursor().is_err());

    let body = rawdoc! { "killCursors": "books", "cursors": 1 };
    assert!(Command::read(&body).unwrap().cursors().is_err());
}

#[test]
fn null_is_as_if_it_were_not_there() {
    let body = rawdoc! { "find": "books", "lsid": null, "maxTimeMS": null, "comment": null };
    let command = Command::read(&body).unwrap();
    assert!(command.lsid.is_none() && command.max_time_ms.is_none());
    assert!(command.comment.is_none());
}

#[test]
fn fields_of_the_wrong_type_are_refused() {
    for body in [
        rawdoc! { "find": "a", "$db": 1 },
        rawdoc! { "find": "a", "lsid": "x" },
        rawdoc! { "find": "a", "txnNumber": 1.5 },
        rawdoc! { "find": "a", "maxTimeMS": "1" },
        rawdoc! { "find": "a", "readConcern": 1 },
        rawdoc! { "find": "a", "$clusterTime": [] },
    ] {
        let error = Command::read(&body).unwrap_err();
        assert!(error.to_string().contains("must be"), "{error}");
    }
    for lsid in [
        rawdoc! {},
        rawdoc! { "id": 1 },
        rawdoc! { "id": "0123456789abcdef" },
    ] {
        let body = rawdoc! { "find": "a", "lsid": lsid };
        assert!(Command::read(&body).unwrap().session().is_err());
    }
    assert!(Command::read(&RawDocumentBuf::new()).is_err());
}

#[test]
fn fields_that_stand_there_twice_are_refused() {
    for body in [
        rawdoc! { "find": "a", "find": "b" },
        rawdoc! { "find": "a", "$db": "a", "$db": "b" },
        rawdoc! { "find": "a", "lsid": {}, "lsid": {} },
        rawdoc! { "find": "a", "autocommit": false, "autocommit": true },
        rawdoc! { "killCursors": "a", "cursors": [], "cursors": [1] },
    ] {
        let error = Command::read(&body).unwrap_err();
        assert!(error.is_repeated(), "{error}");
    }
    // Of no concern to who passes it on; the server says what it thinks of it.
    let body = rawdoc! { "find": "a", "limit": 1, "limit": 2 };
    let command = Command::read(&body).unwrap();
    let error = command.has_fields_once().unwrap_err();
    assert_eq!(error.mongo_code().0, 40_413);
    assert!(error.to_string().contains("'limit'"), "{error}");
    let mut body = rawdoc! { "find": "a", "limit": 1, "skip": 2 };
    let command = Command::read(&body).unwrap();
    assert!(command.has_fields_once().is_ok());
    assert!(command.has("skip") && !command.has("ski"));
    let names: Vec<_> = command.fields().iter().map(Field::name).collect();
    assert_eq!(names, ["find", "limit", "skip"]);
    let skip = command.fields()[2].value().unwrap();
    assert_eq!(skip, bson::RawBsonRef::Int32(2));
    for number in 0..MOST - 3 {
        body.append(bson::raw::CString::try_from(number.to_string()).unwrap(), 1);
    }
    assert!(Command::read(&body).unwrap().has_fields_once().is_ok());
    body.append(bson::raw::cstr!("one more"), 1);
    let error = Command::read(&body).unwrap().has_fields_once();
    assert!(error.unwrap_err().to_string().contains("128 fields"));
}

#[test]
fn a_command_of_invalid_bson_is_refused() {
    let mut bytes = rawdoc! { "find": "a", "limit": "ab" }.into_bytes();
    let end = bytes.len();
    bytes[end - 8..end - 4].copy_from_slice(&100_i32.to_le_bytes());
    let body = crate::mongo::document::document(&bytes).unwrap();
    assert!(Command::read(body).unwrap_err().is_bson());
}

proptest! {
    #[test]
    fn arbitrary_documents_do_no_harm(inside: Vec<u8>) {
        let mut bytes = ((inside.len() + 5) as i32).to_le_bytes().to_vec();
        bytes.extend(&inside);
        bytes.push(0);
        if let Ok(body) = crate::mongo::document::document(&bytes)
            && let Ok(command) = Command::read(body)
        {
            let _ = (command.collection(), command.session(), command.cursor());
            let _ = command.cursors().map(Iterator::count);
        }
    }
}
