//! What stored expressions call: those of views, rules, defaults, policies, checks, indexes, partitions' keys, and
//! bodies in standard SQL.
//!
//! They are read as the node trees that the catalog stores: to have them written as SQL would lock what they name.

use tokio_postgres::GenericClient;

use super::traces::Trace;
use super::{get, rows};
use crate::Error;

/// How something is used that has an expression or a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It is named.
    Named,
    /// It is called, and reads or writes.
    Called,
    /// It is written to.
    Written,
}

/// Something with an expression, or with a trigger or the like.
#[derive(Debug)]
pub(super) struct Found {
    /// The relation or function; 0 if it is reached without a name. A compiled operator is taken to do nothing but
    /// compute.
    pub(super) oid: u32,
    pub(super) name: String,
    /// Functions and relations that it uses.
    pub(super) references: Vec<u32>,
    /// What it leaves by calling functions of the server's own.
    pub(super) trace: Trace,
    /// How it is used.
    pub(super) how: How,
    /// Its constants, if it leaves anything.
    pub(super) strings: Vec<String>,
}

/// Whatever refers to functions: the object, what it refers to, its tree if that leaves something by itself, whether
/// that may be anything, and how the object is used: named, called or written. Defaults count where something is
/// written, but for those of columns that are computed when they are read; the planner may compute the constant parts
/// of the other trees.
const FOUND: &str = r"
WITH own AS MATERIALIZED (
    SELECT pg_catalog.array_agg(oid) AS oids, pg_catalog.array_agg(oid) FILTER (WHERE dynamic) AS dynamic
      FROM (SELECT p.oid, p.proname IN ('ts_stat', 'ts_rewrite') OR p.proname LIKE '%\_to\_xml%' AS dynamic
              FROM pg_catalog.pg_proc p WHERE p.oid < 16384
               AND (p.proname IN ('set_config', 'ts_stat', 'ts_rewrite') OR p.proname LIKE '%\_to\_xml%'
                    OR p.proname LIKE '%\_replication\_slot'
                    OR ((p.proname LIKE 'pg\_advisory\_%' OR p.proname LIKE 'pg\_try\_advisory\_%')
                        AND p.proname NOT LIKE '%\_xact\_%'))
            UNION ALL SELECT 'pg_catalog.pg_settings'::pg_catalog.regclass::pg_catalog.oid, false) o),
trees(oid, name, tree, how) AS (
    SELECT c.oid, c.relname, r.ev_action::text || r.ev_qual::text, CASE r.ev_type WHEN '1' THEN 'n' ELSE 'w' END
      FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class WHERE c.oid >= 16384
    UNION ALL
    SELECT c.oid, c.relname, d.adbin::text, CASE a.attgenerated::text WHEN 'v' THEN 'n' ELSE 'w' END
      FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_class c ON c.oid = d.adrelid
      JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE c.oid >= 16384
    UNION ALL
    SELECT c.oid, c.relname, t.typdefaultbin::text, 'w'
      FROM pg_catalog.pg_type t JOIN pg_catalog.pg_attribute a ON a.atttypid = t.oid
      JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
     WHERE t.typtype = 'd' AND t.typdefaultbin IS NOT NULL AND t.oid >= 16384
    UNION ALL
    SELECT c.oid, c.relname, t.tgqual::text, 'w'
      FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid WHERE t.tgqual IS NOT NULL
    UNION ALL
    SELECT c.oid, c.relname, concat(p.polqual::text, p.polwithcheck::text), 'n'
      FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
    UNION ALL
    SELECT coalesce(c.oid, 0), coalesce(c.relname, ''), k.conbin::text, 'n'
      FROM pg_catalog.pg_constraint k LEFT JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
     WHERE k.contype = 'c' AND k.oid >= 16384
    UNION ALL
    SELECT c.oid, c.relname, concat(i.indexprs::text, i.indpred::text), 'n'
      FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
     WHERE c.oid >= 16384 AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
    UNION ALL
    SELECT c.oid, c.relname, t.partexprs::text, 'n'
      FROM pg_catalog.pg_partitioned_table t JOIN pg_catalog.pg_class c ON c.oid = t.partrelid
     WHERE t.partexprs IS NOT NULL
    UNION ALL
    SELECT c.oid, c.relname, e.stxexprs::text, 'n'
      FROM pg_catalog.pg_statistic_ext e JOIN pg_catalog.pg_class c ON c.oid = e.stxrelid
     WHERE e.stxexprs IS NOT NULL
    UNION ALL
    SELECT p.oid, p.proname, concat(p.prosqlbody::text, p.proargdefaults::text), 'c'
      FROM pg_catalog.pg_proc p
     WHERE p.oid >= 16384 AND (p.prosqlbody IS NOT NULL OR p.proargdefaults IS NOT NULL)),
