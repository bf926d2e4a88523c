//! What Postgres has counted while it ran a plan, as MongoDB counts it.

use serde_json::Value;
use twinport_wire::mongo::bson::raw::RawBson;

/// The numbers of a run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) returned: f64,
    /// Entries of indexes that were looked at.
    pub(super) keys: f64,
    /// Documents that were looked at.
    pub(super) documents: f64,
    pub(super) millis: f64,
}

impl Counts {
    /// Those of a plan that was run.
    pub(super) fn of(plan: &Value) -> Self {
        let tree = plan.get("Plan");
        let mut counts = Self {
            returned: tree.map(|tree| of(tree, "Actual Rows")).unwrap_or_default(),
            millis: of(plan, "Execution Time"),
            ..Self::default()
        };
        if let Some(tree) = tree {
            counts.add(tree);
        }
        counts
    }

    /// Adds what a step and those under it have read. Postgres tells the mean of each time that a step was run.
    fn add(&mut self, step: &Value) {
        let kind = step.get("Node Type").and_then(Value::as_str);
        let loops = of(step, "Actual Loops");
        let rows = of(step, "Actual Rows");
        let kept_back = of(step, "Rows Removed by Filter");
        let read = rows + kept_back + of(step, "Rows Removed by Index Recheck");
        let (keys, documents) = match kind.unwrap_or_default() {
            "Seq Scan" | "Sample Scan" | "Tid Scan" | "Tid Range Scan" | "Bitmap Heap Scan" => {
                (0.0, read)
            }
            "Index Scan" => (read, read),
            "Index Only Scan" => (read, of(step, "Heap Fetches") / loops.max(1.0)),
            "Bitmap Index Scan" => (rows, 0.0),
            _ => (0.0, 0.0),
        };
        self.keys += keys * loops;
        self.documents += documents * loops;
        let inner = step.get("Plans").and_then(Value::as_array);
        for step in inner.into_iter().flatten() {
            self.add(step);
        }
    }
}

fn of(step: &Value, name: &str) -> f64 {
    step.get(name).and_then(Value::as_f64).unwrap_or_default()
}

/// A whole number of the least width, as MongoDB writes it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "what is too large is the largest"
)]
pub(super) fn number(count: f64) -> RawBson {
    let count = count.round() as i64;
    i32::try_from(count).map_or(RawBson::Int64(count), RawBson::Int32)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_read_counts_as_often_as_it_was() {
        let heap = json!({
            "Node Type": "Bitmap Heap Scan", "Actual Rows": 10.0, "Actual Loops": 3,
            "Rows Removed by Filter": 4, "Rows Removed by Index Recheck": 1,
            "Plans": [{ "Node Type": "Bitmap Index Scan", "Actual Rows": 15.0, "Actual Loops": 3 }],
        });
        let outer = json!({
            "Node Type": "Index Scan", "Actual Rows": 3, "Actual Loops": 1,
            "Rows Removed by Filter": 2,
        });
        let only = json!({
            "Node Type": "Index Only Scan", "Actual Rows": 7.0, "Actual Loops": 2, "Heap Fetches": 5,
        });
        let plan = json!({
            "Plan": {
                "Node Type": "Nested Loop", "Actual Rows": 30.0, "Actual Loops": 1,
                "Plans": [outer, heap, only],
            },
            "Execution Time": 1.7,
        });
        let expected = Counts {
            returned: 30.0,
            keys: 5.0 + 45.0 + 14.0,
            documents: 5.0 + 45.0 + 5.0,
            millis: 1.7,
        };
        assert_eq!(Counts::of(&plan), expected);
        assert_eq!(Counts::of(&json!({})), Counts::default());
    }

    #[test]
    fn numbers_are_whole() {
        assert_eq!(number(1.7), RawBson::Int32(2));
        assert_eq!(number(3e9), RawBson::Int64(3_000_000_000));
        assert_eq!(number(f64::NAN), RawBson::Int32(0));
    }
}
