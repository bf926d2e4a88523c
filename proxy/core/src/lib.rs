//! What both wings share: streams, TLS, listeners, the pool, the registry of clients, counters, drain.
//!
//! A wing (`twinport-pg`, later `twinport-mongo`) brings the protocol; nothing here knows one.

pub mod clients;
pub mod clock;
pub mod drain;
pub mod listen;
pub mod pool;
pub mod scratch;
pub mod sql;
pub mod stats;
pub mod stream;
pub mod tls;
pub mod view;
