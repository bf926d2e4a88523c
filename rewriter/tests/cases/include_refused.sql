# case: GROUP BY
/* @include(books) */ SELECT name FROM author GROUP BY name

# case: aggregate
/* @include(books) */ SELECT count(*) FROM author

# case: ordered-set aggregate
/* @include(books) */ SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id) FROM author

# case: DISTINCT
/* @include(books) */ SELECT DISTINCT name FROM author

# case: UNION
/* @include(books) */ SELECT id FROM author UNION ALL SELECT id FROM author

# case: VALUES
/* @include(books) */ VALUES (1), (2)

# case: TABLE
/* @include(books) */ TABLE author

# case: SELECT INTO
/* @include(books) */ SELECT * INTO x FROM author

# case: not a SELECT
UPDATE author SET name = '' /* @include(books) */

# case: CREATE TABLE AS
/* @include(books) */ CREATE TABLE x AS SELECT * FROM author

# case: no FROM
/* @include(books) */ SELECT 1

# case: a subquery first
/* @include(books) */ SELECT * FROM (SELECT * FROM author) a

# case: a function first
/* @include(books) */ SELECT * FROM generate_series(1, 2)

# case: renamed columns
/* @include(books) */ SELECT * FROM author AS a (x, y)

# case: parentheses around it
/* @include(books) */ (SELECT * FROM author)

# case: a common table expression hides the table
/* @include(books) */ WITH author AS (SELECT 1 AS id) SELECT * FROM author

# case: no such table
/* @include(books) */ SELECT * FROM authr

# case: no such relation
SELECT id FROM author /* @include(bokos) */

# case: no such relation further down
SELECT id FROM author /* @include(books.autor) */

# case: a relation of another table in FROM
/* @include(books) */ SELECT * FROM book_tag JOIN tag t ON t.id = tag_id JOIN book ON true

# case: a table without relations
/* @include(x) */ SELECT * FROM two_keys

# case: no such column to order by
/* @include(books(order: -publised)) */ SELECT * FROM author

# case: no such column
/* @include(books(columns: [id, "Title"])) */ SELECT * FROM author

# case: order of a to-one
/* @include(author(order: name)) */ SELECT * FROM book

# case: limit of a to-one
/* @include(author(limit: 1)) */ SELECT * FROM book

# case: the column is there already
/* @include(author) */ SELECT id, title AS author FROM book

# case: the column is there already, by a qualified name
/* @include(author) */ SELECT b.id, x.author FROM book b JOIN (SELECT 1 AS author) x ON true

# case: the column is there already, by a bare label
/* @include(author) */ SELECT id, upper(title) author FROM book

# case: the column is there already, by a cast
/* @include(author) */ SELECT id, x.author::text FROM book, (SELECT 1 AS author) x

# case: ORDER BY names a column that the relation's would hide
/* @include(author) */ SELECT id FROM book, (SELECT 1 AS author) x ORDER BY author DESC, id

# case: condition with a subquery
/* @include(books(where: "EXISTS (SELECT 1 FROM author)")) */ SELECT * FROM author

# case: condition that reaches out
/* @include(books(where: "a.id = 1")) */ SELECT * FROM author a

# case: condition with an unknown column
/* @include(books(where: "price > 1 AND nme = 2")) */ SELECT * FROM author

# case: condition that ends early
/* @include(books(where: "true) OR (true")) */ SELECT * FROM author

# case: condition with more behind it
/* @include(books(where: "true ORDER BY 1")) */ SELECT * FROM author

# case: condition with a comment
/* @include(books(where: "true -- ")) */ SELECT * FROM author

# case: condition with a parameter
/* @include(books(where: "id = $1")) */ SELECT * FROM author

# case: condition with a window function
/* @include(books(where: "row_number() OVER () = 1")) */ SELECT * FROM author

# case: condition with an open string
/* @include(books(where: "title = 'x")) */ SELECT * FROM author

# case: condition with a backslash in legacy strings
# strings: legacy
/* @include(books(where: "title = 'a\'")) */ SELECT * FROM author

# case: nothing included
/* @include() */ SELECT * FROM author

# case: too deep
/* @include(books.author.books.author.books.author.books.author.books) */ SELECT * FROM author

# case: arguments in the wrong place
/* @include(books, limit: 5) */ SELECT * FROM author

# case: an unknown argument
/* @include(books(limits: 5)) */ SELECT * FROM author

# case: arguments given twice
/* @include(books(limit: 5).tags, books(limit: 3)) */ SELECT * FROM author

# case: a bad limit
/* @include(books(limit: 1.5)) */ SELECT * FROM author

# case: a huge limit
/* @include(books(limit: 99999999999)) */ SELECT * FROM author

# case: a name with Unicode escapes
/* @include(books) */ SELECT * FROM U&"a\0075thor"
