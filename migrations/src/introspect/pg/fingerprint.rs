//! A number that tells whether the schema has changed.

use tokio_postgres::GenericClient;

use super::{get, rows};
use crate::Error;

/// Sums hashes of what each row of the catalog says (`pg_class`, whose rows also change by
/// `TRUNCATE`), or of which transaction wrote it (the rest). 16384 is the first oid of users'
/// objects. Temporary tables come and go too often to count.
const FINGERPRINT: &str = "
WITH relations AS MATERIALIZED (
    SELECT c.oid, hashtextextended(concat_ws(' ', c.oid, n.nspname, c.relname, c.relkind,
               c.relrowsecurity, c.relispartition), 0) AS hash
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND c.relpersistence <> 't'
       AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_')
SELECT hashtextextended(concat_ws(' ',
    (SELECT sum(hash) FROM relations),
    (SELECT sum(hashint8extended(a.attrelid::int8 << 32 | a.xmin::text::int8, a.attnum))
       FROM pg_catalog.pg_attribute a JOIN relations r ON r.oid = a.attrelid
      WHERE a.attnum > 0),
    (SELECT sum(hashint8extended(i.indexrelid::int8 << 32 | i.xmin::text::int8, 0))
       FROM pg_catalog.pg_index i JOIN relations r ON r.oid = i.indrelid),
    (SELECT sum(hashint8extended(k.oid::int8 << 32 | k.xmin::text::int8, 0))
       FROM pg_catalog.pg_constraint k LEFT JOIN relations r ON r.oid = k.conrelid
      WHERE k.oid >= 16384 AND (r.oid IS NOT NULL OR k.conrelid = 0)),
    (SELECT sum(hashint8extended(t.oid::int8 << 32 | t.xmin::text::int8, 0))
       FROM pg_catalog.pg_type t
      WHERE t.oid >= 16384 AND t.typtype IN ('b', 'd', 'e', 'r', 'm') AND t.typcategory <> 'A'),
    (SELECT sum(hashint8extended(e.oid::int8 << 32 | e.xmin::text::int8, 0))
       FROM pg_catalog.pg_enum e),
    (SELECT sum(hashint8extended(p.oid::int8 << 32 | p.xmin::text::int8, 0))
       FROM pg_catalog.pg_proc p WHERE p.oid >= 16384)), 0)";

/// A number that is another one whenever committed DDL has changed tables, columns, indexes, keys,
/// types or functions, by whomever: for a comparison every few seconds. It costs about as much as
/// one reading of `pg_attribute`: 2 ms for a handful of tables, 50 to 100 ms for 1,000 tables of
/// 20 columns on two busy cores.
///
/// It also changes, needlessly, by `REINDEX CONCURRENTLY` and the like. It does not see: a change
/// that is undone before the next look by one that writes the same `pg_class` row (a table renamed
/// there and back, which changes nothing); privileges, comments, storage parameters, policies'
/// texts, triggers, rules and views' bodies, none of which a catalog holds; DDL not yet committed;
/// and, by the nature of a hash, one change in 2⁶⁴.
///
/// # Errors
/// What the server or the connection says.
pub async fn fingerprint(client: &impl GenericClient) -> Result<u64, Error> {
    let found = rows(client, FINGERPRINT).await?;
    let hash: Option<i64> = found.first().map(|row| get(row, 0)).transpose()?;
    Ok(hash.unwrap_or_default().cast_unsigned())
}

/// As [`FINGERPRINT`], of what [`session_traces`](super::session_traces) reads.
const TRACES: &str = "
SELECT hashtextextended(concat_ws(' ',
    (SELECT sum(hashint8extended(oid::int8 << 32 | xmin::text::int8, 1))
       FROM pg_catalog.pg_proc WHERE oid >= 16384),
    (SELECT sum(hashint8extended(oid::int8 << 32 | xmin::text::int8, 2))
       FROM pg_catalog.pg_rewrite WHERE oid >= 16384),
    (SELECT sum(hashint8extended(oid::int8 << 32 | xmin::text::int8, 3))
       FROM pg_catalog.pg_trigger WHERE tgfoid >= 16384 OR tgqual IS NOT NULL),
    (SELECT sum(hashint8extended(oid::int8 << 32 | xmin::text::int8, 4)) FROM pg_catalog.pg_attrdef),
    (SELECT sum(hashint8extended(oid::int8 << 32 | xmin::text::int8, 5)) FROM pg_catalog.pg_policy),
    (SELECT sum(hashint8extended(oid::int8 << 32 | xmin::text::int8, 6))
       FROM pg_catalog.pg_constraint WHERE oid >= 16384 AND contype IN ('c', 'f')),
    (SELECT sum(hashint8extended(inhrelid::int8 << 32 | inhparent::int8, 7)) FROM pg_catalog.pg_inherits),
    (SELECT sum(hashint8extended(oid::int8 << 32 | xmin::text::int8, 8))
       FROM pg_catalog.pg_operator WHERE oid >= 16384),
    (SELECT sum(hashint8extended(oid::int8 << 32 | xmin::text::int8, 9))
       FROM pg_catalog.pg_cast WHERE oid >= 16384),
    (SELECT sum(hashint8extended(oid::int8 << 32 | xmin::text::int8, 10)) FROM pg_catalog.pg_type
      WHERE oid >= 16384 AND typtype IN ('b', 'd', 'e', 'r', 'm') AND typcategory <> 'A'),
    (SELECT sum(hashint8extended(indexrelid::int8 << 32 | xmin::text::int8, 11)) FROM pg_catalog.pg_index
      WHERE indexrelid >= 16384 AND (indexprs IS NOT NULL OR indpred IS NOT NULL)),
    (SELECT sum(hashint8extended(partrelid::int8 << 32 | xmin::text::int8, 12))
       FROM pg_catalog.pg_partitioned_table WHERE partexprs IS NOT NULL),
    (SELECT sum(hashint8extended(oid::int8 << 32 | xmin::text::int8, 13))
       FROM pg_catalog.pg_statistic_ext WHERE stxexprs IS NOT NULL),
    (SELECT sum(hashint8extended(oid::int8 << 32 | xmin::text::int8, 14)) FROM pg_catalog.pg_event_trigger),
    (SELECT sum(hashint8extended(a.attrelid::int8 << 32 | a.xmin::text::int8, 15))
       FROM pg_catalog.pg_type t JOIN pg_catalog.pg_attribute a ON a.atttypid = t.oid
      WHERE t.oid >= 16384 AND t.typtype = 'd' AND t.typdefaultbin IS NOT NULL),
    (SELECT sum(hashtextextended(c.relname::text, c.oid::int8)) FROM pg_catalog.pg_class c
      WHERE c.oid >= 16384 AND (c.relhasrules OR c.relhastriggers OR c.relhassubclass OR c.relchecks > 0
         OR c.relrowsecurity OR c.relkind = 'p' OR c.oid IN (SELECT adrelid FROM pg_catalog.pg_attrdef)
         OR c.oid IN (SELECT indrelid FROM pg_catalog.pg_index
                       WHERE indexprs IS NOT NULL OR indpred IS NOT NULL)))), 0)";

/// A number that is another one whenever committed DDL has changed what leaves something behind in a session. It is
/// cheaper than [`fingerprint`]: of columns it reads those of domains with a default, of indexes those of expressions.
///
/// # Errors
/// What the server or the connection says.
pub async fn traces_fingerprint(client: &impl GenericClient) -> Result<u64, Error> {
    let found = rows(client, TRACES).await?;
    let hash: Option<i64> = found.first().map(|row| get(row, 0)).transpose()?;
    Ok(hash.unwrap_or_default().cast_unsigned())
}
