//! The Postgres protocol, versions 3.0 to 3.2.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

pub mod backend;
pub mod frame;
pub mod frontend;
pub mod startup;

mod cursor;
mod out;

pub use frame::{Frame, Frames, Header};
pub use out::Out;
