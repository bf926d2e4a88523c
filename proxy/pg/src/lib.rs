//! The Postgres wing.

pub mod auth;
pub mod connect;
pub mod handshake;
