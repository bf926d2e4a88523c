//! `SHOW CURSORS` and `SHOW TRANSACTIONS`: what other wings keep for their clients between two commands.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use twinport_core::view::{Cursor, Transaction, View};

use crate::admin::table::Kind::{Int, Text};
use crate::admin::table::{Cell, Heading, Rows};
use crate::wing::Wing;

pub(super) const CURSORS: &[Heading] = &[
    ("id", Int),
    ("user", Text),
    ("namespace", Text),
    ("state", Text),
    ("idle", Int),
    ("session", Text),
    ("transaction", Int),
    ("link", Int),
    ("protocol", Text),
];

pub(super) fn cursors(wing: &Wing) -> Rows {
    Box::new(wing.views().into_iter().flat_map(|view| {
        let protocol = view.protocol();
        let cursors = view.cursors().into_iter();
        cursors.map(move |cursor| cursor_row(&cursor, protocol))
    }))
}

fn cursor_row(cursor: &Cursor, protocol: &str) -> Vec<Cell> {
    vec![
        Cell::Int(cursor.id),
        cursor.user.as_str().into(),
        cursor.namespace.as_str().into(),
        state(cursor.idle).into(),
        cursor.idle.map(|idle| idle.as_secs()).into(),
        cursor.session.as_deref().into(),
        cursor.transaction.map_or(Cell::Null, Cell::Int),
        cursor.upstream.into(),
        protocol.into(),
    ]
}

pub(super) const TRANSACTIONS: &[Heading] = &[
    ("session", Text),
    ("number", Int),
    ("user", Text),
    ("state", Text),
    ("idle", Int),
    ("link", Int),
    ("protocol", Text),
];

pub(super) fn transactions(wing: &Wing) -> Rows {
    Box::new(wing.views().into_iter().flat_map(|view| {
        let protocol = view.protocol();
        let transactions = view.transactions().into_iter();
        transactions.map(move |transaction| transaction_row(&transaction, protocol))
    }))
}

fn transaction_row(transaction: &Transaction, protocol: &str) -> Vec<Cell> {
    vec![
        transaction.session.as_str().into(),
        Cell::Int(transaction.number),
        transaction.user.as_str().into(),
        state(transaction.idle).into(),
        transaction.idle.map(|idle| idle.as_secs()).into(),
        transaction.upstream.into(),
        protocol.into(),
    ]
}

fn state(idle: Option<Duration>) -> &'static str {
    if idle.is_some() { "idle" } else { "active" }
}

/// The upstream connections that are held between two commands.
pub(super) fn connections(views: &[Arc<dyn View>]) -> HashSet<u64> {
    let of_cursors = views.iter().flat_map(|view| view.cursors());
    let of_transactions = views.iter().flat_map(|view| view.transactions());
    of_cursors
        .filter_map(|cursor| cursor.upstream)
        .chain(of_transactions.filter_map(|transaction| transaction.upstream))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_busy_has_no_idle_time() {
        let mut cursor = Cursor {
            id: -5,
            user: "alice".into(),
            namespace: "shop.books".into(),
            session: None,
            transaction: None,
            idle: Some(Duration::from_millis(2500)),
            upstream: Some(7),
        };
        let row = cursor_row(&cursor, "mongo");
        assert_eq!(row.len(), CURSORS.len());
        let expected = [
            Cell::Int(-5),
            "alice".into(),
            "shop.books".into(),
            "idle".into(),
            Cell::Int(2),
        ];
        assert_eq!(row.get(..5), Some(&expected[..]));
        cursor.idle = None;
        let row = cursor_row(&cursor, "mongo");
        assert_eq!(row.get(3..5), Some(&["active".into(), Cell::Null][..]));
    }

    #[test]
    fn a_transaction_has_all_its_columns() {
        let transaction = Transaction {
            user: "alice".into(),
            session: "ab".into(),
            number: 3,
            idle: None,
            upstream: None,
        };
        assert_eq!(
            transaction_row(&transaction, "mongo").len(),
            TRANSACTIONS.len()
        );
    }
}
