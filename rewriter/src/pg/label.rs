//! The names that a list of output expressions gives its columns.

use super::cursor::Cursor;
use super::token::TokenKind;
use crate::error::Error;

/// One item of a select list or of `RETURNING`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// `*`.
    Star,
    /// `name.*`.
    QualifiedStar(String),
    /// A column of this name.
    Named(String),
    /// A column whose name doesn't matter here.
    Other,
}

/// The label of the item between two indexes.
pub(crate) fn of(cursor: &Cursor<'_>, start: usize, end: usize) -> Result<Label, Error> {
    let Some(last) = end.checked_sub(1).filter(|last| *last >= start) else {
        return Ok(Label::Other);
    };
    if cursor.is_sign(last, b'*') {
        return Ok(match last.checked_sub(2) {
            _ if last == start => Label::Star,
            Some(owner) if owner >= start && cursor.is_sign(last - 1, b'.') => cursor
                .name(owner)?
                .map_or(Label::Other, Label::QualifiedStar),
            _ => Label::Other,
        });
    }
    if is_name(cursor, last) && (last == start || can_precede_label(cursor, last - 1)) {
        return Ok(cursor.name(last)?.map_or(Label::Other, Label::Named));
    }
    // `books(…)` and `books::type` are named after the function and the column.
    let leading = leading_name(cursor, start, end);
    let named = leading + 1;
    let is_call = cursor.is_sign(named, b'(') && cursor.closing(named) == Some(last);
    let is_cast = cursor.is_sign(named, b':') && cursor.is_sign(named + 1, b':');
    match is_call || is_cast {
        true => Ok(cursor.name(leading)?.map_or(Label::Other, Label::Named)),
        false => Ok(Label::Other),
    }
}

fn is_name(cursor: &Cursor<'_>, index: usize) -> bool {
    cursor.get(index).is_some_and(|token| {
        matches!(
            token.kind,
            TokenKind::Word | TokenKind::QuotedName | TokenKind::UnicodeName
        )
    })
}

/// Whether what stands there ends an expression, or is `AS` or a point, so that a name behind it is
/// the column's.
fn can_precede_label(cursor: &Cursor<'_>, index: usize) -> bool {
    cursor.get(index).is_some_and(|token| match token.kind {
        TokenKind::Sign(sign) => matches!(sign, b')' | b']' | b'.'),
        TokenKind::Comment { .. } => false,
        _ => true,
    })
}

/// The last name of a chain of names with points between.
fn leading_name(cursor: &Cursor<'_>, start: usize, end: usize) -> usize {
    let mut at = start;
    while at + 2 < end && cursor.is_sign(at + 1, b'.') && is_name(cursor, at + 2) {
        at += 2;
    }
    at
}
