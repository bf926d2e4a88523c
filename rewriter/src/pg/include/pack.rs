//! SQL expressions that pack a row's values for [`Fold`], and the `Fold` that reads them.
//!
//! A type has an expression of its own where its JSON follows from the binary format alone, whatever the session's
//! settings. Of a `timestamptz` the session's time zone must be known: the value goes with its local time. A local
//! time can be out of range where the value is not; near that, and for all other types, the server writes the JSON.

use orm_schema::{Catalog, TypeId};

use super::encode::base_of;
use super::plan::Load;
use crate::pg::fold::{Fold, Object, Value};

/// The byte before a row, or before a value that may be NULL.
pub(super) const MARK: &str = "E'\\\\x01'::bytea";

/// What stands for no row, for NULL, and behind the last row of a list.
pub(super) const END: &str = "E'\\\\x00'::bytea";

/// A row of no columns.
pub(super) const NOTHING: &str = "''::bytea";

/// The packed value of the column that `reference` names, never NULL.
pub(super) fn column(reference: &str, data_type: TypeId, catalog: &Catalog) -> String {
    let c = reference;
    match value(data_type, catalog) {
        Value::Bool => or(&format!("boolsend({c})"), "02"),
        Value::Int => {
            format!("int8send(coalesce({c}::int8, '-9223372036854775808'))")
        }
        Value::BigInt => or(&format!("{MARK} || int8send({c})"), "00"),
        Value::Number => text(&format!("textsend({c}::text)")),
        Value::Numeric => or(&format!("numeric_send({c})"), "00000000ffff0000"),
        Value::String => text(&match base_of(data_type, catalog).0 {
            BPCHAR => format!("bpcharsend({c})"),
            _ => format!("textsend({c})"),
        }),
        Value::Date => or(&format!("date_send({c})"), "80000001"),
        Value::Time => or(&format!("time_send({c})"), "ffffffffffffffff"),
        Value::Timestamp => or(&format!("timestamp_send({c})"), NO_TIMESTAMP),
        Value::TimestampTz => format!(
            "CASE WHEN {c} > '0001-01-02 00:00:00+00'::timestamptz \
             AND {c} < '9999-12-30 00:00:00+00'::timestamptz \
             THEN timestamptz_send({c}) || timestamp_send({c}::timestamp) \
             ELSE E'\\\\x{NO_TIMESTAMP}'::bytea || {} END",
            text(&format!("textsend(to_json({c})::text)"))
        ),
        Value::Uuid => or(&format!("{MARK} || uuid_send({c})"), "00"),
        Value::Raw => text(&match base_of(data_type, catalog).0 {
            JSON => format!("json_send({c})"),
            JSONB => format!("textsend({c}::text)"),
            _ => format!("textsend(to_json({c})::text)"),
        }),
        // Relations, and not columns.
        Value::Many(_) | Value::One(_) => END.to_owned(),
    }
}

const NO_TIMESTAMP: &str = "8000000000000001";

/// The bytes, or these where they are NULL.
fn or(bytes: &str, null: &str) -> String {
    format!("coalesce({bytes}, E'\\\\x{null}')")
}

/// A text's bytes with their end, or the end alone.
fn text(bytes: &str) -> String {
    or(&format!("{bytes} || E'\\\\x0001'"), "0000")
}

const JSON: u32 = 114;
const BPCHAR: u32 = 1042;
const JSONB: u32 = 3802;

/// How values of a type are packed.
fn value(data_type: TypeId, catalog: &Catalog) -> Value {
    match base_of(data_type, catalog).0 {
        16 => Value::Bool,
        20 => Value::BigInt,
        21 | 23 => Value::Int,
        25 | 1043 | BPCHAR => Value::String,
        700 | 701 => Value::Number,
        1082 => Value::Date,
        1083 => Value::Time,
        1114 => Value::Timestamp,
        1184 => Value::TimestampTz,
        1700 => Value::Numeric,
        2950 => Value::Uuid,
        _ => Value::Raw,
    }
}

/// How the column of a load is read.
pub(super) fn fold(load: &Load<'_>, catalog: &Catalog) -> Fold {
    let object = object(load, catalog);
    match load.relation.is_to_many() {
        true => Fold::Many(object),
        false => Fold::One(object),
    }
}

fn object(load: &Load<'_>, catalog: &Catalog) -> Object {
    let columns = load
        .columns
        .iter()
        .map(|column| (column.name.clone(), value(column.data_type.id, catalog)));
    let children = load.children.iter().map(|child| {
        let value = match fold(child, catalog) {
            Fold::Many(object) => Value::Many(object),
            Fold::One(object) => Value::One(object),
        };
        (child.relation.name.clone(), value)
    });
    Object::new(columns.chain(children))
}
