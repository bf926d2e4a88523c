//! `explain`: the database's plan, inside the shape that tools read.

use twinport_wire::mongo::bson::raw::{CString, RawArrayBuf, RawBson, RawDocumentBuf, cstr};
use twinport_wire::mongo::bson::{RawBsonRef, RawDocument, rawdoc};

use super::{Context, Outcome, query};
use crate::fault::{Fault, known};
use crate::reply::Reply;

const FIND: &str = "EXPLAIN (FORMAT JSON, VERBOSE) \
     SELECT document FROM documentdb_api_catalog.bson_aggregation_find($1, $2)";
const AGGREGATE: &str = "EXPLAIN (FORMAT JSON, VERBOSE) \
     SELECT document FROM documentdb_api_catalog.bson_aggregation_pipeline($1, $2)";
const COUNT: &str = "EXPLAIN (FORMAT JSON, VERBOSE) \
     SELECT document FROM documentdb_api_catalog.bson_aggregation_count($1, $2)";
const DISTINCT: &str = "EXPLAIN (FORMAT JSON, VERBOSE) \
     SELECT document FROM documentdb_api_catalog.bson_aggregation_distinct($1, $2)";
const FIND_RUN: &str = "EXPLAIN (FORMAT JSON, VERBOSE, ANALYZE) \
     SELECT document FROM documentdb_api_catalog.bson_aggregation_find($1, $2)";
const AGGREGATE_RUN: &str = "EXPLAIN (FORMAT JSON, VERBOSE, ANALYZE) \
     SELECT document FROM documentdb_api_catalog.bson_aggregation_pipeline($1, $2)";
const COUNT_RUN: &str = "EXPLAIN (FORMAT JSON, VERBOSE, ANALYZE) \
     SELECT document FROM documentdb_api_catalog.bson_aggregation_count($1, $2)";
const DISTINCT_RUN: &str = "EXPLAIN (FORMAT JSON, VERBOSE, ANALYZE) \
     SELECT document FROM documentdb_api_catalog.bson_aggregation_distinct($1, $2)";

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
    let verbosity = request.command.body.get_str("verbosity");
    // As MongoDB, where the command doesn't say; shells and drivers mostly do.
    let runs = !verbosity.is_ok_and(|verbosity| verbosity == "queryPlanner");
    let statement = match (name.as_str(), runs) {
        ("find", false) => FIND,
        ("find", true) => FIND_RUN,
        ("aggregate", false) => AGGREGATE,
        ("aggregate", true) => AGGREGATE_RUN,
        ("count", false) => COUNT,
        ("count", true) => COUNT_RUN,
        ("distinct", false) => DISTINCT,
        ("distinct", true) => DISTINCT_RUN,
        (other, _) => {
            return Err(Fault::new(
                known::COMMAND_NOT_SUPPORTED,
                format_args!("explain of '{other}' is not supported"),
            )
            .hint("find, aggregate, count and distinct can be explained"));
        }
    };
    let parameters = [Some(request.database.as_bytes()), Some(inner.as_bytes())];
    let rows = context.call(statement, &parameters).await?;
    let text = rows.get(0, 0).unwrap_or_default();
    let plan: serde_json::Value =
        serde_json::from_slice(text).map_err(|error| Fault::new(known::INTERNAL_ERROR, error))?;
    let namespace = match collection.as_str() {
        Some(collection) => format!("{}.{collection}", request.database),
        None => request.database.to_owned(),
    };
    let mut shaped = shape(&namespace, inner, &plan);
    if runs {
        shaped.append(cstr!("executionStats"), statistics(&plan));
    }
    shaped.append(cstr!("ok"), 1.0);
    Ok(Reply::Document(shaped))
}

fn shape(namespace: &str, command: &RawDocument, plan: &serde_json::Value) -> RawDocumentBuf {
    let first = plan.get(0).unwrap_or(plan);
    let tree = first.get("Plan").unwrap_or(first);
    let winning = rawdoc! {
        "stage": tree.get("Node Type").and_then(|stage| stage.as_str()).unwrap_or("UNKNOWN"),
        "plan": to_bson(tree),
    };
    rawdoc! {
        "explainVersion": "1",
        "queryPlanner": {
            "namespace": namespace,
            "winningPlan": winning,
            "rejectedPlans": [],
        },
        "postgres": to_bson(first),
        "command": command.to_owned(),
        "serverInfo": { "version": env!("CARGO_PKG_VERSION") },
    }
}

/// What the run has shown, as far as Postgres counts it.
fn statistics(plan: &serde_json::Value) -> RawDocumentBuf {
    let first = plan.get(0).unwrap_or(plan);
    let number = |value: Option<&serde_json::Value>| value.and_then(serde_json::Value::as_f64);
    let rows = first
        .get("Plan")
        .and_then(|tree| number(tree.get("Actual Rows")));
    let millis = number(first.get("Execution Time"));
    rawdoc! {
        "executionSuccess": true,
        "nReturned": RawBson::Double(rows.unwrap_or_default()),
        "executionTimeMillis": RawBson::Double(millis.unwrap_or_default()),
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
