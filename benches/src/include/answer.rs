//! Whether two statements give the same answer: a fast wrong one is no result.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Whether both give the same rows, in any order, and their JSON the same values, with the
/// elements of an array in any order.
pub(super) async fn same(
    ours: &Client,
    annotated: &str,
    direct: &Client,
    by_hand: &str,
) -> anyhow::Result<bool> {
    let ours = rows(ours, annotated).await?;
    let theirs = rows(direct, by_hand).await?;
    Ok(!ours.is_empty() && ours == theirs)
}

async fn rows(client: &Client, sql: &str) -> anyhow::Result<BTreeSet<Vec<String>>> {
    let mut rows = BTreeSet::new();
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let columns = (0..row.len()).map(|at| row.get(at).map_or_else(String::new, canonical));
            rows.insert(columns.collect());
        }
    }
    Ok(rows)
}

/// JSON with its blanks and orders gone; other text as it is.
fn canonical(text: &str) -> String {
    if !text.starts_with(['{', '[']) {
        return text.to_owned();
    }
    let Ok(mut value) = serde_json::from_str(text) else {
        return text.to_owned();
    };
    if let Value::Array(elements) = &mut value {
        elements.sort_by_cached_key(Value::to_string);
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn blanks_and_orders_do_not_matter() {
        let plain = canonical(r#"[{"a":1,"b":[2]},{"a":0}]"#);
        assert_eq!(plain, canonical(r#"[ {"a" : 0}, {"b":[2], "a":1} ]"#));
        assert_ne!(plain, canonical(r#"[{"a":1,"b":[3]},{"a":0}]"#));
        assert_eq!(canonical("[x"), "[x");
    }
}
