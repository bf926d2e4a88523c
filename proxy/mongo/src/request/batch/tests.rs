use twinport_wire::mongo::bson::rawdoc;

use super::*;

const DEADLOCK: &str = "40P01";
const LOCK_TIMEOUT: &str = "55P03";
const UNIQUE: &str = "23505";

/// A SQLSTATE as the extension puts it into documents.
fn packed(state: &str) -> i32 {
    let codes = state.bytes().zip(0..);
    codes.fold(0, |packed, (byte, place)| {
        packed | i32::from(byte - b'0') << (6 * place)
    })
}

fn update(query: RawDocumentBuf) -> RawDocumentBuf {
    rawdoc! { "q": query, "u": { "$inc": { "v": 1 } } }
}

fn by_id(ids: &[i32]) -> Vec<RawDocumentBuf> {
    ids.iter()
        .map(|id| update(rawdoc! { "_id": *id }))
        .collect()
}

fn batch(statements: &[RawDocumentBuf], ordered: bool) -> Batch<'_> {
    let statements = statements.iter().map(AsRef::as_ref).collect();
    Batch::new(statements, ordered, !ordered)
}

/// An answer with these errors.
fn answer(written: i32, errors: &[(i32, &str)]) -> RawDocumentBuf {
    let mut out = rawdoc! { "ok": 1.0, "nModified": written, "n": written };
    let errors: RawArrayBuf = errors
        .iter()
        .map(|(index, state)| {
            rawdoc! { "index": *index, "code": packed(state), "errmsg": "Index '_id_'" }
        })
        .collect();
    if !errors.is_empty() {
        out.append(cstr!("writeErrors"), errors);
    }
    out
}

/// Where the errors stand, how much was written, and whether all is well.
fn outcome(batch: &Batch<'_>) -> (Vec<i64>, i64, bool) {
    let rows = batch.rows();
    let answer = document::document(rows.get(0, 0).unwrap()).unwrap();
    let errors = listed(answer, "writeErrors").map(|error| count(error, "index"));
    assert_eq!(count(answer, "n"), count(answer, "nModified"));
    let succeeded = rows.boolean(0, 1).unwrap();
    (errors.collect(), count(answer, "n"), succeeded)
}

#[test]
fn an_ordered_batch_goes_on_behind_the_one_that_had_to_wait() {
    let statements = by_id(&[3, 1, 2, 0]);
    let mut batch = batch(&statements, true);
    assert!(batch.is_as_it_came() && batch.is_hasty());
    batch.take(&answer(1, &[(1, LOCK_TIMEOUT)]));
    assert_eq!(batch.part(), [1]);
    batch.take(&answer(0, &[(0, DEADLOCK)]));
    assert_eq!((batch.part(), batch.tries()), (&[1][..], 1));
    batch.take(&answer(1, &[]));
    assert_eq!((batch.part(), batch.tries()), (&[2, 3][..], 0));
    assert!(batch.is_hasty() && !batch.is_as_it_came());
    // What is wrong by itself ends it, as it would have.
    batch.take(&answer(0, &[(0, UNIQUE)]));
    assert!(batch.is_done());
    assert_eq!(outcome(&batch), (vec![2], 2, false));
}

#[test]
fn an_unordered_batch_by_id_is_sorted_and_its_answer_is_not() {
    let statements = by_id(&[3, 1, 2, 0]);
    let mut batch = batch(&statements, false);
    assert!(!batch.is_as_it_came());
    assert_eq!(batch.part(), [3, 1, 2, 0]);
    let mut first = answer(1, &[(0, UNIQUE), (1, LOCK_TIMEOUT), (3, DEADLOCK)]);
    first.append(
        cstr!("upserted"),
        [rawdoc! { "index": 2, "_id": 2 }]
            .into_iter()
            .collect::<RawArrayBuf>(),
    );
    batch.take(&first);
    assert_eq!(batch.part(), [0]);
    batch.take(&answer(1, &[]));
    assert_eq!(batch.part(), [1]);
    batch.take(&answer(1, &[]));
    assert!(batch.is_done());
    assert_eq!(outcome(&batch), (vec![3], 3, false));
    let rows = batch.rows();
    let merged = document::document(rows.get(0, 0).unwrap()).unwrap();
    let upserted: Vec<_> = listed(merged, "upserted").map(ToOwned::to_owned).collect();
    assert_eq!(upserted, [rawdoc! { "index": 2, "_id": 2 }]);
}

