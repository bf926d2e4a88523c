//! The drivers, and the checks that each must report: a check that silently goes missing is a failure.

use crate::Suite;

/// libpq, by psql, pg_dump and pgbench.
pub const PSQL: Suite = Suite {
    name: "psql",
    command: &["bash", "psql_suite.sh"],
    folder: "shell",
    checks: &[
        "connect_scram_tls",
        "plain_text_by_choice",
        "wrong_password_refused",
        "types_text",
        "prepared_by_sql",
        "transaction_and_savepoint",
        "error_then_usable",
        "notices_come_through",
        "several_statements_in_one_query",
        "rows_in_portions",
        "copy_in_and_out",
        "copy_error_then_usable",
        "large_rows",
        "cancel",
        "settings_apart",
        "listen_notify",
        "described_tables",
        "dump_through_the_port",
        "bench_in_every_mode",
    ],
    annotated: &["include", "include_of_nothing_known", "upsert"],
};

/// psycopg 3: sync, async, pipeline.
pub const PSYCOPG: Suite = Suite {
    name: "psycopg",
    command: &["{cache}/python/bin/python", "psycopg_suite.py"],
    folder: "python",
    checks: &[
        "connect_scram_tls",
        "wrong_password_refused",
        "types_text",
        "types_binary",
        "enum_type",
        "prepared_reuse",
        "deallocate_by_sql",
        "transaction_and_savepoint",
        "error_then_usable",
        "copy_in_and_out",
        "copy_in_error_then_usable",
        "cancel",
        "settings_apart",
        "startup_options",
        "set_local_and_rollback",
        "temporary_table",
        "listen_notify",
        "server_side_cursor",
        "stream_row_by_row",
        "several_statements_in_one_query",
        "pipeline",
        "pipeline_error_then_usable",
        "async_queries",
        "async_cancel",
        "async_copy_and_pipeline",
    ],
    annotated: &[
        "include",
        "include_with_parameters",
        "include_in_a_pipeline",
        "include_of_nothing_known",
        "upsert",
        "upsert_many",
    ],
};

/// asyncpg.
pub const ASYNCPG: Suite = Suite {
    name: "asyncpg",
    command: &["{cache}/python/bin/python", "asyncpg_suite.py"],
    folder: "python",
    checks: &[
        "connect_scram_tls",
        "wrong_password_refused",
        "types_binary",
        "prepared_reuse",
        "statement_after_schema_change",
        "transaction_and_savepoint",
        "error_then_usable",
        "copy_in_and_out",
        "cursor_in_transaction",
        "cancel_by_timeout",
        "settings_apart",
        "pool_resets_its_clients",
        "listen_notify",
        "executemany",
    ],
    annotated: &["include", "include_of_nothing_known", "upsert"],
};

/// SQLAlchemy 2 over psycopg and asyncpg.
pub const SQLALCHEMY: Suite = Suite {
    name: "SQLAlchemy",
    command: &["{cache}/python/bin/python", "sqlalchemy_suite.py"],
    folder: "python",
    checks: &[
        "connect_and_introspect",
        "types_round_trip",
        "orm_session",
        "bulk_insert_with_returning",
        "error_then_usable",
        "settings_apart",
        "isolation_levels",
        "asyncpg_types_round_trip",
        "asyncpg_many_sessions",
        "asyncpg_stream",
    ],
    annotated: &[
        "include_by_prefix",
        "include_by_event_into_the_orm",
        "upsert_by_prefix",
        "asyncpg_include_and_upsert",
    ],
};

/// Django over psycopg.
pub const DJANGO: Suite = Suite {
    name: "Django",
    command: &["{cache}/python/bin/python", "django_suite.py"],
    folder: "python",
    checks: &[
        "connect_scram_tls",
        "queries_and_relations",
        "server_side_binding",
        "transaction_and_savepoint",
        "server_side_iterator",
        "bulk_upsert",
        "settings_apart",
        "threads_share_the_pool",
        "introspection",
    ],
    annotated: &[
        "include_by_raw",
        "include_by_execute_wrapper",
        "upsert_by_execute_wrapper",
    ],
};

/// node-postgres.
pub const NODE_POSTGRES: Suite = Suite {
    name: "node-postgres",
    command: &["node", "pg_suite.js"],
    folder: "node",
    checks: &[
        "connect_scram_tls",
        "scram_channel_binding",
        "wrong_password_refused",
        "types_text",
        "types_binary",
        "prepared_reuse",
        "transaction_and_savepoint",
        "error_then_usable",
        "several_statements_in_one_query",
        "queries_queued_without_waiting",
        "copy_in_and_out",
        "portal_with_row_limit",
        "portal_left_half_way",
        "cancel",
        "settings_apart",
        "listen_notify",
        "more_clients_than_connections",
    ],
    annotated: &["include", "include_of_nothing_known", "upsert"],
};

