//! The Postgres wing: from a driver's bytes to the server's and back.
//!
//! [`wing::Wing`] is what all sessions share; [`session::Session`] is one client's. The way of a request:
//! `stream` reads it, `request` says what it means, `plan` rewrites it if it is annotated, `transaction` gets it
//! a connection, `reply` leads the answer back.

pub mod admin;
pub mod auth;
pub mod buffers;
pub mod cancel;
pub mod catalogs;
pub mod connect;
pub mod execute;
pub mod fault;
mod fold;
pub mod handles;
pub mod handshake;
pub mod inward;
mod judge;
mod left;
mod login;
pub mod parameters;
mod pin;
mod plan;
pub mod pools;
mod portals;
mod reading;
mod replication;
pub mod reply;
mod request;
pub mod server;
pub mod session;
pub mod spelling;
pub mod statement;
mod stream;
mod transaction;
pub mod upstream;
pub mod wing;
