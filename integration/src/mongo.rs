//! The MongoDB port's world: a private Postgres with DocumentDB, the proxy before it, and the suites
//! of MongoDB drivers.

mod certificates;
pub mod drivers;
mod front;
mod independent;
mod port;
mod world;

pub use certificates::Certificates;
pub use front::Front;
pub use independent::Independent;
pub use port::MongoPort;
pub use world::{MongoWorld, OTHER, OTHER_PASSWORD};
