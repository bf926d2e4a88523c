//! The database's writing functions, and how they are called.

use twinport_core::sql::{Connection, Rows, SqlError};

const BEGIN_STEADY: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ";

/// One of the writing functions.
pub(crate) struct Write {
    pub(crate) patient: Way,
    /// A statement fails that would have to wait for a lock.
    pub(crate) hasty: Option<Way>,
    /// As part of a transaction.
    pub(crate) within: &'static str,
}

/// How a writing function is called.
pub(crate) struct Way {
    /// The write alone.
    plain: &'static str,
    /// With a record of what it did, by the record's `id`, the last parameter: whoever sends it again gets that.
    pub(super) recorded: &'static str,
    /// With the extension's own record, which covers a command of one write, sent again once.
    pub(super) numbered: &'static str,
    /// A statement fails that comes on a row which somebody has changed since the write began.
    steady: bool,
}

impl Way {
    /// Runs the write alone.
    pub(crate) async fn run(
        &self,
        connection: &mut Box<dyn Connection>,
        parameters: &[Option<&[u8]>],
    ) -> Result<Rows, SqlError> {
        self.run_as(self.plain, connection, parameters).await
    }

    /// Runs one of the three.
    pub(super) async fn run_as(
        &self,
        statement: &'static str,
        connection: &mut Box<dyn Connection>,
        parameters: &[Option<&[u8]>],
    ) -> Result<Rows, SqlError> {
        if !self.steady {
            return connection.run(statement, parameters).await;
        }
        connection.command(BEGIN_STEADY).await?;
        let result = connection.run(statement, parameters).await;
        match &result {
            Ok(_) => connection.command("COMMIT").await?,
            Err(SqlError::Server { fatal: false, .. }) => connection.command("ROLLBACK").await?,
            Err(_) => {}
        }
        result
    }
}

macro_rules! plain {
    ($function:literal, $($arguments:literal),+) => {
        concat!(
            "SELECT p_result, p_success FROM documentdb_api.",
            $function, "(", $($arguments,)+ ")"
        )
    };
}

macro_rules! way {
    ($function:literal, ($($arguments:literal),+), $id:literal, ($($recorded_as:literal),+), $steady:literal) => {
        Way {
            plain: plain!($function, $($arguments),+),
            recorded: concat!(
                "INSERT INTO twinport.retryable_writes (id, result, success) SELECT ",
                $($recorded_as,)+ ", p_result::bytea, p_success FROM documentdb_api.",
                $function, "(", $($arguments,)+ ") RETURNING result, success"
            ),
            numbered: concat!(
                "SELECT p_result, p_success FROM documentdb_api.",
                $function, "(", $($arguments,)+ ", pg_catalog.encode(", $id, ", 'hex'))"
            ),
            steady: $steady,
        }
    };
}

macro_rules! patient {
    ($function:literal, $others:literal, $id:literal) => {
        way!($function, ("$1, ", $others), $id, ($id), false)
    };
}

/// Of one row, the function deletes what its own snapshot shows. A row that was changed since then it locks, and leaves:
/// nothing is deleted, and yet the transaction has a number, which it has not where nothing was found. By another
/// snapshot the row, still locked, is deleted; another one that matches may come first, and so it is tried some times.
macro_rules! found_again {
    ($function:literal, $others:literal, $count:literal, $most:literal, ($($first:literal),*), ($($later:literal),*)) => {
        concat!(
            "(WITH RECURSIVE tries AS (\
                SELECT 1 AS try, p_result, p_success, (p_success \
                    AND pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL \
                    AND documentdb_core.bson_get_value_text(p_result, '", $count, "') = '0') IS TRUE AS missed \
                FROM documentdb_api.", $function, "($1, ", $others, $($first,)* ") \
                UNION ALL \
                SELECT try + 1, again.p_result, again.p_success, (again.p_success \
                    AND documentdb_core.bson_get_value_text(again.p_result, '", $count, "') = '0') IS TRUE \
                FROM tries, LATERAL documentdb_api.", $function,
            "(CASE WHEN tries.missed THEN $1::text END, ", $others, $($later,)* ") AS again \
                WHERE tries.missed AND tries.try < ", $most, ") \
            SELECT p_result, p_success FROM tries WHERE NOT missed OR try = ", $most, ") AS written"
        )
    };
}

/// As [`patient`], for what deletes one row, with the place in the answer where it stands how many. The extension's own
/// record is one of each try.
macro_rules! deleting {
    ($function:literal, $others:literal, $id:literal, $count:literal) => {
        Way {
            plain: concat!(
                "SELECT p_result, p_success FROM ",
                found_again!($function, $others, $count, "5", (), ())
            ),
            recorded: concat!(
                "INSERT INTO twinport.retryable_writes (id, result, success) SELECT ",
                $id,
                ", p_result::bytea, p_success FROM ",
                found_again!($function, $others, $count, "5", (), ()),
                " RETURNING result, success"
            ),
            numbered: concat!(
                "SELECT p_result, p_success FROM ",
                found_again!(
                    $function,
                    $others,
                    $count,
                    "2",
                    (", pg_catalog.encode(", $id, ", 'hex')"),
                    (", pg_catalog.encode(", $id, ", 'hex') || '+'")
                )
            ),
            steady: false,
        }
    };
}

/// A wait is for one row, and a batch that is in the way is mostly over by then. What is recorded waits as ever: for
/// the same write that was sent before and is under way.
macro_rules! hasty {
    ($function:literal, $others:literal, $id:literal, $steady:literal) => {
        way!(
            $function,
            (
                "CASE WHEN pg_catalog.set_config('lock_timeout', '20ms', true) IS NOT NULL \
                    THEN $1::text END, ",
                $others
            ),
            $id,
            (
                "CASE WHEN pg_catalog.set_config('lock_timeout', '0', true) IS NOT NULL THEN ",
                $id,
                "::bytea END"
            ),
            $steady
        )
    };
}

/// Inserts wait for nothing but a document with the same key.
pub(crate) const INSERT: Write = Write {
    patient: patient!("insert", "$2, $3", "$4"),
    hasty: None,
    within: plain!("insert", "$1, $2, $3"),
};
pub(crate) const UPDATE: Write = Write {
    patient: patient!("update", "$2, $3", "$4"),
    hasty: Some(hasty!("update", "$2, $3", "$4", false)),
    within: plain!("update", "$1, $2, $3"),
};
pub(crate) const DELETE: Write = Write {
    patient: deleting!("delete", "$2, $3", "$4", "n"),
    hasty: Some(hasty!("delete", "$2, $3", "$4", false)),
    within: plain!("delete", "$1, $2, $3"),
};
/// For a batch in which some delete one row: which of them has left one, its answer doesn't tell.
pub(crate) const DELETE_ONES: Write = Write {
    hasty: Some(hasty!("delete", "$2, $3", "$4", true)),
    ..DELETE
};
pub(crate) const FIND_AND_MODIFY: Write = Write {
    patient: patient!("find_and_modify", "$2", "$3"),
    hasty: Some(hasty!("find_and_modify", "$2", "$3", false)),
    within: plain!("find_and_modify", "$1, $2"),
};
pub(crate) const FIND_AND_REMOVE: Write = Write {
    patient: deleting!("find_and_modify", "$2", "$3", "lastErrorObject.n"),
    hasty: None,
    ..FIND_AND_MODIFY
};
