//! Settings of Twinport: one TOML file, environment variables, flags.
//!
//! A text becomes [`Settings`], checked and complete, or [`Errors`], which name every problem
//! at once with file, line, column and key. `docs/settings.md` is the reference of all keys.

mod database;
mod error;
mod secret;
mod settings;
mod upstream;

pub use database::{Database, PoolMode, PoolSettings};
pub use error::{Errors, Place, Problem};
pub use secret::Secret;
pub use settings::{
    Admin, Auth, AuthMethod, AuthQuery, ClientTls, Credential, Log, LogFormat, Postgres, Settings,
    TlsMode, User,
};
pub use upstream::{ChannelBinding, Host, SslMode, SslNegotiation, Upstream};
