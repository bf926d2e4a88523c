//! The MongoDB drivers, and the checks that each must report: a check that silently goes missing is
//! a failure.

use crate::Suite;

/// PyMongo: sync and async.
pub const PYMONGO: Suite = Suite {
    name: "PyMongo",
    command: &["{cache}/python/bin/python", "pymongo_suite.py"],
    folder: "python",
    checks: &[
        "connect_scram_tls",
        "connect_scram_sha_1",
        "wrong_password_refused",
        "no_login_no_answer",
        "who_is_there",
        "create_read_update_delete",
        "find_and_modify",
        "types_round_trip",
        "ids_of_every_kind",
        "large_documents",
        "filters_sorts_projections",
        "cursor_over_batches",
        "cursors_turn_by_turn",
        "bulk_ordered",
        "bulk_unordered",
        "duplicate_key",
        "aggregation",
        "indexes",
        "collections_and_databases",
        "validators",
        "transaction_commit",
        "transaction_abort",
        "transaction_cursor",
        "transaction_left_open",
        "transaction_conflict",
        "sessions",
        "retried_write_is_applied_once",
        "unacknowledged_writes",
        "compression",
        "max_time",
        "two_users_kept_apart",
        "more_clients_than_connections",
        "plain_comments_pass",
        "async_queries",
        "async_transaction",
    ],
    annotated: &[
        "include_to_many",
        "include_to_one",
        "include_of_nothing_known",
        "upsert",
    ],
};

/// PyMongo at a port that demands certificates.
pub const PYMONGO_X509: Suite = Suite {
    name: "PyMongo by certificate",
    command: &["{cache}/python/bin/python", "pymongo_x509_suite.py"],
    folder: "python",
    checks: BY_CERTIFICATE,
    annotated: &[],
};

/// Beanie over PyMongo.
pub const BEANIE: Suite = Suite {
    name: "Beanie",
    command: &["{cache}/python/bin/python", "beanie_suite.py"],
    folder: "python",
    checks: &[
        "indexes_at_start",
        "documents_and_changes",
        "many_and_queries",
        "duplicate_key",
        "links",
        "upsert",
        "transaction",
        "concurrent_tasks",
    ],
    annotated: &[],
};

/// MongoEngine over PyMongo.
pub const MONGOENGINE: Suite = Suite {
    name: "MongoEngine",
    command: &["{cache}/python/bin/python", "mongoengine_suite.py"],
    folder: "python",
    checks: &[
        "indexes_at_start",
        "documents_and_changes",
        "types_round_trip",
        "queries",
        "cursor_over_batches",
        "aggregation",
        "references",
        "duplicates_and_validation",
        "upserts",
        "files",
        "plain_comments_pass",
    ],
    annotated: &["include", "include_of_nothing_known", "upsert"],
};

/// The Node driver.
pub const NODE: Suite = Suite {
    name: "mongodb for Node",
    command: &["node", "mongodb_suite.js"],
    folder: "node-mongo",
    checks: &[
        "connect_scram_tls",
        "connect_by_each_mechanism",
        "wrong_password_refused",
        "create_read_update_delete",
        "types_round_trip",
        "cursor_over_batches",
        "cursors_side_by_side",
        "bulk_ordered_and_unordered",
        "aggregation",
        "indexes_and_duplicate_key",
        "collections_and_databases",
        "transaction_commit_and_abort",
        "retryable_write",
        "compression",
        "two_users_kept_apart",
        "more_clients_than_connections",
    ],
    annotated: &["include", "upsert"],
};

/// The Node driver at a port that demands certificates.
pub const NODE_X509: Suite = Suite {
    name: "mongodb for Node by certificate",
    command: &["node", "mongodb_x509_suite.js"],
    folder: "node-mongo",
    checks: BY_CERTIFICATE,
    annotated: &[],
};

/// Mongoose over the Node driver.
pub const MONGOOSE: Suite = Suite {
    name: "Mongoose",
    command: &["node", "mongoose_suite.js"],
    folder: "node-mongo",
    checks: &[
        "connect_and_build_indexes",
        "documents_and_changes",
        "validation_and_duplicates",
        "populate",
        "queries_and_aggregation",
        "transactions",
        "bulk_and_disconnect",
    ],
    annotated: &[],
};

/// mongosh.
pub const MONGOSH: Suite = Suite {
    name: "mongosh",
    command: &["node", "mongosh_suite.js"],
    folder: "node-mongo",
    checks: &[
        "connect_scram_tls",
        "wrong_password_refused",
        "greeting_without_errors",
        "create_read_update_delete",
        "lists",
        "cursor_over_batches",
        "transaction",
        "duplicate_key",
    ],
    annotated: &["include", "upsert"],
};

/// The Java driver, sync.
pub const JAVA: Suite = Suite {
    name: "mongodb-driver-sync",
    command: &[
        "java",
        "-cp",
        "{cache}/java/checks:{cache}/java/mongo/*",
        "MongoSuite.java",
    ],
    folder: "java",
    checks: &[
        "connect_scram_tls",
        "connect_by_each_mechanism",
        "wrong_password_refused",
        "create_read_update_delete",
        "types_round_trip",
        "cursor_over_batches",
        "bulk_ordered_and_unordered",
        "aggregation",
        "indexes_and_duplicate_key",
        "transaction_commit_and_abort",
        "retryable_writes",
        "compression",
        "two_users_kept_apart",
        "more_clients_than_connections",
    ],
    annotated: &["include", "upsert"],
};

/// Morphia over the Java driver.
pub const MORPHIA: Suite = Suite {
    name: "Morphia",
    command: &[
        "java",
        "-cp",
        "{cache}/java/checks:{cache}/java/morphia/*",
        "MorphiaSuite.java",
    ],
    folder: "java",
    checks: &[
        "indexes_at_start",
        "documents_and_changes",
        "queries",
        "cursor_over_batches",
        "aggregation",
        "references",
        "duplicates_and_versions",
        "upserts",
        "transactions",
        "plain_comments_pass",
    ],
    annotated: &["include", "upsert"],
};

/// The Go driver.
pub const GO: Suite = Suite {
    name: "mongo-go-driver",
    command: &["go", "run", "."],
    folder: "go-mongo",
    checks: &[
        "connect_scram_tls",
        "connect_by_each_mechanism",
        "wrong_password_refused",
        "create_read_update_delete",
        "types_round_trip",
        "cursor_over_batches",
        "bulk_ordered_and_unordered",
        "aggregation",
        "indexes_and_duplicate_key",
        "transaction_commit_and_abort",
        "retryable_write",
        "compression",
        "two_users_kept_apart",
        "more_clients_than_connections",
    ],
    annotated: &["include", "upsert"],
};

/// What every driver is to show at a port that demands certificates.
const BY_CERTIFICATE: &[&str] = &[
    "certificate_logs_in",
    "subject_names_the_user",
    "mapped_certificate_logs_in",
    "another_user_refused",
    "missing_certificate_refused",
    "foreign_certificate_refused",
    "certificate_alone_is_no_login",
    "password_refused",
];
