//! The queries. Their columns are read by position in `assemble` and `types`.
//!
//! Columns of system tables that only newer servers have are read through `to_jsonb`, which gives
//! NULL for those that are not there.

/// oid, schema, name, kind, row security.
pub(super) const TABLES: &str = "
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relrowsecurity
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
 ORDER BY c.oid";

/// table, number, name, type, modifier, refuses NULL, has a default, identity, generated; also for
/// composite types. A NOT NULL that is not validated yet says nothing about the rows there are.
pub(super) const COLUMNS: &str = "
SELECT a.attrelid, a.attnum, a.attname::text, a.atttypid, a.atttypmod,
       a.attnotnull AND NOT EXISTS (
           SELECT FROM pg_catalog.pg_constraint k
            WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND NOT k.convalidated
              AND k.conkey[1] = a.attnum),
       a.atthasdef, a.attidentity::text, a.attgenerated::text
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND c.relpersistence <> 't'
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
   AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum";

/// table, name, primary, unique, column numbers, how many of them are keys, predicate,
/// nulls not distinct, deferrable. Temporal keys are unique by `&&`, not by `=`.
pub(super) const INDEXES: &str = "
SELECT i.indrelid, x.relname::text, i.indisprimary, i.indisunique AND NOT i.indisexclusion,
       i.indkey::int2[], i.indnkeyatts, pg_catalog.pg_get_expr(i.indpred, i.indrelid),
       i.indisunique AND coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false),
       NOT i.indimmediate
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
 WHERE i.indisvalid AND i.indisready AND i.indislive AND x.relpersistence <> 't'
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
 ORDER BY i.indrelid, i.indisprimary DESC, x.relname";

/// table, name, columns, referenced table, referenced columns, on delete, on update. A partition's
/// copies of its parent's keys are left out, and so are temporal keys, which don't join by `=`.
pub(super) const FOREIGN_KEYS: &str = "
SELECT k.conrelid, k.conname::text, k.conkey, k.confrelid, k.confkey,
       k.confdeltype::text, k.confupdtype::text
  FROM pg_catalog.pg_constraint k
 WHERE k.contype = 'f' AND k.conparentid = 0
   AND NOT coalesce((to_jsonb(k) ->> 'conperiod')::bool, false)
 ORDER BY k.conrelid, k.conname";

/// oid, schema, name, kind, is an array, element, base of a domain, domain refuses NULL, labels,
/// subtype of a range, range of a multirange, table of a row type. The row types of system tables
/// are left out.
pub(super) const TYPES: &str = "
SELECT t.oid, n.nspname::text, t.typname::text, t.typtype::text,
       t.typcategory = 'A' AND t.typelem <> 0, t.typelem, t.typbasetype, t.typnotnull,
       CASE WHEN t.typtype = 'e' THEN ARRAY(
           SELECT e.enumlabel::text FROM pg_catalog.pg_enum e
            WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) END,
       r.rngsubtype, m.rngtypid, t.typrelid
  FROM pg_catalog.pg_type t
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_type s ON s.oid = t.typelem
  LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
  LEFT JOIN pg_catalog.pg_range m ON m.rngmultitypid = t.oid
 WHERE (t.typtype <> 'c' AND s.typtype IS DISTINCT FROM 'c')
    OR (n.nspname <> 'information_schema' AND n.nspname !~ '^pg_')
 ORDER BY t.oid";