#[test]
fn what_stays_locked_is_given_up() {
    let statements = by_id(&[0]);
    let mut single = batch(&statements, true);
    for _ in 0..CONFLICTS {
        single.take(&answer(0, &[(0, DEADLOCK)]));
        assert!(!single.is_done());
    }
    single.take(&answer(0, &[(0, DEADLOCK)]));
    assert!(single.is_done());
    assert_eq!(outcome(&single), (vec![0], 0, false));
    // Nobody but the database's owner cuts a single one's wait short.
    let mut single = batch(&statements, false);
    single.take(&answer(0, &[(0, LOCK_TIMEOUT)]));
    assert!(single.is_done());
}

#[test]
fn only_equal_keys_of_one_document_keep_their_order() {
    let id = |id: RawBsonRef<'_>| {
        let mut query = RawDocumentBuf::new();
        query.append(cstr!("_id"), id);
        update(query)
    };
    let statements = [
        id(RawBsonRef::Int64(2)),
        id(RawBsonRef::String("a")),
        id(RawBsonRef::Int32(1)),
        id(RawBsonRef::Int32(2)),
        id(RawBsonRef::Int64(1)),
    ];
    let sorted = batch(&statements, false);
    let places: Vec<_> = sorted.part().to_vec();
    let before = |first: usize, second: usize| {
        let at = |place| places.iter().position(|each| *each == place);
        at(first) < at(second)
    };
    assert!(before(0, 3) && before(2, 4));
    for other in [
        id(RawBsonRef::Double(0.5)),
        id(RawBsonRef::Null),
        update(rawdoc! { "v": 0 }),
        update(rawdoc! { "_id": 0, "v": 0 }),
        update(rawdoc! {}),
        rawdoc! { "q": { "_id": 0 }, "u": {}, "collation": { "locale": "de" } },
    ] {
        let mut statements = by_id(&[1]);
        statements.push(other);
        assert!(batch(&statements, false).is_as_it_came());
    }
}

#[test]
fn only_an_upsert_by_the_key_itself_may_have_raced() {
    let by_k = "Index 'k_1'";
    let by_id = "Index '_id_'";
    let raced = |query: RawDocumentBuf, upsert: bool, text: &str| {
        has_raced(&rawdoc! { "q": query, "upsert": upsert }, "q", text)
    };
    assert!(raced(rawdoc! { "k": 1 }, true, by_k));
    assert!(raced(rawdoc! { "_id": 1 }, true, by_id));
    assert!(raced(rawdoc! { "_id": 1 }, true, "\"collection_pk_7\""));
    assert!(!raced(rawdoc! { "k": 1 }, false, by_k));
    assert!(!raced(rawdoc! { "k": 1 }, true, by_id));
    assert!(!raced(rawdoc! { "_id": 1 }, true, by_k));
    assert!(!raced(rawdoc! { "_id": 1, "version": 2 }, true, by_id));
}

#[test]
fn an_upsert_by_another_key_does_not_wait_at_first() {
    let statement = rawdoc! { "q": { "k": 1 }, "u": {}, "upsert": true };
    let statements = [statement];
    let mut single = batch(&statements, true);
    for _ in 0..HASTY {
        assert!(single.is_hasty());
        single.take(&answer(0, &[(0, LOCK_TIMEOUT)]));
        assert!(!single.is_done());
    }
    assert!(!single.is_hasty());
    // That the key is taken counts for itself.
    let mut taken = rawdoc! { "index": 0, "code": packed(UNIQUE), "errmsg": "Index 'k_1'" };
    taken = rawdoc! { "ok": 1.0, "n": 0, "writeErrors": [taken] };
    for _ in 0..RACES {
        single.take(&taken);
        assert!(!single.is_done());
    }
    single.take(&taken);
    assert!(single.is_done());
    for other in [
        rawdoc! { "q": { "_id": 1 }, "u": {}, "upsert": true },
        rawdoc! { "q": { "k": 1 }, "u": {}, "upsert": false },
    ] {
        assert!(!batch(&[other], true).is_hasty());
    }
}
