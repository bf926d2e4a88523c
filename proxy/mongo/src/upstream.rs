//! The database behind the port: which of DocumentDB's functions does what, and how writes are applied once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use twinport_core::sql::{Connection, Identity, Made, Rows, SqlError};

use crate::forward;
use crate::handles::{Cursor, Standing};
use crate::record::{Attempt, Record, Recorder};
use crate::wing::Wing;

mod doomed;
mod users;
mod write;

pub(crate) use doomed::Doomed;
use users::Users;
pub(crate) use write::{
    DELETE, DELETE_ONES, FIND_AND_MODIFY, FIND_AND_REMOVE, INSERT, UPDATE, Way, Write,
};

/// What is in force on every connection: cursors that need no connection of their own between two batches, collations
/// where the extension knows them, and no notices.
pub const SETTINGS: &[(&str, &str)] = &[
    ("application_name", "twinport-mongo"),
    ("client_min_messages", "error"),
    ("documentdb.usefilebasedpersistedcursors", "on"),
    ("documentdb_core.enablecollation", "on"),
];

/// In the place of a cursor's number: the extension chooses one.
pub(crate) const ANY_NUMBER: [u8; 8] = [0; 8];

/// The cursor's number is the third parameter. Beside the first page, how many cursors the database has files for: nothing where it doesn't know of such a bound.
pub(crate) const FIND: &str = "SELECT cursorpage, continuation, persistconnection, cursorid, \
     pg_catalog.current_setting('documentdb.maxCursorFileCount', true) \
     FROM documentdb_api.find_cursor_first_page($1, $2, $3)";
pub(crate) const AGGREGATE: &str = "SELECT cursorpage, continuation, persistconnection, cursorid, \
     pg_catalog.current_setting('documentdb.maxCursorFileCount', true) \
     FROM documentdb_api.aggregate_cursor_first_page($1, $2, $3)";
pub(crate) const LIST_COLLECTIONS: &str = "SELECT cursorpage, continuation, persistconnection, cursorid, \
     pg_catalog.current_setting('documentdb.maxCursorFileCount', true) \
     FROM documentdb_api.list_collections_cursor_first_page($1, $2, $3)";
pub(crate) const LIST_INDEXES: &str = "SELECT cursorpage, continuation, persistconnection, cursorid \
     FROM documentdb_api.list_indexes_cursor_first_page($1, $2, $3)";
pub(crate) const GET_MORE: &str =
    "SELECT cursorpage, continuation FROM documentdb_api.cursor_get_more($1, $2, $3)";

pub(crate) const COUNT: &str = "SELECT document FROM documentdb_api.count_query($1, $2)";
pub(crate) const DISTINCT: &str = "SELECT document FROM documentdb_api.distinct_query($1, $2)";

pub(crate) const CREATE_INDEXES: &str =
    "SELECT retval, ok, requests FROM documentdb_api.create_indexes_background($1, $2)";
/// As part of a transaction: on a collection that the transaction has made, or that is empty.
pub(crate) const CREATE_INDEXES_WITHIN: &str =
    "SELECT documentdb_api_internal.create_indexes_non_concurrently($1, $2)";
/// The same where the collection has no more than so many bytes, and nothing is being built there: no row otherwise. It
/// keeps writers out, so that it may wait for those there are for a moment only: others wait behind it.
pub(crate) const CREATE_INDEXES_NOW: &str = "SELECT documentdb_api_internal.create_indexes_non_concurrently( \
         CASE WHEN pg_catalog.set_config('lock_timeout', '20ms', true) IS NOT NULL \
             THEN $1::text END, $2, true) \
     FROM documentdb_api_catalog.collections c \
     WHERE c.database_name = $1::text AND c.collection_name = $3::text \
     AND c.view_definition IS NULL \
     AND pg_catalog.pg_table_size(pg_catalog.to_regclass( \
         pg_catalog.concat('documentdb_data.documents_', c.collection_id))) <= $4::bigint \
     AND NOT EXISTS (SELECT FROM documentdb_api_catalog.collection_indexes i \
         WHERE i.collection_id = c.collection_id AND NOT i.index_is_valid)";
pub(crate) const INDEX_STATUS: &str =
    "SELECT retval, ok, complete FROM documentdb_api_internal.check_build_index_status($1)";
pub(crate) const DROP_INDEXES: &str = "CALL documentdb_api.drop_indexes($1, $2, NULL)";
pub(crate) const CREATE: &str = "SELECT documentdb_api.create_collection_view($1, $2)";
pub(crate) const EXISTS: &str = "SELECT collection_id FROM documentdb_api_catalog.collections \
     WHERE database_name = $1::text AND collection_name = $2::text";
