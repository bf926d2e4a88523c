//! The Postgres wing.
