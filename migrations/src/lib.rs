//! Schema introspection, and later diff, plan, ledger and runner.

pub mod introspect;

mod error;

pub use error::Error;
