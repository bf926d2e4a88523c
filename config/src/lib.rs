//! Settings of Twinport: one TOML file, environment variables, flags.
//!
//! A text becomes [`Settings`], checked and complete, or [`Errors`], which name every problem
//! at once with file, line, column and key. `docs/settings.md` is the reference of all keys.
//!
//! ```
//! use twinport_config::Settings;
//!
//! let text = r#"
//! [databases.app]
//! url = "postgres://app:pw@db.internal/app"
//!
//! [users.alice]
//! password = "wonder"
//! "#;
//! let settings = Settings::parse(text, "twinport.toml")?;
//! assert_eq!(settings.pool.size, 20);
//!
//! let errors = Settings::parse("[pool]\nsise = 5", "twinport.toml").unwrap_err();
//! assert!(errors.to_string().starts_with("twinport.toml"));
//! # Ok::<(), twinport_config::Errors>(())
//! ```

mod build;
mod caution;
mod check;
mod database;
mod deployment;
mod diff;
mod entry;
mod error;
mod judge;
mod key;
mod layer;
mod load;
mod nearest;
mod read;
mod registered;
mod relation;
mod secret;
mod settings;
mod source;
mod unknown;
mod upstream;

pub use check::{Summary, check};
pub use database::{Database, PoolMode, PoolSettings};
pub use deployment::{
    Deployment, DeploymentLogin, HostPort, Mechanism, MongoUpstream, ReadMode, ReadPreference,
    Shape,
};
pub use diff::{Change, Diff, diff};
pub use entry::Entry;
pub use error::{Errors, Place, Problem};
pub use key::{KEYS, Key, Reload};
pub use layer::Overrides;
pub use load::{environment, locate};
pub use registered::{Given, MODELS, registered};
pub use relation::{MongoRelation, MongoThrough};
pub use secret::Secret;
pub use settings::{
    Admin, Auth, AuthMethod, AuthQuery, ClientTls, Credential, DEFAULT_AUTH_QUERY, Log, LogFormat,
    Mask, Mongo, Postgres, Settings, TlsMode, User,
};
pub use upstream::{ChannelBinding, Host, SslMode, SslNegotiation, Upstream};
