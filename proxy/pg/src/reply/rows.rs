//! Rows on their way to become JSON: found among the answers, gathered if they come in pieces, folded.

use twinport_core::scratch;
use twinport_rewriter::pg::fold::Fold;
use twinport_wire::Error;
use twinport_wire::pg::{backend, frame};

use super::walk::Walk;
use super::{Expect, Replies};
use crate::fold::{self, Unfolded};

/// The largest row that is held to be folded, in bytes as the server sends it.
const MOST: usize = 64 * 1024 * 1024;

/// What folding needs.
#[derive(Debug, Default)]
pub(super) struct Folding {
    /// The beginning of a row that does not fit into the read buffer.
    row: Vec<u8>,
    /// How many bytes of that row are to come.
    missing: usize,
    /// Room to work in.
    plain: Vec<u8>,
}

/// What became of the rows that come next.
pub(super) enum Rows {
    /// All that are there are folded.
    Done,
    /// The next is not all there.
    More,
    /// The next can't be held.
    TooLarge,
}

impl Folding {
    /// Takes bytes of a row that comes in pieces.
    fn gather(&mut self, walk: &mut Walk<'_>) {
        let rest = walk.rest();
        let now = rest
            .split_at_checked(self.missing)
            .map_or(rest, |(now, _)| now);
        self.row.extend_from_slice(now);
        self.missing -= now.len();
        walk.skip(now.len());
    }

    fn is_gathering(&self) -> bool {
        self.missing > 0
    }

    /// Folds the row that stands at the walk's place, or ends there.
    fn next(&mut self, columns: &[Fold], walk: &mut Walk<'_>) -> Result<Rows, Error> {
        if self.is_gathering() {
            self.gather(walk);
            if self.is_gathering() {
                return Ok(Rows::More);
            }
            walk.out.reserve(self.row.len() * 2);
            let folded = fold::row(&self.row, columns, &mut self.plain, walk.out);
            self.row = Vec::new();
            return done(folded);
        }
        let rest = walk.rest();
        let Some(header) = frame::peek(rest)? else {
            return Ok(Rows::More);
        };
        if header.len > MOST {
            return Ok(Rows::TooLarge);
        }
        let Some(whole) = rest.get(..header.len) else {
            if header.len > scratch::SIZE / 2 {
                self.missing = header.len;
                self.gather(walk);
            }
            return Ok(Rows::More);
        };
        if !walk.cut {
            // JSON is longer than what it is made of; the rows in a chunk are all of a kind.
            walk.out.reserve(rest.len() * 2);
        }
        walk.skip(header.len);
        done(fold::row(whole, columns, &mut self.plain, walk.out))
    }
}

fn done(folded: Result<(), Unfolded>) -> Result<Rows, Error> {
    match folded {
        Ok(()) => Ok(Rows::Done),
        Err(Unfolded::TooLarge) => Ok(Rows::TooLarge),
        Err(Unfolded::Malformed(error)) => Err(error),
    }
}

impl Replies {
    /// Whether half an answer of the server has been taken.
    pub fn is_mid_answer(&self) -> bool {
        self.passing > 0 || self.is_gathering()
    }

    fn is_gathering(&self) -> bool {
        self.folding.as_deref().is_some_and(Folding::is_gathering)
    }

    /// Folds the rows that come next, if their columns are packed.
    pub(super) fn fold_rows(&mut self, walk: &mut Walk<'_>) -> Result<Rows, Error> {
        loop {
            if !self.is_gathering() {
                match frame::peek(walk.rest())? {
                    Some(header) if header.tag == backend::DATA_ROW => self.own_before(walk),
                    _ => return Ok(Rows::Done),
                }
            }
            let (Some(folding), Some(folded)) = (
                self.folding.as_deref_mut(),
                self.due.front().and_then(Expect::fold),
            ) else {
                return Ok(Rows::Done);
            };
            self.begun = true;
            match folding.next(&folded.columns, walk)? {
                Rows::Done => {}
                Rows::More => return Ok(Rows::More),
                Rows::TooLarge => {
                    folded.outgrow();
                    return Ok(Rows::TooLarge);
                }
            }
        }
    }
}
