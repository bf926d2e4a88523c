-- The schema that the cases are about, with a few rows. support/catalog.rs says the same in Rust.
CREATE TYPE mood AS ENUM ('calm', 'so "so"');
CREATE DOMAIN pages AS integer CHECK (VALUE > 0);

CREATE TABLE publisher (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE author (id int PRIMARY KEY, name text NOT NULL, born date);
CREATE TABLE book (
    id int PRIMARY KEY,
    author_id int REFERENCES author,
    publisher_id int REFERENCES publisher,
    title text NOT NULL,
    price numeric(10, 2),
    pages pages,
    published timestamptz
);
CREATE INDEX ON book (author_id);
CREATE INDEX ON book (publisher_id);
CREATE TABLE tag (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE book_tag (
    book_id int REFERENCES book, tag_id int REFERENCES tag, PRIMARY KEY (book_id, tag_id)
);
-- No index on book_id.
CREATE TABLE review (id int PRIMARY KEY, book_id int REFERENCES book, stars int, body text);
CREATE TABLE profile (author_id int PRIMARY KEY REFERENCES author, bio jsonb);
CREATE TABLE employee (id int PRIMARY KEY, name text, manager_id int REFERENCES employee);
CREATE INDEX ON employee (manager_id);
CREATE TABLE person (id int PRIMARY KEY, name text);
CREATE TABLE message (
    id int PRIMARY KEY,
    sender_id int REFERENCES person,
    recipient_id int REFERENCES person,
    body text
);
CREATE INDEX ON message (sender_id);
CREATE INDEX ON message (recipient_id);

CREATE TABLE "user" (id int PRIMARY KEY, "group" text);
CREATE TABLE "order" (
    "select" int PRIMARY KEY, "user" int REFERENCES "user", "desc" text, "a ""b'\c" text
);
CREATE INDEX ON "order" ("user");
CREATE TABLE "Item List" ("Item Id" int PRIMARY KEY, "ownerId" int REFERENCES author, "Size" int);

CREATE SCHEMA shop;
CREATE TABLE shop.warehouse (region text, code int, city text, PRIMARY KEY (region, code));
CREATE TABLE shop.stock (
    region text, warehouse_code int, sku text, quantity int,
    PRIMARY KEY (region, warehouse_code, sku),
    FOREIGN KEY (region, warehouse_code) REFERENCES shop.warehouse
);
CREATE TABLE shop.book (id int PRIMARY KEY, title text);

CREATE TABLE sample (
    id int PRIMARY KEY, author_id int REFERENCES author,
    small int2, big int8, yes bool, f4 float4, f8 float8, num numeric,
    txt text, vc varchar(20), fixed char(4), day date, at timestamp, atz timestamptz, clock time,
    span interval, uid uuid, raw bytea, j json, jb jsonb, ints int4[], texts text[], feeling mood,
    size pages, slots int4range
);
CREATE INDEX ON sample (author_id);

CREATE TABLE account (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL UNIQUE,
    name text,
    visits int NOT NULL DEFAULT 0,
    key text GENERATED ALWAYS AS (lower(email)) STORED
);
CREATE TABLE price_list (sku text, region text DEFAULT 'eu', cents int, note text, UNIQUE (sku, region));
CREATE TABLE two_keys (a int UNIQUE, b int UNIQUE, c int);
CREATE TABLE keyless (a int, b int);
CREATE UNIQUE INDEX ON keyless (a) WHERE b > 0;
CREATE TABLE event (id int PRIMARY KEY, day int, book_id int REFERENCES book) PARTITION BY RANGE (id);
CREATE TABLE event_low PARTITION OF event FOR VALUES FROM (0) TO (10);
CREATE TABLE event_high PARTITION OF event FOR VALUES FROM (10) TO (20);
CREATE TABLE "Odd Table" ("Key" int PRIMARY KEY, "order" int, "Quoted ""x""" int);

INSERT INTO publisher VALUES (1, 'Ace'), (2, 'Bantam'), (3, 'None yet');
INSERT INTO author VALUES
    (1, 'Ursula', '1929-10-21'), (2, 'Stan "S" Lem', '1921-09-12'), (3, 'Nobody', NULL), (4, E'Tab\there', NULL);
INSERT INTO book VALUES
    (1, 1, 1, 'The Dispossessed', 9.50, 341, '1974-05-01 10:00+00'),
    (2, 1, 1, 'Lathe "of" Heaven', 12.00, 184, '1971-01-01 00:00+00'),
    (3, 1, 2, 'Left Hand', 15.25, 286, '1969-03-01 12:30:15.25+00'),
    (4, 2, NULL, 'Solaris', NULL, 204, '1961-06-01 00:00+00'),
    (5, 2, 2, 'Fiasco', 'NaN', NULL, NULL),
    (6, NULL, 1, E'Anon\\ymous \u00e9\n', 1.00, 10, '-infinity');
INSERT INTO tag VALUES (1, 'sf'), (2, 'classic'), (3, 'unused');
INSERT INTO book_tag VALUES (1, 1), (1, 2), (2, 1), (4, 1), (4, 2);
INSERT INTO review VALUES (1, 1, 5, 'fine'), (2, 1, 3, 'so-so'), (3, 4, 4, NULL);
INSERT INTO profile VALUES (1, '{"likes": ["cats", null]}'), (2, NULL);
INSERT INTO employee VALUES (1, 'Root', NULL), (2, 'Mid', 1), (3, 'Leaf', 2), (4, 'Leaf too', 2);
INSERT INTO person VALUES (1, 'Ann'), (2, 'Bob'), (3, 'Cy');
INSERT INTO message VALUES (1, 1, 2, 'hi'), (2, 2, 1, 'ho'), (3, 1, 3, 'hey');
INSERT INTO "user" VALUES (1, 'admins'), (2, NULL);
INSERT INTO "order" VALUES (10, 1, 'first', 'x'), (11, 1, 'second', NULL), (12, NULL, NULL, NULL);
INSERT INTO "Item List" VALUES (1, 1, 40), (2, 2, 41), (3, 1, 42);
INSERT INTO shop.warehouse VALUES ('eu', 1, 'Ulm'), ('eu', 2, 'Bonn'), ('us', 1, 'Reno');
INSERT INTO shop.stock VALUES ('eu', 1, 'a', 5), ('eu', 1, 'b', 6), ('us', 1, 'a', 7);
INSERT INTO shop.book VALUES (1, 'not public');
INSERT INTO sample VALUES
    (1, 1, -3, 9007199254740993, true, 1.5, 1e300, 123.4500, E'q"b\\t\t\x01é', 'v', 'ab', '2024-02-29',
     '2024-02-29 01:02:03.5', '2024-02-29 01:02:03+02', '01:02', '1 day 2:00', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
     '\xdead', '{"a" :  [1]}', '{"b": {"c": 1.50}}', '{1,NULL}', '{"x\"y",z}', 'so "so"', 7, '[1,5)'),
    (2, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, NULL, NULL),
    (3, 1, 0, -1, false, 'NaN', 'Infinity', 'NaN', '', '', '', 'infinity', '-infinity', 'infinity', '00:00',
     '-1 s', '00000000-0000-0000-0000-000000000000', '', 'null', 'null', '{}', '{}', 'calm', 1, 'empty'),
    (4, 1, 1, 1, true, '-Infinity', '-Infinity', '-Infinity', '1', '1', '1', '0044-03-15 BC', '0044-03-15 BC',
     '9999-12-31', '23:59:59.999999', '1 mon', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\x00', '[]', '[]', '{{1},{2}}', '{NULL}',
     'calm', 1, '(,)');
INSERT INTO account (email, name, visits) VALUES ('ann@x', 'Ann', 5), ('bob@x', 'Bob', 1);
INSERT INTO price_list VALUES ('a', 'eu', 100, 'old'), ('a', 'us', 120, 'old');
INSERT INTO event VALUES (11, 1, 1), (1, 2, 1), (2, 3, 4);
INSERT INTO two_keys VALUES (1, 10, 0);
INSERT INTO "Odd Table" VALUES (1, 1, 1);
