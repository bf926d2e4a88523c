//! What tests do to commands: `configureFailPoint`, and what comes of it.

use twinport_wire::mongo::bson::raw::{RawArrayBuf, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{RawDocument, rawdoc};

use super::table::Entry;
use super::{Context, Outcome, Request};
use crate::failpoint::{Failure, Target};
use crate::fault::{Fault, known};
use crate::reply::Reply;
use crate::session::Session;

const SET: &str = "configureFailPoint";

pub(super) async fn fail_point(context: &mut Context<'_>) -> Outcome {
    let wing = &context.session.wing;
    if !wing.current().mongo.test_commands {
        return Err(Fault::new(
            known::COMMAND_NOT_FOUND,
            format_args!("no such command: '{SET}'"),
        )
        .hint("It is there for tests only (mongo.test_commands)"));
    }
    if context.request.database != "admin" {
        return Err(Fault::new(
            known::UNAUTHORIZED,
            format_args!("{SET} may only be run against the admin database."),
        ));
    }
    let count = wing.fail_points.configure(context.request.command.body)?;
    Ok(Reply::Document(rawdoc! { "count": count, "ok": 1.0 }))
}

impl Session {
    /// Carries a command out as the fail points will have it.
    pub(super) async fn fail(&mut self, entry: &Entry, request: &Request<'_>) -> Outcome {
        let command = &request.command;
        let application = self.application(command.body);
        let target = Target {
            command: command.name,
            database: request.database,
            collection: command.collection(),
            application: &application,
            bounded: command.max_time_ms.is_some_and(|millis| millis > 0),
        };
        let wing = std::sync::Arc::clone(&self.wing);
        if let Some(failure) = wing.fail_points.before(&target) {
            tracing::debug!(command = command.name, "a fail point strikes");
            wait(&failure, request).await?;
            if failure.close {
                return Ok(Reply::HangUp);
            }
            if let Some(code) = failure.code {
                return failed(&failure, code, entry, request);
            }
        }
        let reply = self.serve(entry, request).await?;
        match wing.fail_points.after(&target) {
            Some(failure) => added(&failure, reply.document()?),
            None => Ok(reply),
        }
    }

    /// What the client calls itself, also in the very `hello` that says so.
    fn application(&self, body: &RawDocument) -> String {
        let told = body
            .get_document("client")
            .and_then(|client| client.get_document("application"))
            .ok()
            .and_then(|application| application.get_str("name").ok());
        match told {
            Some(name) => name.to_owned(),
            None => self.presence().application_name.lock().clone(),
        }
    }
}

async fn wait(failure: &Failure, request: &Request<'_>) -> Result<(), Fault> {
    let Some(block) = failure.block else {
        return Ok(());
    };
    match request.bound() {
        Some(bound) if bound < block => {
            tokio::time::sleep(bound).await;
            Err(Fault::timed_out())
        }
        _ => {
            tokio::time::sleep(block).await;
            Ok(())
        }
    }
}

/// Errors that mongos makes itself have no label of retryable writes.
fn failed(failure: &Failure, code: i32, entry: &Entry, request: &Request<'_>) -> Outcome {
    let fault = Fault::new(
        code,
        format_args!(
            "Failing command '{}' via 'failCommand' failpoint",
            entry.name
        ),
    );
    let Some(labels) = &failure.labels else {
        return Err(match request.command.in_transaction() {
            false => fault,
            true if entry.ends_transaction => fault.at_commit(),
            true => fault.in_transaction(),
        });
    };
    let mut document = fault.to_document();
    label(&mut document, labels);
    Ok(Reply::Document(document))
}

fn added(failure: &Failure, reply: &RawDocument) -> Outcome {
    let mut document = reply.to_owned();
    if let Some(error) = &failure.write_concern_error {
        document.append(cstr!("writeConcernError"), error.clone());
    }
    label(&mut document, failure.labels.as_deref().unwrap_or_default());
    Ok(Reply::Document(document))
}

fn label(document: &mut RawDocumentBuf, labels: &[String]) {
    if labels.is_empty() {
        return;
    }
    let mut array = RawArrayBuf::new();
    for label in labels {
        array.push(label.as_str());
    }
    document.append(cstr!("errorLabels"), array);
}
