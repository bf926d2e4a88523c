//! Sans-I/O codecs of the wire protocols.
//!
//! Nothing here reads or writes a socket. Decoders borrow from the bytes that
//! they are given and accept whole frames only; builders append to a buffer of
//! the caller. No input, however broken, makes a decoder panic.

mod error;
mod out;

pub mod md5;
pub mod mongo;
pub mod pg;
pub mod scram;

pub use error::Error;
pub use out::Out;
