CREATE TYPE colour AS ENUM ('red', 'so "green"', 'blü');

CREATE TYPE pair AS (a int, b text);

CREATE DOMAIN moment AS timestamptz;

CREATE DOMAIN word AS text;

CREATE DOMAIN amount AS numeric(30, 10);

CREATE TABLE parent (id int PRIMARY KEY, note text, born timestamptz, worth bigint);

CREATE TABLE parent_tag (parent_id int REFERENCES parent, "ta""g" text, PRIMARY KEY (parent_id, "ta""g"));

CREATE TABLE odd (
    id int PRIMARY KEY, parent_id int REFERENCES parent,
    b bool, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision, n numeric, am amount,
    t text, v varchar(30), c char(6), one "char", nm name, w word,
    d date, tm time, tz timetz, ts timestamp, tt timestamptz, mo moment, iv interval,
    u uuid, by bytea, j json, jb jsonb, ai int[], at text[], att timestamptz[], co colour, pr pair, prs pair[],
    ip inet, mac macaddr, mo2 money, bt bit(3), vb varbit, rg int4range, mr int4multirange, tv tsvector, pt point,
    o oid, rc regclass, xid xid, "odd ""name\" int
);

CREATE INDEX ON odd (parent_id);

INSERT INTO parent VALUES (1, E'it''s "x" \\ é', '2001-02-03 04:05:06+00', 9223372036854775807), (2, NULL, NULL, NULL),
    (3, '', 'infinity', -9223372036854775808), (4, 'nobody', '-infinity', 0), (5, 'large', NULL, NULL);

INSERT INTO parent_tag VALUES (1, 'a"b'), (1, 'c'), (3, '');

INSERT INTO odd (id, parent_id) VALUES (1, 1), (2, NULL);

INSERT INTO odd (id, parent_id, t, b, i4) VALUES (3, 1, 'plain', true, 1);

INSERT INTO odd VALUES (4, 2, true, 32767, 2147483647, 9223372036854775807, 'NaN', 'Infinity', 'NaN', 12345678901234567890.0123456789,
    E'\x01\x02\b\f\n\r\t\x1f\x7f "quoted" \\ / é ü', E'a\nb', 'ab', 'x', 'a name', 'wörd',
    '2024-02-29', '23:59:59.999999', '12:00:00.5+05:45', '2024-02-29 12:00:00.000001', '2024-07-01 12:00:00.1+00', '1890-01-01 00:00:00+00', '1 year 2 mons -3 days 04:05:06.7',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\x00ff5c', E'{"a" :  [1,\n 2.50]}', '{"b": {"c": 1.50, "é": null}}', '{1,NULL,-3}', '{"x\"y",NULL,""}',
    '{"2024-01-01 00:00:00+00",infinity}', 'so "green"', '(1,"x ""y""")', '{"(,)","(2,z)"}',
    '10.0.0.1/8', '08:00:2b:01:02:03', '12.50', '101', '1', '[1,5)', '{[1,2),[5,7)}', 'a:1 b:2', '(1.5,-2)', 4294967295, 'parent', '7', -1);

INSERT INTO odd (id, parent_id, b, i2, i4, i8, f4, f8, n, am, t, v, c, d, tm, ts, tt, mo, iv, u, by, j, jb, ai, at, co) VALUES
    (5, 2, false, -32768, -2147483648, -9223372036854775808, '-Infinity', '-0', '-Infinity', -0.5, '', '', '', 'infinity', '00:00', 'infinity', 'infinity', '-infinity', '0', '00000000-0000-0000-0000-000000000000', '', 'null', 'null', '{}', '{}', 'blü'),
    (6, 3, NULL, 0, 0, 0, 1e-30, 1e-300, '1e-1000', 0, 'a''b', 'x', 'éé', '-infinity', '24:00', '-infinity', '-infinity', '0001-01-01 00:00:00+00', NULL, NULL, NULL, '"s"', '"s"', '{{1,2},{3,4}}', '{a}', 'red'),
    (7, 3, true, 1, 10, 100, 16777216, 123456789.123, '1e1000', 99999999999999999999.9999999999, '1', '1', '1', '4713-01-01 BC', '00:00:00.000001', '4713-01-01 00:00:00 BC', '4713-01-01 12:00:00+00 BC', '9999-12-31 23:59:59.999999+00', '1 s', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (8, 3, true, 1, 10, 100, 0.1, 0.1, 0.000000000001, 0.0000000001, '2', '2', '2', '5874897-12-31', '01:02:03', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '10000-01-01 00:00:00+00', '1 s', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (9, 3, true, 1, 10, 100, 3.4e38, 1.7976931348623157e308, -10000.00010000, -1, '3', '3', '3', '0001-12-31 BC', '01:02:03.1', '0001-12-31 23:59:59.5 BC', '0001-12-31 23:59:59.5+00 BC', '1937-03-01 00:00:00+00', '1 s', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (10, 3, true, 1, 10, 100, 1, 2, 100000000, 10000, '4', '4', '4', '1600-02-29', '01:02:03.12', '1900-03-01', '1900-03-01', '2000-10-29 01:30:00+00', '1 s', NULL, NULL, NULL, NULL, NULL, NULL, NULL)
