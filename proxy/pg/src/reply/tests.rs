use tokio::io::duplex;
use twinport_core::stream::Stream;
use twinport_rewriter::pg::fold::Fold;
use twinport_wire::pg::backend::build;

use super::*;
use crate::auth::Keyring;
use crate::cancel::Target;
use crate::fold::tests::{data_row, folds, packed};
use crate::parameters::Reported;
use crate::server::Server;
use crate::statement::Folded;

fn upstream() -> Upstream {
    let settings = twinport_config::Settings::parse(
        "[databases.a]\nurl = \"postgres://a@127.0.0.1:1/a?sslmode=disable\"\n[users.a]\npassword = \"a\"\n",
        "test.toml",
    )
    .unwrap();
    let database = settings.database("a").unwrap();
    let target = Target {
        server: Server::new(&database.upstream, Keyring::new())
            .unwrap()
            .into(),
        pid: 1,
        secret: Vec::new(),
        holder: Arc::default(),
    };
    Upstream::new(Stream::Memory(duplex(1).0), Reported::default(), target)
}

fn folded(columns: Vec<Fold>) -> Arc<Folded> {
    Arc::new(Folded::new(columns, Box::default()))
}

fn execute(fold: Option<Arc<Folded>>) -> Expect {
    Expect::Execute {
        fold,
        drops: Drops::Nothing,
        timed: false,
    }
}

/// The answers to a folded statement, and after it one that is not, in a batch: from the server, and to the client.
fn answers(title: &str) -> (Vec<u8>, Vec<u8>) {
    let books = packed(&[(1, title), (2, "b")]);
    let json = format!("[{{\"id\":1,\"title\":\"{title}\"}},{{\"id\":2,\"title\":\"b\"}}]");
    let values: [(&[u8], &[u8]); 3] = [
        (&books, json.as_bytes()),
        (b"", b"[]"),
        (&books, json.as_bytes()),
    ];
    let (mut from, mut to) = (Vec::new(), Vec::new());
    build::bind_complete(&mut from);
    build::bind_complete(&mut to);
    for (packed, json) in values {
        from.extend(data_row(&[Some(b"x"), Some(packed)]));
        to.extend(data_row(&[Some(b"x"), Some(json)]));
    }
    let mut end = Vec::new();
    build::portal_suspended(&mut end);
    from.extend(&end);
    to.extend(end);
    // An answer of our own, right before rows.
    build::close_complete(&mut to);
    from.extend(data_row(&[None, None]));
    to.extend(data_row(&[None, Some(b"[]")]));
    let mut end = Vec::new();
    build::command_complete(&mut end, b"SELECT 4");
    build::bind_complete(&mut end);
    end.extend(data_row(&[Some(&books)]));
    build::command_complete(&mut end, b"SELECT 1");
    build::ready_for_query(&mut end, Status::Idle);
    from.extend(&end);
    to.extend(end);
    (from, to)
}

fn expecting() -> Replies {
    let mut replies = Replies::default();
    let fold = folded(folds());
    replies.push(Expect::Bind(None));
    replies.push(execute(Some(Arc::clone(&fold))));
    replies.push(Expect::Closed(None));
    replies.push(execute(Some(fold)));
    replies.push(Expect::Bind(None));
    replies.push(execute(None));
    replies.push(Expect::Sync { shown: true });
    replies
}

/// What the client gets of answers that come in these pieces; half a frame waits for the next piece.
fn taken<'a>(replies: &mut Replies, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut upstream, mut out, mut kept) = (upstream(), Vec::new(), Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        let mut shown = Vec::new();
        let taken = replies
            .take(&kept, &mut upstream, false, &mut shown)
            .unwrap();
        assert_eq!(taken.event, None);
        if taken.whole {
            assert!(shown.is_empty());
            out.extend_from_slice(kept.get(..taken.consumed).unwrap());
        }
        out.extend(shown);
        kept.drain(..taken.consumed);
    }
    assert!(kept.is_empty());
    out
}

#[test]
fn rows_are_folded_wherever_a_chunk_ends() {
    let (from, to) = answers("a long enough title");
    for at in 0..=from.len() {
        let mut replies = expecting();
        let (first, second) = from.split_at(at);
        assert_eq!(taken(&mut replies, [first, second].into_iter()), to, "{at}");
        assert!(replies.is_empty() && !replies.is_mid_answer());
    }
    assert_eq!(taken(&mut expecting(), from.chunks(1)), to);
}

#[test]
fn rows_larger_than_the_read_buffer_are_gathered() {
    let (from, to) = answers(&"long ".repeat(40_000));
    for size in [999, 20_000, 65_536, from.len()] {
        let mut replies = expecting();
        assert_eq!(taken(&mut replies, from.chunks(size)), to, "{size}");
    }
    let mut replies = expecting();
    taken(&mut replies, from.get(..5).into_iter());
    let row = from.get(5..50_000).unwrap();
    let shown = taken(&mut replies, [row].into_iter());
    assert!(shown.is_empty() && replies.is_mid_answer() && !replies.is_mid_frame());
}

#[test]
fn a_row_that_cannot_be_held_ends_the_session() {
    let mut replies = Replies::default();
    let fold = folded(folds());
    replies.push(execute(Some(Arc::clone(&fold))));
    let header = [backend::DATA_ROW, 0x04, 0, 0, 1];
    let taken = replies.take(&header, &mut upstream(), false, &mut Vec::new());
    assert_eq!(taken.unwrap().event, Some(Event::TooLarge));
    assert!(fold.is_outgrown());
}

#[test]
fn an_error_ends_a_folded_answer() {
    let mut replies = expecting();
    let (from, _) = answers("a");
    let upto = 5 + data_row(&[Some(b"x"), Some(&packed(&[(1, "a"), (2, "b")]))]).len();
    let mut from = from.get(..upto).unwrap().to_vec();
    crate::fault::Fault::error("22012", "division by zero")
        .to_bytes()
        .iter()
        .for_each(|byte| from.push(*byte));
    build::ready_for_query(&mut from, Status::Idle);
    let out = taken(&mut replies, [&from[..]].into_iter());
    assert!(out.windows(5).any(|part| part == b"22012"));
    assert!(replies.is_empty());
}
