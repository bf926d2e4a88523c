CREATE TABLE author (
    id int PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    born date
);
CREATE TABLE book (
    id int PRIMARY KEY,
    author_id int NOT NULL REFERENCES author,
    title text NOT NULL,
    published date,
    price numeric(8, 2)
);
INSERT INTO author
SELECT i, 'Author number ' || i, 'author' || i || '@library.example', date '1900-01-01' + i * 17
FROM generate_series(1, 1000) i;
-- Books of one author don't lie side by side, as in a table that has grown.
INSERT INTO book
SELECT i, 1 + (i * 7919) % 1000, 'The long title of book number ' || i, date '1950-01-01' + i % 20000,
    i % 5000 / 100.0
FROM generate_series(1, 10000) i;
CREATE INDEX ON book (author_id);