pub(crate) const DROP: &str = "SELECT documentdb_api.drop_collection($1, $2)";
pub(crate) const DROP_DATABASE: &str = "SELECT documentdb_api.drop_database($1)::text";
pub(crate) const COLL_MOD: &str = "SELECT documentdb_api.coll_mod($1, $2, $3)";
pub(crate) const RENAME: &str = "SELECT documentdb_api.rename_collection($1)";
pub(crate) const LIST_DATABASES: &str = "SELECT documentdb_api.list_databases($1)";
pub(crate) const COLL_STATS: &str = "SELECT documentdb_api.coll_stats($1, $2, $3)";
pub(crate) const DB_STATS: &str = "SELECT documentdb_api.db_stats($1, $2)";
pub(crate) const VALIDATE: &str = "SELECT documentdb_api.validate($1, $2)";
pub(crate) const COMPACT: &str = "SELECT documentdb_api.compact($1)";
pub(crate) const CURRENT_OP: &str = "SELECT documentdb_api.current_op_command($1)";
pub(crate) const KILL_OP: &str = "SELECT documentdb_api.kill_op($1)";
pub(crate) const CREATE_USER: &str = "SELECT documentdb_api.create_user($1)";
pub(crate) const UPDATE_USER: &str = "SELECT documentdb_api.update_user($1)";
pub(crate) const DROP_USER: &str = "SELECT documentdb_api.drop_user($1)";
pub(crate) const USERS_INFO: &str = "SELECT documentdb_api.users_info($1)";
/// Whether who asks is a superuser, and which of DocumentDB's roles are its own: to do all, to write, to read.
pub(crate) const OWN_ROLES: &str = "SELECT r.rolsuper, \
     EXISTS (SELECT FROM pg_catalog.pg_roles g WHERE g.rolname = 'documentdb_admin_role' \
         AND pg_catalog.pg_has_role(g.oid, 'USAGE')), \
     EXISTS (SELECT FROM pg_catalog.pg_roles g WHERE g.rolname = 'documentdb_readwrite_role' \
         AND pg_catalog.pg_has_role(g.oid, 'USAGE')), \
     EXISTS (SELECT FROM pg_catalog.pg_roles g WHERE g.rolname = 'documentdb_readonly_role' \
         AND pg_catalog.pg_has_role(g.oid, 'USAGE')) \
     FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";
/// Which of these another was given; no row for those that are the extension's own.
pub(crate) const ROLES_OF: &str = "SELECT \
     EXISTS (SELECT FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid \
         WHERE m.member = u.oid AND g.rolname = 'documentdb_admin_role'), \
     EXISTS (SELECT FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid \
         WHERE m.member = u.oid AND g.rolname = 'documentdb_readonly_role') \
     FROM pg_catalog.pg_roles u WHERE u.rolname = $1::text AND u.rolcanlogin \
     AND u.rolname !~ '^(documentdb|pg)_'";
pub(crate) const ROLES_INFO: &str = "SELECT documentdb_api.roles_info($1)";
pub(crate) const CREATE_ROLE: &str = "SELECT documentdb_api.create_role($1)";
pub(crate) const UPDATE_ROLE: &str = "SELECT documentdb_api.update_role($1)";
pub(crate) const DROP_ROLE: &str = "SELECT documentdb_api.drop_role($1)";

const RECORDED: &str = "SELECT result, success FROM twinport.retryable_writes WHERE id = $1";

/// Each user sees its own records alone.
const MAKE_RECORDS: &str = "CREATE SCHEMA IF NOT EXISTS twinport; \
     GRANT USAGE ON SCHEMA twinport TO PUBLIC; \
     CREATE TABLE IF NOT EXISTS twinport.retryable_writes ( \
         owner name NOT NULL DEFAULT current_user, \
         id bytea NOT NULL, \
         result bytea NOT NULL, \
         success boolean NOT NULL, \
         written timestamptz NOT NULL DEFAULT now(), \
         CONSTRAINT retryable_writes_once PRIMARY KEY (owner, id)); \
     ALTER TABLE twinport.retryable_writes ENABLE ROW LEVEL SECURITY; \
     ALTER TABLE twinport.retryable_writes FORCE ROW LEVEL SECURITY; \
     DROP POLICY IF EXISTS own ON twinport.retryable_writes; \
     CREATE POLICY own ON twinport.retryable_writes USING (owner = current_user); \
     GRANT SELECT, INSERT, DELETE ON twinport.retryable_writes TO PUBLIC";

/// The same for a table that was made before its owner was bound by that; others may not, and need not.
const BIND_OWNER: &str = "SET LOCAL lock_timeout = '1s'; \
     DO $$ BEGIN \
         IF EXISTS (SELECT FROM pg_catalog.pg_class \
             WHERE oid = 'twinport.retryable_writes'::pg_catalog.regclass \
             AND NOT relforcerowsecurity AND pg_catalog.pg_has_role(relowner, 'USAGE')) THEN \
             ALTER TABLE twinport.retryable_writes FORCE ROW LEVEL SECURITY; \
         END IF; \
     END $$";