found AS MATERIALIZED (
    SELECT f.oid, f.name, f.tree, f.how, f.refs
      FROM (SELECT t.oid, t.name, t.tree, t.how, ARRAY(
                SELECT DISTINCT m[1]::oid
                  FROM pg_catalog.regexp_matches(t.tree,
                       ':(?:funcid|opfuncid|aggfnoid|winfnoid|relid) (\d+)', 'g') m
                 WHERE m[1]::oid >= 16384 OR m[1]::oid = ANY (own.oids)) AS refs
              FROM trees t, own) f
     WHERE f.refs <> '{}'),
uses(oid, name, refs, tree, opaque, how) AS (
    SELECT f.oid, f.name::text, f.refs, CASE WHEN f.refs && own.oids THEN f.tree END, f.refs && own.dynamic, f.how
      FROM found f, own
    UNION ALL
    SELECT c.oid, c.relname::text, ARRAY[t.tgfoid], NULL, false, 'w'
      FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
     WHERE t.tgfoid >= 16384
    UNION ALL
    SELECT c.oid, c.relname::text, ARRAY[k.conrelid], NULL, false, 'w'
      FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.confrelid
     WHERE k.contype = 'f' AND (k.confdeltype NOT IN ('a', 'r') OR k.confupdtype NOT IN ('a', 'r')))
SELECT * FROM uses
UNION ALL
SELECT c.oid, c.relname::text, ARRAY[i.inhrelid], NULL, false, 'n'
  FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhparent
 WHERE i.inhrelid IN (SELECT u.oid FROM uses u)
    OR EXISTS (SELECT FROM pg_catalog.pg_inherits n WHERE n.inhparent = i.inhrelid)
UNION ALL
SELECT p.oid, p.proname::text,
       ARRAY[a.aggtransfn::oid, a.aggfinalfn::oid, a.aggmtransfn::oid, a.aggminvtransfn::oid,
             a.aggmfinalfn::oid, a.aggcombinefn::oid], NULL, false, 'c'
  FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc p ON p.oid = a.aggfnoid WHERE p.oid >= 16384
UNION ALL
SELECT 0, '', ARRAY[p.oid], NULL, false, 'n'
  FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 WHERE p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal')
UNION ALL
SELECT 0, pg_catalog.chr(1) || 'ddl', ARRAY[e.evtfoid], NULL, false, 'n' FROM pg_catalog.pg_event_trigger e
UNION ALL
SELECT 0, '', ARRAY[c.castfunc], NULL, false, 'n' FROM pg_catalog.pg_cast c WHERE c.castfunc >= 16384";

pub(super) async fn read(client: &impl GenericClient) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for row in rows(client, FOUND).await? {
        let tree: Option<String> = get(&row, 3)?;
        let strings = tree.as_deref().map(strings).unwrap_or_default();
        let mut trace = match &tree {
            None => Trace::NONE,
            Some(_) if strings.is_empty() => Trace::SESSION | Trace::UNTOLD,
            Some(_) => Trace::SESSION,
        };
        if get(&row, 4)? {
            trace |= Trace::OPAQUE;
        }
        found.push(Found {
            oid: get(&row, 0)?,
            name: get(&row, 1)?,
            references: get(&row, 2)?,
            trace,
            how: match get::<String>(&row, 5)?.as_str() {
                "w" => How::Written,
                "c" => How::Called,
                _ => How::Named,
            },
            strings,
        });
    }
    Ok(found)
}

/// The texts among a tree's constants, which stand there byte by byte behind a header of four.
fn strings(tree: &str) -> Vec<String> {
    let mut found = Vec::new();
    for after in tree.split(":constvalue ").skip(1) {
        let bytes = after
            .split_once('[')
            .filter(|(length, _)| length.trim().parse::<usize>().is_ok())
            .and_then(|(_, rest)| rest.split_once(']'))
            .map(|(bytes, _)| bytes);
        let Some(bytes) = bytes else { continue };
        let bytes: Option<Vec<u8>> = bytes
            .split_whitespace()
            .skip(4)
            .map(|byte| {
                let byte = byte.parse::<i16>().ok()?;
                u8::try_from(byte.rem_euclid(256)).ok()
            })
            .collect();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        found.extend(text.filter(|text| !text.is_empty()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::strings;

    #[test]
    fn constants_are_read() {
        let tree = "{FUNCEXPR :funcid 2078 :args ({CONST :consttype 25 :constvalue 7 [ 28 0 0 0 97 46 98 ]} \
                    {CONST :constvalue <>} {CONST :constvalue 1 [ 0 0 0 0 0 0 0 0 ]} {CONST :constvalue 6 [ 1 0 0 0 -61 -92 ]})}";
        assert_eq!(strings(tree), ["a.b", "\0\0\0\0", "\u{e4}"]);
    }
}
