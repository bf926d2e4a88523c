//! What becomes of an annotated command: directives in `comment` are found here and answered or rewritten.

use twinport_rewriter::directive;
use twinport_wire::mongo::bson::RawBsonRef;
use twinport_wire::mongo::{Command, document};

use crate::fault::{Fault, known};
use crate::reply::Reply;
use crate::request::Request;
use crate::session::Session;

/// The stage of directives: what a command becomes by them, or `None` where it has none.
pub(crate) async fn directives(
    _session: &Session,
    request: &Request<'_>,
) -> Result<Option<Rewritten>, Fault> {
    let Some(RawBsonRef::String(comment)) = request.command.comment else {
        return Ok(None);
    };
    if !directive::is_annotation(comment) {
        return Ok(None);
    }
    directive::parse(comment).map_err(|error| Fault::from(&error))?;
    Err(Fault::new(
        known::NOT_IMPLEMENTED,
        "directives in MongoDB commands are not built yet",
    )
    .hint("Remove the @ from the comment"))
}

/// A command that stands in the place of the client's.
pub(crate) struct Rewritten {
    body: Vec<u8>,
    sequence: Option<(&'static str, Vec<u8>)>,
}

impl Rewritten {
    /// The command's name.
    pub(crate) fn name(&self) -> &str {
        let body = document::document(&self.body).ok();
        let first = body.and_then(|body| body.into_iter().next()?.ok());
        first.map_or("", |(name, _)| name.as_str())
    }

    /// The command.
    pub(crate) fn command(&self) -> Result<Command<'_>, Fault> {
        let body = document::document(&self.body).map_err(|error| Fault::protocol(&error))?;
        Command::read(body).map_err(|error| Fault::protocol(&error))
    }

    /// Its documents, by name.
    pub(crate) fn sequence(&self) -> Option<(&'static str, &[u8])> {
        let (name, bytes) = self.sequence.as_ref()?;
        Some((name, bytes))
    }

    /// The answer as the client's own command has it.
    pub(crate) fn reshape(self, reply: Reply) -> Result<Reply, Fault> {
        Ok(reply)
    }
}