/// Sessions live for half an hour; nothing is sent again after that.
const SWEEP_RECORDS: &str = "DELETE FROM twinport.retryable_writes \
     WHERE owner = current_user AND written < now() - interval '30 minutes'";

/// Fails if the user may not read and write records.
const TRY_RECORDS: &str = "INSERT INTO twinport.retryable_writes (id, result, success) \
     SELECT id, result, success FROM twinport.retryable_writes WHERE false";

/// A transaction that has written nothing needs no note.
const NOTE: &str = "INSERT INTO twinport.retryable_writes (id, result, success) \
     SELECT $1, '', true WHERE pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL";

/// Succeeds if there is no such note; waits for a commit that is under way.
const NOTE_IN_ITS_PLACE: &str = "INSERT INTO twinport.retryable_writes (id, result, success) \
     VALUES ($1, '', true)";

/// The record of writes that may be sent again, and of transactions whose commit may be.
#[derive(Default)]
pub(crate) struct Ledger {
    users: Users,
    told: AtomicBool,
}

impl Ledger {
    /// Runs a write with its record.
    pub(crate) async fn once(
        &self,
        connection: &mut Box<dyn Connection>,
        write: &Way,
        parameters: &[Option<&[u8]>],
        attempt: &Attempt,
    ) -> Result<Rows, SqlError> {
        let record = &attempt.record;
        let parameters = &[parameters, &[Some(&record.id)]].concat();
        let mut recorder = match self.users.is_refused(&record.user) {
            true => Recorder::Extension,
            false => Recorder::Table,
        };
        let mut made = false;
        loop {
            if attempt.recorder(recorder) == Recorder::Extension {
                return write.run_as(write.numbered, connection, parameters).await;
            }
            let result = write.run_as(write.recorded, connection, parameters).await;
            if !is_missing(&result) {
                return self.settle(connection, result, record).await;
            }
            let withdrawn = attempt.withdraw();
            if !made && (withdrawn || !is_denied(&result)) {
                // Two may make it at a time, and one of them fails: what counts is the second try. If the table isn't
                // there, there is no record either, nor the write that would have made it.
                drop(connection.command(MAKE_RECORDS).await);
                made = true;
            } else if withdrawn {
                self.refuse(&record.user);
                recorder = Recorder::Extension;
            } else {
                return recorded_before(connection, record, result).await;
            }
        }
    }

    /// What became of a write that the table has taken a record of, or had one.
    async fn settle(
        &self,
        connection: &mut Box<dyn Connection>,
        result: Result<Rows, SqlError>,
        record: &Record,
    ) -> Result<Rows, SqlError> {
        if is_recorded(&result) {
            return connection.run(RECORDED, &[Some(&record.id)]).await;
        }
        if result.is_ok() {
            self.open(connection, &record.user).await;
            self.sweep(connection, record).await;
        }
        result
    }

    /// Whether a write is recorded in the table, which is known to be there.
    pub(crate) fn has_table(&self, attempt: &Attempt) -> bool {
        self.users.has_table(&attempt.record.user)
            && attempt.recorder(Recorder::Table) == Recorder::Table
    }

    /// As [`Ledger::once`], by a statement that records what it did, if it did anything. The record's `id` is the last
    /// parameter. Rows are the statement's, or the record's of what was done before.
    pub(crate) async fn once_made(
        &self,
        connection: &mut Box<dyn Connection>,
        write: &Made,
        parameters: &[Option<&[u8]>],
        record: &Record,
    ) -> Result<Rows, SqlError> {
        let result = connection.run_made(write, parameters).await;
        if is_recorded(&result) {
            let before = connection.run(RECORDED, &[Some(&record.id)]).await?;
            return if before.is_empty() {
                result
            } else {
                Ok(before)
            };
        }
        if result.is_ok() {
            self.sweep(connection, record).await;
        }
        result
    }

    /// Makes the table, if it can be made: inside a transaction it would be too late. Whether it is there.
    pub(crate) async fn prepare(
        &self,
        connection: &mut Box<dyn Connection>,
        user: &Arc<str>,
    ) -> bool {
        if self.users.has_table(user) {
            return true;
        }
        if self.users.is_refused(user) {
            return false;
        }
        let mut tried = connection.run(TRY_RECORDS, &[]).await;
        if is_missing(&tried) {
            drop(connection.command(MAKE_RECORDS).await);
            tried = connection.run(TRY_RECORDS, &[]).await;
        }
        if is_missing(&tried) {
            self.refuse(user);
        }
        if tried.is_ok() {
            self.open(connection, user).await;
        }
        tried.is_ok()
    }

