# case: no unique index on the key
/* @upsert(name) */ INSERT INTO account (email, name) VALUES ('a', 'b')

# case: part of a unique index
/* @upsert(sku) */ INSERT INTO price_list (sku, region) VALUES ('a', 'b')

# case: a partial index
/* @upsert(a) */ INSERT INTO keyless (a, b) VALUES (1, 2)

# case: no key at all
/* @upsert */ INSERT INTO keyless (a, b) VALUES (1, 2)

# case: several keys
/* @upsert */ INSERT INTO two_keys (a, b, c) VALUES (1, 2, 3)

# case: no key is inserted in full
/* @upsert */ INSERT INTO account (name) VALUES ('a')

# case: the key is not inserted and has no default
/* @upsert(email) */ INSERT INTO account (name) VALUES ('a')

# case: no such key column
/* @upsert(emial) */ INSERT INTO account (email) VALUES ('a')

# case: no such column to update
/* @upsert(email, update: [nmae]) */ INSERT INTO account (email, name) VALUES ('a', 'b')

# case: no such column to keep
/* @upsert(email, keep: [x]) */ INSERT INTO account (email, name) VALUES ('a', 'b')

# case: no such column inserted
/* @upsert(email) */ INSERT INTO account (email, nme) VALUES ('a', 'b')

# case: update of a generated column
/* @upsert(email, update: [key]) */ INSERT INTO account (email) VALUES ('a')

# case: update of an identity
/* @upsert(email, update: [id]) */ INSERT INTO account (email) VALUES ('a')

# case: update of a column that would become NULL
/* @upsert(email, update: [name]) */ INSERT INTO account (email) VALUES ('a')

# case: ON CONFLICT is there already
/* @upsert(email) */ INSERT INTO account (email) VALUES ('a') ON CONFLICT DO NOTHING

# case: not an INSERT
/* @upsert(id) */ UPDATE account SET name = ''

# case: a SELECT with an INSERT inside
/* @upsert(email) */ WITH x AS (INSERT INTO account (email) VALUES ('a') RETURNING *) SELECT * FROM x

# case: MERGE
/* @upsert(id) */ MERGE INTO author USING person ON true WHEN MATCHED THEN DO NOTHING

# case: DEFAULT VALUES
/* @upsert(id) */ INSERT INTO account DEFAULT VALUES

# case: columns that can't be told
/* @upsert(id) */ INSERT INTO author SELECT * FROM person

# case: part of a column
/* @upsert(id) */ INSERT INTO sample (id, ints[1]) VALUES (1, 2)

# case: no such table
/* @upsert(id) */ INSERT INTO acount (email) VALUES ('a')

# case: two actions
/* @upsert(email, nothing, keep: [name]) */ INSERT INTO account (email, name) VALUES ('a', 'b')

# case: inserted with nothing
/* @upsert(email, nothing, inserted: n) */ INSERT INTO account (email, name) VALUES ('a', 'b')

# case: inserted is a column already
/* @upsert(email, inserted: name) */ INSERT INTO account (email, name) VALUES ('a', 'b') RETURNING *

# case: a key twice
/* @upsert(email, Email) */ INSERT INTO account (email, name) VALUES ('a', 'b')

# case: an unknown argument
/* @upsert(email, updates: [name]) */ INSERT INTO account (email, name) VALUES ('a', 'b')

# case: two upserts
/* @upsert(email) @upsert(id) */ INSERT INTO account (email, name) VALUES ('a', 'b')

# case: an include on an INSERT
/* @upsert(email) @include(books) */ INSERT INTO account (email) VALUES ('a')

# case: inserted, of a partitioned table
/* @upsert(id, inserted: n) */ INSERT INTO event (id, day) VALUES (1, 9)

# case: inserted, of a partitioned table on a server that tells it
# version: 180000
/* @upsert(id, inserted: n) */ INSERT INTO event (id, day) VALUES (1, 9) RETURNING id
