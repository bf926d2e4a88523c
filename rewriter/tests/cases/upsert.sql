# case: update by a named key, several rows
/* @upsert(email) */ INSERT INTO account (email, name) VALUES ('ann@x', 'Anna'), ('cy@x', 'Cy') RETURNING email, name, visits
# expect
SELECT * FROM (VALUES ('ann@x', 'Anna', 5), ('cy@x', 'Cy', 0)) v(email, name, visits)

# case: inserted told from updated
/* @upsert(email, inserted: is_new) */ INSERT INTO account (email, name) VALUES ('ann@x', 'Anna'), ('cy@x', 'Cy') RETURNING email
# expect
SELECT * FROM (VALUES ('ann@x', false), ('cy@x', true)) v(email, is_new)

# case: inserted alone
INSERT INTO account (email) VALUES ('bob@x'), ('dee@x') -- @upsert(email, inserted: "Is New")
# expect
SELECT * FROM (VALUES (false), (true)) v("Is New")
# after
SELECT email, name FROM account ORDER BY email
# state
SELECT * FROM (VALUES ('ann@x', 'Ann'), ('bob@x', 'Bob'), ('dee@x', NULL)) v(email, name)

# case: the only key whose columns are inserted
/* @upsert */ INSERT INTO account (email, visits) VALUES ('ann@x', 6)
# after
SELECT name, visits FROM account WHERE email = 'ann@x'
# state
SELECT 'Ann' AS name, 6 AS visits

# case: the primary key, no column list
/* @upsert() */ INSERT INTO author VALUES (3, 'Somebody') RETURNING *
# expect
SELECT 3 AS id, 'Somebody' AS name, NULL::date AS born

# case: the primary key goes before other keys
/* @upsert */ INSERT INTO book_tag (book_id, tag_id) VALUES (1, 1), (3, 3) RETURNING tag_id
# expect
SELECT * FROM (VALUES (1), (3)) v(tag_id)

# case: update some
/* @upsert(sku, region, update: [cents]) */ INSERT INTO price_list (sku, region, cents, note) VALUES ('a', 'eu', 1, 'new'), ('b', 'eu', 2, 'new') RETURNING *
# expect
SELECT * FROM (VALUES ('a', 'eu', 1, 'old'), ('b', 'eu', 2, 'new')) v(sku, region, cents, note)

# case: keep some
/* @upsert(region, sku, keep: [cents]) */ INSERT INTO price_list (sku, region, cents, note) VALUES ('a', 'eu', 1, 'new'), ('b', 'eu', 2, 'new') RETURNING *
# expect
SELECT * FROM (VALUES ('a', 'eu', 100, 'new'), ('b', 'eu', 2, 'new')) v(sku, region, cents, note)

# case: nothing
/* @upsert(sku, region, nothing) */ INSERT INTO price_list (sku, region, cents) VALUES ('a', 'eu', 1), ('b', 'eu', 2) RETURNING sku
# expect
SELECT 'b' AS sku
# after
SELECT cents FROM price_list ORDER BY sku, region
# state
SELECT * FROM (VALUES (100), (120), (2)) v(cents)

# case: nothing left to update still returns the row
/* @upsert(email) */ INSERT INTO account (email) VALUES ('ann@x') RETURNING name
# expect
SELECT 'Ann' AS name

# case: a key column with a default need not be inserted
/* @upsert(sku, region) */ INSERT INTO price_list (sku, cents) VALUES ('a', 7) RETURNING region, cents, note
# expect
SELECT 'eu' AS region, 7 AS cents, 'old' AS note

# case: update a column that has a default
/* @upsert(email, update: [name, visits]) */ INSERT INTO account (email, name) VALUES ('ann@x', 'Anna') RETURNING name, visits
# expect
SELECT 'Anna' AS name, 0 AS visits

# case: parameters
# params: 'ann@x', 'Anna', 9
/* @upsert(email) */ INSERT INTO account (email, name, visits) VALUES ($1, $2, $3) RETURNING name, visits
# expect
SELECT 'Anna' AS name, 9 AS visits

# case: an alias
/* @upsert(email, inserted: n) */ INSERT INTO public.account AS x (email, name) VALUES ('ann@x', 'Anna') RETURNING x.email, x.name
# expect
SELECT 'ann@x' AS email, 'Anna' AS name, false AS n

# case: quoted names
/* @upsert("Key") */ INSERT INTO "Odd Table" ("Key", "order", "Quoted ""x""") VALUES (1, 2, 3) RETURNING *
# expect
SELECT 1 AS "Key", 2 AS "order", 3 AS "Quoted ""x"""

