//! Real drivers against real servers: what the tests of this crate share.
//!
//! A [`World`] is a private Postgres with TLS, SCRAM and the library fixture. A [`Suite`] is a
//! program in some language that checks one driver; it runs against any [`Target`]: straight to the
//! server, which proves that the suite is right, or through the port.

mod address;
mod cut;
pub mod drivers;
mod eventually;
mod identity;
mod memory;
pub mod mongo;
mod port;
pub mod relay;
mod suite;
mod world;

pub use address::{Address, Target};
pub use cut::{cut_after, leaves_no_memory};
pub use eventually::eventually;
pub use identity::Identity;
pub use memory::resident;
pub use port::{OPERATOR, Port};
pub use suite::{Lacking, Suite, cache};
pub use world::{PASSWORD, USER, World};
