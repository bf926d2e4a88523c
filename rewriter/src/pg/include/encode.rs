//! SQL expressions that give a column's JSON text, each the cheapest that gives what `to_json` would.
//!
//! `to_json` and `row_to_json` look up the type's output function anew for every value. A cast to `text`
//! knows it from the plan, so numbers and booleans go that way; what must be quoted and escaped, or has a format
//! of its own in JSON (dates), goes through `to_json`.
//!
//! | type | expression |
//! |---|---|
//! | integers, `bool`, `json`, `jsonb` | `coalesce(c::text, 'null')` |
//! | `numeric`, floats | the same if finite, else `to_json` (`"NaN"`) |
//! | `uuid` | `coalesce('"' \|\| c \|\| '"', 'null')` |
//! | all others | `coalesce(to_json(c)::text, 'null')` |
//!
//! NULL is tested even where the column is declared `NOT NULL`: a constraint may be marked as not valid, and one
//! NULL would make the whole object disappear.

use orm_schema::{Catalog, TypeId, TypeKind};

/// How a type's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Plain,
    Number(&'static str),
    Quoted,
    ToJson,
}

/// The JSON text of the column that `reference` names, never NULL.
pub(super) fn column(
    reference: &str,
    data_type: TypeId,
    catalog: &Catalog,
    version: u32,
) -> String {
    match encoding(data_type, catalog, version) {
        Encoding::Plain => format!("coalesce({reference}::text, 'null')"),
        Encoding::Number(name) => format!(
            "CASE WHEN {reference} > '-Infinity'::{name} AND {reference} < 'Infinity'::{name} \
             THEN {reference}::text ELSE coalesce(to_json({reference})::text, 'null') END"
        ),
        Encoding::Quoted => format!("coalesce('\"' || {reference}::text || '\"', 'null')"),
        Encoding::ToJson => format!("coalesce(to_json({reference})::text, 'null')"),
    }
}

/// A text as JSON, quotes included.
pub(super) fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if u32::from(control) < 0x20 => {
                out.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn encoding(data_type: TypeId, catalog: &Catalog, version: u32) -> Encoding {
    match base_of(data_type, catalog).0 {
        16 | 20 | 21 | 23 | 114 | 3802 => Encoding::Plain,
        700 => Encoding::Number("float4"),
        701 => Encoding::Number("float8"),
        // Before 14 a numeric has no infinity to be compared with.
        1700 if version >= 140_000 => Encoding::Number("numeric"),
        2950 => Encoding::Quoted,
        _ => Encoding::ToJson,
    }
}

/// The type under all domains, as `to_json` sees it.
pub(super) fn base_of(data_type: TypeId, catalog: &Catalog) -> TypeId {
    let mut current = data_type;
    // A domain can't contain itself; the bound is for catalogs made by hand.
    for _ in 0..16 {
        match catalog.type_def(current).map(|def| &def.kind) {
            Some(TypeKind::Domain { base, .. }) => current = *base,
            _ => break,
        }
    }
    current
}

#[cfg(test)]
mod tests {
    use super::string;

    #[test]
    fn keys_are_escaped() {
        assert_eq!(string("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
    }
}
