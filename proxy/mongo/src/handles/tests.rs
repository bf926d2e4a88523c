use twinport_core::sql::Proof;

use super::*;

const ANN: &str = "ann";

fn cursor(id: i64, user: &str, session: Option<u8>, patient: bool) -> Cursor {
    Cursor {
        id,
        identity: Identity {
            user: user.into(),
            proof: Proof::None,
        },
        session: session.map(|byte| [byte; 16]),
        transaction: None,
        client: 1,
        database: "test".to_owned(),
        namespace: "test.c".to_owned(),
        standing: Standing::Continued {
            continuation: Vec::new(),
            connection: None,
        },
        patient,
        filed: false,
    }
}

fn keep(cursors: &Cursors, cursor: Cursor, most: usize) -> Result<(), i32> {
    let kept = cursors.keep(cursor, most);
    kept.map_err(|(_, fault)| fault.code)
}

fn ids(gone: &[Cursor]) -> Vec<i64> {
    let mut ids: Vec<i64> = gone.iter().map(|cursor| cursor.id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_cursor_without_a_timeout_ends_with_its_session() {
    let cursors = Cursors::default();
    for (id, session, patient) in [
        (1, Some(1), true),
        (2, Some(2), true),
        (3, None, true),
        (4, Some(2), false),
    ] {
        keep(&cursors, cursor(id, ANN, session, patient), 10).unwrap();
    }
    let (short, long) = (Duration::from_millis(1), Duration::from_secs(60));
    assert!(cursors.expire(Some(long), long).is_empty());
    std::thread::sleep(2 * short);
    // One of the sessions is used: its cursor stays, and the other's goes though nothing else times out.
    cursors.used(&ANN.into(), [1; 16]);
    cursors.used(&"bob".into(), [2; 16]);
    assert_eq!(ids(&cursors.expire(None, short)), [2]);
    assert!(cursors.sessions.lock().len() <= 1);
    // Who has no session is closed with its client, and not before.
    std::thread::sleep(2 * short);
    assert_eq!(ids(&cursors.expire(Some(short), short)), [1, 4]);
    assert_eq!(ids(&cursors.of_client(1, Back::BySession)), [3]);
}

#[test]
fn sessions_without_a_patient_cursor_are_forgotten() {
    let cursors = Cursors::default();
    for session in 1..=3 {
        let id = i64::from(session);
        keep(&cursors, cursor(id, ANN, Some(session), true), 10).unwrap();
    }
    for id in [1, 2] {
        assert!(matches!(cursors.kill(id, ANN), Killed::Now(_)));
    }
    let long = Duration::from_secs(60);
    assert!(cursors.expire(None, long).is_empty());
    assert_eq!(cursors.sessions.lock().len(), 1);
    cursors.of_session(&(ANN.into(), [3; 16]));
    assert!(cursors.sessions.lock().is_empty());
}

#[test]
fn one_user_leaves_room_for_others() {
    let cursors = Cursors::default();
    let fill = |user: &str, from: i64| {
        let kept = (from..from + 200).take_while(|id| {
            let full = cursors.is_full(user, 100);
            let kept = keep(&cursors, cursor(*id, user, None, false), 100);
            assert_ne!(full, kept.is_ok());
            kept.is_ok()
        });
        kept.count()
    };
    assert_eq!(fill(ANN, 0), 90);
    assert_eq!(
        keep(&cursors, cursor(999, ANN, None, false), 100),
        Err(known::EXCEEDED_MEMORY_LIMIT)
    );
    let second = fill("bob", 1_000);
    assert!(second >= 5, "{second}");
    assert!(!cursors.is_full("cat", 100), "no room is left for a third");
    // A single one may be had where there is only one to have.
    let one = Cursors::default();
    keep(&one, cursor(1, ANN, None, false), 1).unwrap();
    assert!(keep(&one, cursor(2, "bob", None, false), 1).is_err());
}

#[test]
fn without_sessions_only_what_never_times_out_goes_with_its_client() {
    let cursors = Cursors::default();
    keep(&cursors, cursor(1, ANN, None, false), 10).unwrap();
    keep(&cursors, cursor(2, ANN, None, true), 10).unwrap();
    assert_eq!(ids(&cursors.of_client(1, Back::Anyhow)), [2]);
    assert_eq!(ids(&cursors.of_client(1, Back::BySession)), [1]);
}

#[test]
fn a_session_ends_also_what_a_get_more_has() {
    let cursors = Arc::new(Cursors::default());
    for (id, session) in [(1, Some(1)), (2, Some(2)), (3, None)] {
        keep(&cursors, cursor(id, ANN, session, false), 10).unwrap();
    }
    let borrowed = [1, 2, 3].map(|id| cursors.borrow(id, ANN).unwrap());
    assert!(cursors.of_session(&("bob".into(), [1; 16])).is_empty());
    assert!(cursors.of_session(&(ANN.into(), [1; 16])).is_empty());
    assert_eq!(
        cursors.borrow(1, ANN).err().map(|fault| fault.code),
        Some(known::CURSOR_NOT_FOUND)
    );
    for each in borrowed {
        each.lay_back();
    }
    assert_eq!(ids(&cursors.doomed()), [1]);
    let borrowed = [2, 3].map(|id| cursors.borrow(id, ANN).unwrap());
    cursors.of_user(ANN);
    for each in borrowed {
        each.lay_back();
    }
    assert_eq!(ids(&cursors.doomed()), [2]);
    assert_eq!(cursors.count(), 1);
}

#[test]
fn a_cursor_whose_collection_is_gone_says_so_once() {
    let cursors = Arc::new(Cursors::default());
    for id in [1, 2, 3] {
        let filed = id == 1;
        let namespace = if id == 3 { "test.d" } else { "test.c" }.to_owned();
        let cursor = Cursor {
            filed,
            namespace,
            ..cursor(id, ANN, None, false)
        };
        keep(&cursors, cursor, 10).unwrap();
    }
    let busy = cursors.borrow(2, ANN).unwrap();
    let mut reading = cursors.reading(|namespace| namespace == "test.c");
    reading.sort_unstable();
    assert_eq!(reading, [1, 2]);
    let left = cursors.lose(&reading, &"gone".into());
    assert!(
        left.iter().all(Cursor::is_kept),
        "its file is to be deleted"
    );
    assert_eq!(ids(&left), [1]);
    assert!(cursors.lose(&[1], &"gone again".into()).is_empty());
    busy.lay_back();
    assert_eq!(ids(&cursors.doomed()), [2]);
    for id in [1, 2] {
        let mut borrowed = cursors.borrow(id, ANN).unwrap();
        let cursor = borrowed.cursor().unwrap();
        assert!(matches!(&cursor.standing, Standing::Lost(why) if **why == *"gone"));
        assert!(!cursor.is_kept());
        borrowed.end();
    }
    let mut other = cursors.borrow(3, ANN).unwrap();
    let standing = &other.cursor().unwrap().standing;
    assert!(matches!(standing, Standing::Continued { .. }));
}
