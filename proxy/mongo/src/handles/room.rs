//! How many cursors a user may open, so that others find room.

use std::collections::HashMap;

use super::Place;
use crate::fault::{Fault, known};

/// A user may open cursors while it has fewer than this many times those that are still free. One alone so has nine
/// tenths at most, and those who come later find room.
const SHARE: usize = 9;

/// Whether a user may open one more of `most`.
pub(super) fn has_room(places: &HashMap<i64, Place>, user: &str, most: usize) -> bool {
    fits(places, user, most, |_| true)
}

/// Whether a user may open one more that stands in one of the database's `files`.
pub(super) fn has_file(places: &HashMap<i64, Place>, user: &str, files: usize) -> bool {
    fits(places, user, files, is_filed)
}

fn fits(
    places: &HashMap<i64, Place>,
    user: &str,
    most: usize,
    counts: impl Fn(&Place) -> bool,
) -> bool {
    let share = |taken| most.saturating_sub(taken).saturating_mul(SHARE);
    // Mostly nobody has to count.
    if places.len() < share(places.len()) {
        return true;
    }
    let (all, own) = count(places, user, counts);
    own < share(all)
}

/// How many there are that count, and how many of these are the user's.
fn count(
    places: &HashMap<i64, Place>,
    user: &str,
    counts: impl Fn(&Place) -> bool,
) -> (usize, usize) {
    let counted = places.values().filter(|place| counts(place));
    counted.fold((0, 0), |(all, own), place| {
        (all + 1, own + usize::from(place.user() == user))
    })
}

/// Whether it stands in a file; of one that a getMore has nobody can say.
fn is_filed(place: &Place) -> bool {
    match place {
        Place::Waiting(cursor, _) => cursor.filed,
        Place::Busy(..) | Place::Doomed(_) => true,
    }
}

/// What the client gets whose cursor has no room.
pub(super) fn too_many(places: &HashMap<i64, Place>, user: &str, most: usize) -> Fault {
    let (all, own) = count(places, user, |_| true);
    Fault::new(
        known::EXCEEDED_MEMORY_LIMIT,
        format_args!("too many cursors: {all} of {most} are open, {own} of them this user's"),
    )
    .hint("Read cursors to their end or close them, or raise mongo.max_cursors")
}

/// What the client gets for whose cursor the database should have no file.
pub(super) fn too_many_files(places: &HashMap<i64, Place>, user: &str, files: usize) -> Fault {
    let (all, own) = count(places, user, is_filed);
    Fault::new(
        known::EXCEEDED_MEMORY_LIMIT,
        format_args!(
            "too many cursors that the database keeps in files, as it does those of a sort or an aggregation: {all} \
             of {files} are open, {own} of them this user's"
        ),
    )
    .hint(RAISE)
}

/// The same where the database has said so: it may have other clients than us.
pub(crate) fn no_file() -> Fault {
    Fault::new(
        known::EXCEEDED_MEMORY_LIMIT,
        "too many cursors: the database has no file left for another",
    )
    .hint(RAISE)
}

const RAISE: &str = "Read cursors to their end or close them, or raise documentdb.maxCursorFileCount in the \
     database's configuration";
