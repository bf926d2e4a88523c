//! The admin console.

use std::sync::Arc;

use crate::fault::Fault;
use crate::handshake::Login;
use crate::login::turn_away;
use crate::wing::Wing;

/// Serves an admin's connection.
pub(crate) async fn serve(_wing: &Arc<Wing>, mut login: Login) {
    turn_away(&mut login.stream, &Fault::fatal("0A000", "the admin console is not here yet")).await;
}
