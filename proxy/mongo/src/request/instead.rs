//! A command that is carried out with something else in its place.

use twinport_core::sql::Pending;
use twinport_wire::mongo::Command;
use twinport_wire::mongo::bson::RawDocument;

use super::{Context, Outcome, Place};
use crate::fault::Fault;

/// How a command goes on.
pub(super) type Next = for<'a, 'b> fn(&'a mut Context<'b>) -> Pending<'a, Outcome>;

/// Runs another command in the place of the client's, with documents beside it.
pub(super) async fn run(
    context: &mut Context<'_>,
    body: &RawDocument,
    sequence: Option<(&str, &[u8])>,
    next: Next,
) -> Outcome {
    let command = Command::read(body).map_err(|error| Fault::protocol(&error))?;
    let request = context.request.instead(command, sequence);
    let mut inner = Context {
        session: &mut *context.session,
        request: &request,
        // Dropped in the middle, it is dropped with it.
        place: std::mem::replace(&mut context.place, Place::Free),
        spoiled: context.spoiled,
    };
    let outcome = next(&mut inner).await;
    let Context { place, spoiled, .. } = inner;
    context.place = place;
    context.spoiled = spoiled;
    outcome
}