# case: quoted names without a column list, in any case
/* @upsert(key, keep: ["order"]) */ INSERT INTO "Odd Table" VALUES (1, 2, 3) RETURNING *
# expect
SELECT 1 AS "Key", 1 AS "order", 3 AS "Quoted ""x"""

# case: INSERT … SELECT
/* @upsert(email) */ INSERT INTO account (email, name) SELECT lower(name) || '@x', 'from ' || name FROM person ORDER BY id RETURNING email, name
# expect
SELECT lower(name) || '@x' AS email, 'from ' || name AS name FROM person ORDER BY id

# case: INSERT … SELECT without a column list
/* @upsert */ INSERT INTO author SELECT id, name FROM person WHERE id = 1 RETURNING id, name
# expect
SELECT 1 AS id, 'Ann' AS name

# case: INSERT … SELECT with a join and a WHERE, in parentheses
/* @upsert(id) */ INSERT INTO author (id, name) (SELECT p.id, p.name FROM person p JOIN person q ON p.id = q.id WHERE p.id = 1) RETURNING name
# expect
SELECT 'Ann' AS name

# case: a common table expression before
/* @upsert(id) */ WITH n AS (SELECT 1 AS id, 'With' AS name) INSERT INTO author (id, name) SELECT * FROM n RETURNING name
# expect
SELECT 'With' AS name

# case: OVERRIDING SYSTEM VALUE; the identity is not updated
/* @upsert(email) */ INSERT INTO account (id, email, name) OVERRIDING SYSTEM VALUE VALUES (77, 'ann@x', 'Anna') RETURNING id <> 77 AS kept, name
# expect
SELECT true AS kept, 'Anna' AS name

# case: DEFAULT in every row leaves the column alone
/* @upsert(email) */ INSERT INTO account (email, visits, name) VALUES ('ann@x', default, 'Anna'), ('bob@x', DEFAULT, DEFAULT) RETURNING name, visits
# expect
SELECT * FROM (VALUES ('Anna', 5), (NULL, 1)) v(name, visits)

# case: DEFAULT in some rows is a value
/* @upsert(email) */ INSERT INTO account (email, visits) VALUES ('ann@x', DEFAULT), ('bob@x', 7) RETURNING visits
# expect
SELECT * FROM (VALUES (0), (7)) v(visits)

# case: DEFAULT for a column that is to be updated
/* @upsert(email, update: [visits]) */ INSERT INTO account (email, visits) VALUES ('ann@x', DEFAULT) RETURNING visits
# expect
SELECT 0 AS visits

# case: a row that is there keeps its primary key
/* @upsert(email) */ INSERT INTO member (id, email, name) VALUES (20, 'ann@x', 'Anna'), (21, 'cy@x', 'Cy') RETURNING id, name
# expect
SELECT * FROM (VALUES (10, 'Anna'), (21, 'Cy')) v(id, name)

# case: a primary key that is to be updated
/* @upsert(email, update: [id]) */ INSERT INTO member (id, email, name) VALUES (20, 'ann@x', 'Anna') RETURNING id, name
# expect
SELECT 20 AS id, 'Ann' AS name

# case: a primary key that is DEFAULT is no key that is inserted
/* @upsert */ INSERT INTO member VALUES (DEFAULT, 'ann@x', 'Anna') RETURNING id, name
# expect
SELECT 10 AS id, 'Anna' AS name

# case: DEFAULT behind OVERRIDING
/* @upsert(email) */ INSERT INTO member (id, email, name) OVERRIDING USER VALUE VALUES (DEFAULT, lower('ANN@x'), DEFAULT) RETURNING id, name
# expect
SELECT 10 AS id, 'Ann' AS name

# case: a semicolon and a comment behind
/* @upsert(email) */ INSERT INTO account (email, name) VALUES ('ann@x', 'Anna') -- it's Ann
;
# after
SELECT name FROM account WHERE email = 'ann@x'
# state
SELECT 'Anna' AS name

# case: with a timeout
/* @upsert(email) @timeout(1s) */ INSERT INTO account (email, name) VALUES ('ann@x', 'Anna') RETURNING name
# expect
SELECT 'Anna' AS name

# case: EXPLAIN
EXPLAIN (COSTS OFF) INSERT INTO account (email) VALUES ('x') -- @upsert(email)

# case: a partitioned table
/* @upsert */ INSERT INTO event (id, day) VALUES (1, 9), (12, 8) RETURNING id, day, book_id
# expect
SELECT * FROM (VALUES (1, 9, 1), (12, 8, NULL)) v(id, day, book_id)
