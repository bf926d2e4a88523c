//! The MongoDB protocol: OP_MSG, OP_COMPRESSED, and of OP_QUERY what a
//! handshake needs.
//!
//! Source: <https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>.
//! Documents are `bson`'s raw ones: they borrow the bytes of the message.

pub mod command;
pub mod compressed;
pub mod document;
pub mod frame;
pub mod message;
pub mod query;
pub mod sasl;

mod cursor;
mod out;

pub use bson;
pub use command::Command;
pub use frame::{Frame, Frames, Header};
pub use message::{Message, Sequence};
pub use out::Out;
