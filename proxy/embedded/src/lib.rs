//! Private Postgres servers, for `proxyctl dev` and for tests: found on this machine, started in
//! a folder of their own, gone when dropped.
//!
//! ```no_run
//! # async fn example() -> Result<(), twinport_embedded::Error> {
//! use twinport_embedded::{Options, Server};
//!
//! let server = Server::start(Options::for_tests()).await?;
//! let client = server.client("postgres").await?;
//! # let _ = client;
//! # Ok(())
//! # }
//! ```

mod account;
mod cache;
mod certificate;
mod error;
mod finder;
mod layout;
mod options;
mod process;
mod server;
mod template;
mod url;
mod watchdog;

pub use certificate::{Authority, Identity};
pub use error::Error;
pub use finder::{Finder, Installation, Version};
pub use options::{Auth, Options};
pub use server::Server;
