//! The Twinport server: it listens, hands connections to the wings, takes new settings and goes down in order.

mod http;
mod log;
mod reload;
mod running;

pub use log::init as init_log;
pub use reload::Source;
pub use running::{Running, runtime, start};
