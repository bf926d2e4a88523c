//! The Mongo wing: from a driver's bytes to the database's and back.
//!
//! [`wing::Wing`] is what all sessions share; [`session::Session`] is one client's. The way of a request:
//! `stream` reads it, `request` says what it means, `transaction` gets it a connection, `upstream` has it run by
//! Postgres with the DocumentDB extension, `reply` leads the answer back.
//!
//! Postgres is reached through [`twinport_core::sql`]: nothing here knows the other wing.

mod array;
pub mod auth;
mod catalogs;
mod failpoint;
pub mod fault;
mod forward;
pub mod handles;
pub mod handshake;
mod login;
mod operations;
mod plan;
mod points;
mod record;
mod reply;
mod request;
pub mod session;
mod stream;
pub mod transaction;
pub mod upstream;
pub mod wing;