/// TypeORM over node-postgres.
pub const TYPEORM: Suite = Suite {
    name: "TypeORM",
    command: &["node", "typeorm_suite.js"],
    folder: "node",
    checks: &[
        "connect",
        "repository_and_relations",
        "transaction_and_error",
        "settings_apart",
    ],
    annotated: &["include_by_comment", "upsert_by_comment"],
};

/// Drizzle over node-postgres.
pub const DRIZZLE: Suite = Suite {
    name: "Drizzle",
    command: &["node", "drizzle_suite.js"],
    folder: "node",
    checks: &[
        "types_round_trip",
        "queries_and_relations",
        "prepared_reuse",
        "transaction_and_savepoint",
        "settings_apart",
    ],
    annotated: &["include_by_template", "upsert_by_template"],
};

/// Prisma over node-postgres.
pub const PRISMA: Suite = Suite {
    name: "Prisma",
    command: &["node", "prisma_suite.js"],
    folder: "node-prisma",
    checks: &[
        "connect_scram_tls",
        "wrong_password_refused",
        "types_round_trip",
        "models_and_relations",
        "prepared_reuse",
        "nested_write",
        "transaction_and_error",
        "error_then_usable",
        "create_many",
        "own_upsert",
        "settings_apart",
        "more_clients_than_connections",
    ],
    annotated: &[
        "include_by_raw",
        "include_of_nothing_known",
        "upsert_by_raw",
        "upsert_by_client",
    ],
};

/// pgjdbc.
pub const PGJDBC: Suite = Suite {
    name: "pgjdbc",
    command: &[
        "java",
        "-cp",
        "{cache}/java/checks:{cache}/java/postgresql.jar",
        "PgjdbcSuite.java",
    ],
    folder: "java",
    checks: &[
        "connect_scram_tls",
        "wrong_password_refused",
        "types_text",
        "types_binary",
        "prepared_reuse",
        "simple_query_mode",
        "transaction_and_savepoint",
        "error_then_usable",
        "batch",
        "portal_with_fetch_size",
        "copy_in_and_out",
        "cancel",
        "query_timeout",
        "settings_apart",
        "schema_and_read_only",
        "listen_notify",
        "metadata",
        "more_clients_than_connections",
    ],
    annotated: &["include", "include_of_nothing_known", "upsert"],
};

/// Hibernate over pgjdbc.
pub const HIBERNATE: Suite = Suite {
    name: "Hibernate",
    command: &[
        "java",
        "-cp",
        "{cache}/java/checks:{cache}/java/postgresql.jar:{cache}/java/hibernate/*",
        "HibernateSuite.java",
    ],
    folder: "java",
    checks: &[
        "connect_scram_tls",
        "types_round_trip",
        "entities_and_relations",
        "statements_reused",
        "transaction_and_error",
        "error_then_usable",
        "batch_insert",
        "scroll_with_fetch_size",
        "own_upsert",
        "lock_and_timeout",
        "settings_apart",
        "more_clients_than_connections",
    ],
    annotated: &[
        "include_by_comment",
        "include_of_nothing_known",
        "upsert_by_comment",
        "upsert_by_inspector",
    ],
};

/// pgx.
pub const PGX: Suite = Suite {
    name: "pgx",
    command: &["go", "run", "."],
    folder: "go",
    checks: &[
        "connect_scram_tls",
        "wrong_password_refused",
        "types_binary",
        "types_text",
        "every_execution_mode",
        "prepared_reuse",
        "transaction_and_savepoint",
        "error_then_usable",
        "batch",
        "batch_error_then_usable",
        "pipeline",
        "copy_in_and_out",
        "cancel",
        "settings_apart",
        "listen_notify",
        "more_clients_than_connections",
    ],
    annotated: &[
        "include",
        "include_of_nothing_known",
        "upsert",
        "include_in_a_batch",
    ],
};

/// ActiveRecord over libpq.
pub const ACTIVERECORD: Suite = Suite {
    name: "ActiveRecord",
    command: &["ruby", "activerecord_suite.rb"],
    folder: "ruby",
    checks: &[
        "connect_scram_tls",
        "wrong_password_refused",
        "types_round_trip",
        "models_and_relations",
        "prepared_reuse",
        "statement_after_schema_change",
        "transaction_and_savepoint",
        "error_then_usable",
        "bulk_upsert",
        "find_each_in_batches",
        "advisory_lock",
        "migration",
        "settings_apart",
    ],
    annotated: &[
        "include_by_annotate",
        "include_by_sql",
        "include_of_nothing_known",
        "upsert_by_sql",
    ],
};
