//! `explain`: the database's plan, inside the shape that tools read.

use twinport_wire::mongo::bson::raw::{CString, RawArrayBuf, RawBson, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{RawBsonRef, RawDocument, rawdoc};

use super::{Context, Outcome, query};
use crate::fault::{Fault, known};
use crate::reply::Reply;

mod run;
mod write;

use run::{Counts, number};
use write::Write;

/// A reading function's plan, and its plan with what a run of it has shown.
struct Statements {
    plan: &'static str,
    run: &'static str,
}

macro_rules! statements {
    ($function:literal) => {
        Statements {
            plan: concat!(
                "EXPLAIN (FORMAT JSON, VERBOSE) \
                 SELECT document FROM documentdb_api_catalog.bson_aggregation_",
                $function,
                "($1, $2)"
            ),
            run: concat!(
                "EXPLAIN (FORMAT JSON, VERBOSE, ANALYZE) \
                 SELECT document FROM documentdb_api_catalog.bson_aggregation_",
                $function,
                "($1, $2)"
            ),
        }
    };
}

const FIND: Statements = statements!("find");
const AGGREGATE: Statements = statements!("pipeline");
const COUNT: Statements = statements!("count");
const DISTINCT: Statements = statements!("distinct");

pub(super) async fn explain(context: &mut Context<'_>) -> Outcome {
    let request = context.request;
    let RawBsonRef::Document(inner) = request.command.value else {
        return Err(Fault::field("explain", "explain", "must be a command"));
    };
    let first = inner.into_iter().next().and_then(Result::ok);
    let (name, collection) = first
        .ok_or_else(|| Fault::new(known::FAILED_TO_PARSE, "explain needs a command to explain"))?;
    // Even the extension's planning of such a stage empties its target.
    if query::stages(inner).any(query::is_writing) {
        return Err(Fault::new(
            known::COMMAND_NOT_SUPPORTED,
            "explain of $out and $merge is not supported: nothing was written",
        )
        .hint("Explain the pipeline without its last stage"));
    }
    let write = Write::read(name.as_str(), inner)?;
    let verbosity = request.command.body.get_str("verbosity");
    // As MongoDB, where the command doesn't say; shells and drivers mostly do.
    let runs = !verbosity.is_ok_and(|verbosity| verbosity == "queryPlanner");
    let statements = match name.as_str() {
        _ if write.is_some() => FIND,
        "find" => FIND,
        "aggregate" => AGGREGATE,
        "count" => COUNT,
        "distinct" => DISTINCT,
        other => {
            return Err(Fault::new(
                known::COMMAND_NOT_SUPPORTED,
                format_args!("explain of '{other}' is not supported"),
            )
            .hint(
                "find, aggregate, count, distinct, update, delete and findAndModify can be explained",
            ));
        }
    };
    let statement = if runs {
        statements.run
    } else {
        statements.plan
    };
    let read = write.as_ref().map_or(inner, |write| &write.find);
    let parameters = [Some(request.database.as_bytes()), Some(read.as_bytes())];
    let rows = context.call(statement, &parameters).await?;
    let text = rows.get(0, 0).unwrap_or_default();
    let plan: serde_json::Value =
        serde_json::from_slice(text).map_err(|error| Fault::new(known::INTERNAL_ERROR, error))?;
    let plan = plan.get(0).unwrap_or(&plan);
    let namespace = match collection.as_str() {
        Some(collection) => format!("{}.{collection}", request.database),
        None => request.database.to_owned(),
    };
    let mut shaped = shape(&namespace, inner, plan, write.as_ref());
    if runs {
        let counts = Counts::of(plan);
        shaped.append(
            cstr!("executionStats"),
            statistics(plan, &counts, write.as_ref()),
        );
    }
    shaped.append(cstr!("ok"), 1.0);
    Ok(Reply::Document(shaped))
}

fn shape(
    namespace: &str,
    command: &RawDocument,
    plan: &serde_json::Value,
    write: Option<&Write>,
) -> RawDocumentBuf {
    let tree = plan.get("Plan").unwrap_or(plan);
    let reads = rawdoc! { "stage": stage(plan), "plan": to_bson(tree) };
    let winning = match write {
        Some(write) => rawdoc! { "stage": write.stage, "inputStage": reads },
        None => reads,
    };
    rawdoc! {
        "explainVersion": "1",
        "queryPlanner": {
            "namespace": namespace,
            "winningPlan": winning,
            "rejectedPlans": [],
        },
        "postgres": to_bson(plan),
        "command": command.to_owned(),
        "serverInfo": { "version": env!("CARGO_PKG_VERSION") },
    }
}

/// What Postgres calls the last step of a plan.
fn stage(plan: &serde_json::Value) -> &str {
    let kind = plan.get("Plan").and_then(|tree| tree.get("Node Type"));
    kind.and_then(|kind| kind.as_str()).unwrap_or("UNKNOWN")
}

/// What the run has shown: of a write, the run of what it reads.
fn statistics(plan: &serde_json::Value, counts: &Counts, write: Option<&Write>) -> RawDocumentBuf {
    let reads = rawdoc! { "stage": stage(plan), "nReturned": number(counts.returned) };
    let (returned, stages) = match write {
        Some(write) => (
            write.returned(counts.returned),
            write.ran(counts.returned, reads),
        ),
        None => (counts.returned, reads),
    };
    rawdoc! {
        "executionSuccess": true,
        "nReturned": number(returned),
        "executionTimeMillis": number(counts.millis),
        "totalKeysExamined": number(counts.keys),
        "totalDocsExamined": number(counts.documents),
        "executionStages": stages,
    }
}

fn to_bson(value: &serde_json::Value) -> RawBson {
    use serde_json::Value;
    match value {
        Value::Null => RawBson::Null,
        Value::Bool(yes) => RawBson::Boolean(*yes),
        Value::Number(number) => match number.as_i64() {
            Some(number) => RawBson::Int64(number),
            None => RawBson::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => RawBson::String(text.clone()),
        Value::Array(values) => {
            let mut array = RawArrayBuf::new();
            for value in values {
                array.push(to_bson(value));
            }
            RawBson::Array(array)
        }
        Value::Object(fields) => {
            let mut document = RawDocumentBuf::new();
            for (name, value) in fields {
                if let Ok(name) = CString::try_from(name.as_str()) {
                    document.append(name, to_bson(value));
                }
            }
            RawBson::Document(document)
        }
    }
}
