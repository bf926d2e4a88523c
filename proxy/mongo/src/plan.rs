//! What becomes of an annotated command: directives in `comment` are found here and answered or rewritten.

use twinport_rewriter::mongo::{self, Answer, Context, Relations, Rewrite, Sections, Sequence};
use twinport_wire::mongo::bson::{RawBsonRef, RawDocument, RawDocumentBuf};
use twinport_wire::mongo::{Command, document};

use crate::catalogs::Asker;
use crate::fault::{Fault, known};
use crate::reply::Reply;
use crate::request::{Request, documents, in_time};
use crate::session::Session;
use crate::transaction::Owner;

/// The sections that commands have: each command one of them at most.
const SECTIONS: [&str; 3] = ["documents", "updates", "deletes"];

/// The stage of directives: what a command becomes by them, or `None` where it has none.
pub(crate) async fn directives(
    session: &Session,
    request: &Request<'_>,
) -> Result<Option<Rewritten>, Fault> {
    let command = &request.command;
    // An `explain` may have its comment inside.
    if command.comment.is_none() && command.name != "explain" {
        return Ok(None);
    }
    if let Some(RawBsonRef::String(comment)) = command.comment
        && command.name != "explain"
        && !comment.contains('@')
    {
        return Ok(None);
    }
    if let (Some(message), Some(_)) = (&request.message, session.wing.cluster()) {
        // What is only forwarded nobody has looked into yet.
        documents(message).map_err(|error| Fault::protocol(&error))?;
    }
    let sections: Vec<Sequence<'_>> = SECTIONS
        .into_iter()
        .filter_map(|identifier| {
            Some(Sequence {
                identifier,
                documents: request.sequence(identifier)?,
            })
        })
        .collect();
    let found = mongo::read(command.body, &sections).map_err(|error| Fault::from(&error))?;
    let Some(found) = found else {
        return Ok(None);
    };
    let rewrite = rewrite(session, request, &found).await?;
    if !rewrite.lookups.is_empty() {
        let identity = session.known(command.name)?;
        session
            .wing
            .examine(identity, request.database, rewrite.lookups);
    }
    let sequence = match rewrite.sections {
        Sections::Updates(updates) => Some(("updates", updates)),
        Sections::Unchanged => SECTIONS
            .into_iter()
            .find_map(|name| Some((name, request.sequence(name)?.to_vec()))),
    };
    // Upstream the annotation has been carried out: another proxy there must not do it again.
    let body = match session.wing.cluster() {
        Some(_) => without_comment(&rewrite.body)?,
        None => rewrite.body,
    };
    Ok(Some(Rewritten {
        body: body.into_bytes(),
        sequence,
        answer: rewrite.answer,
    }))
}

fn without_comment(body: &RawDocument) -> Result<RawDocumentBuf, Fault> {
    let mut out = RawDocumentBuf::new();
    for element in body {
        let element = element.map_err(|_| Fault::new(known::FAILED_TO_PARSE, "invalid BSON"));
        let (key, value) = element?;
        if key.as_str() != "comment" {
            out.append(key, value);
        }
    }
    Ok(out)
}

async fn rewrite(
    session: &Session,
    request: &Request<'_>,
    found: &mongo::Request<'_>,
) -> Result<Rewrite, Fault> {
    let current = session.wing.current();
    let carry_out = |unique_indexes| {
        found.rewrite(&Context {
            relations: &current.relations,
            unique_indexes,
        })
    };
    // It is not in the command yet.
    let limit = found.timeout();
    let limit = limit.map(|limit| limit.saturating_sub(request.began.elapsed()));
    let bound = request.bound().into_iter().chain(limit).min();
    let Some(collection) = found.upserts_into() else {
        return match carry_out(&[]) {
            Err(error) if error.is_undefined_relation() => {
                in_time(bound, related(session, request, found)).await
            }
            other => other.map_err(|error| Fault::from(&error)),
        };
    };
    let within = session.transaction(&request.command)?;
    let asker = asker(session, request, within.as_ref())?;
    let unique_indexes = async |anew| {
        let wing = &session.wing;
        let indexes = wing.unique_indexes(asker, request.database, collection, anew);
        in_time(bound, indexes).await
    };
    let known = unique_indexes(false).await?;
    match carry_out(&known.indexes) {
        // It may have been made a moment ago.
        Err(_) if known.remembered => {
            let known = unique_indexes(true).await?;
            carry_out(&known.indexes).map_err(|error| Fault::from(&error))
        }
        other => other.map_err(|error| Fault::from(&error)),
    }
}

fn asker<'a>(
    session: &'a Session,
    request: &Request<'_>,
    within: Option<&'a (Owner, i64)>,
) -> Result<Asker<'a>, Fault> {
    let identity = session.known(request.command.name)?;
    Ok(Asker { identity, within })
}

/// As [`rewrite`], where the settings don't know a relation: the database may tell of it.
async fn related(
    session: &Session,
    request: &Request<'_>,
    found: &mongo::Request<'_>,
) -> Result<Rewrite, Fault> {
    let wing = &session.wing;
    let within = session.transaction(&request.command)?;
    let asker = asker(session, request, within.as_ref())?;
    let carry_out = |relations: &Relations| {
        found.rewrite(&Context {
            relations,
            unique_indexes: &[],
        })
    };
    let kept = wing.relations(asker, request.database, false).await?;
    match carry_out(&kept) {
        // It may have been told a moment ago.
        Err(error) if error.is_undefined_relation() => {
            let read = wing.relations(asker, request.database, true).await?;
            carry_out(&read).map_err(|error| Fault::from(&error))
        }
        other => other.map_err(|error| Fault::from(&error)),
    }
}

/// A command that stands in the place of the client's.
pub(crate) struct Rewritten {
    body: Vec<u8>,
    sequence: Option<(&'static str, Vec<u8>)>,
    answer: Answer,
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

    /// Whether the answer is the client's as it is.
    pub(crate) fn keeps_its_answer(&self) -> bool {
        matches!(self.answer, Answer::AsItIs)
    }

    /// The answer as the client's own command has it.
    pub(crate) fn reshape(self, reply: Reply) -> Result<Reply, Fault> {
        match self.answer {
            Answer::AsItIs => Ok(reply),
            Answer::Insert => mongo::insert_answer(reply.document()?)
                .map(Reply::Document)
                .map_err(|error| Fault::from(&error)),
        }
    }
}