    /// Notes in a transaction that it is about to be committed; `false` if there is no place for that.
    pub(crate) async fn note(
        &self,
        connection: &mut Box<dyn Connection>,
        record: &Record,
    ) -> Result<bool, SqlError> {
        if !self.users.has_table(&record.user) {
            return Ok(false);
        }
        let noted = connection.run(NOTE, &[Some(&record.id)]).await;
        if is_missing(&noted) {
            self.users.forget(&record.user);
        }
        noted?;
        Ok(true)
    }

    /// Whether a transaction was committed after it was noted.
    pub(crate) async fn was_committed(
        &self,
        connection: &mut Box<dyn Connection>,
        record: &Record,
    ) -> Result<bool, SqlError> {
        connection
            .command("BEGIN; SET LOCAL lock_timeout = '5s'")
            .await?;
        let noted = connection.run(NOTE_IN_ITS_PLACE, &[Some(&record.id)]).await;
        connection.command("ROLLBACK").await?;
        if is_recorded(&noted) {
            return Ok(true);
        }
        noted.map(|_| false)
    }

    /// Throws old records of the user away that has just made this one, once in a while.
    pub(crate) async fn sweep(&self, connection: &mut Box<dyn Connection>, record: &Record) {
        if self.users.is_due(&record.user) {
            drop(connection.command(SWEEP_RECORDS).await);
        }
    }

    /// Notes that a user has the table, which may be its own.
    async fn open(&self, connection: &mut Box<dyn Connection>, user: &Arc<str>) {
        if self.users.open(user) {
            drop(connection.command(BIND_OWNER).await);
        }
    }

    fn refuse(&self, user: &Arc<str>) {
        self.users.refuse(user);
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %user,
                "retried writes of several documents may be applied twice, and a commit whose answer was lost \
                 stays unknown: the database user may not make the table twinport.retryable_writes; GRANT CREATE \
                 ON DATABASE … TO it, or write once as a user who may"
            );
        }
    }
}

/// What a write did that was sent before to be recorded in the table, where that can't be done any more.
///
/// # Errors
/// When the record is not to be read, or not there (yet): what was sent before may have been applied, or still be.
async fn recorded_before(
    connection: &mut Box<dyn Connection>,
    record: &Record,
    refused: Result<Rows, SqlError>,
) -> Result<Rows, SqlError> {
    if let Ok(rows) = connection.run(RECORDED, &[Some(&record.id)]).await
        && !rows.is_empty()
    {
        return Ok(rows);
    }
    refused.map_err(|error| match error {
        SqlError::Server {
            code,
            message,
            detail,
            fatal,
        } => SqlError::Server {
            code,
            message: format!(
                "the write was sent before, and nobody can say whether it was applied: {message}"
            ),
            detail,
            fatal,
        },
        other => other,
    })
}

/// Whether the table of records isn't there, or is not open to this user.
fn is_missing(result: &Result<Rows, SqlError>) -> bool {
    matches!(result, Err(SqlError::Server { code, message, .. })
        if matches!(&**code, "42P01" | "3F000" | "42501")
            && (message.contains("twinport") || message.contains("retryable_writes")))
}

/// Whether the user has no right to what is there.
fn is_denied(result: &Result<Rows, SqlError>) -> bool {
    matches!(result, Err(error) if error.code() == Some("42501"))
}

/// Whether the write has been applied before.
fn is_recorded(result: &Result<Rows, SqlError>) -> bool {
    matches!(result, Err(SqlError::Server { code, message, .. })
        if code == "23505" && message.contains("retryable_writes_once"))
}

impl Wing {
    /// A connection of the database behind the port, in a user's name.
    pub(crate) async fn lease(&self, identity: &Identity) -> Result<Box<dyn Connection>, SqlError> {
        let current = self.current();
        let Some(database) = current.mongo.upstream.database() else {
            return Err(SqlError::Lost("the upstream is no Postgres".to_owned()));
        };
        self.gateway.lease(&database.name, identity).await
    }

    /// Closes cursors that nobody wants any more, when a connection is free for it.
    pub(crate) fn dismiss(self: &Arc<Self>, cursors: impl IntoIterator<Item = Cursor>) {
        let most = self.current().mongo.max_cursors;
        for cursor in cursors {
            if !cursor.is_kept() || cursor.transaction.is_some() {
                continue;
            }
            match cursor.standing {
                Standing::Upstream(remote) => forward::dismiss(self, &cursor.namespace, remote),
                Standing::Continued { .. } => self.doom(cursor.identity, cursor.id, most),
                Standing::Lost(_) => {}
            }
        }
    }

    /// Ends cursors whose collection is no more what it was; their clients are told why.
    pub(crate) fn lose(self: &Arc<Self>, cursors: &[i64], why: impl std::fmt::Display) {
        if !cursors.is_empty() {
            self.dismiss(self.cursors.lose(cursors, &why.to_string().into()));
        }
    }
}
