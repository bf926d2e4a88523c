# case: parameters keep their numbers
# params: 2, 1
/* @include(books(columns: [id], limit: 1, order: id)) */ SELECT id, $2::int AS two FROM author WHERE id <= $1 ORDER BY id LIMIT $2
# expect
SELECT 1 AS id, 1 AS two, '[{"id":1}]'::json AS books

# case: LIMIT and OFFSET of the statement
/* @include(books(columns: [id])) */ SELECT id FROM author ORDER BY id DESC LIMIT 1 OFFSET 2
# expect
SELECT 2 AS id, '[{"id":4},{"id":5}]'::json AS books

# case: FETCH FIRST
/* @include(books(columns: [id])) */ SELECT id FROM author ORDER BY id DESC OFFSET 2 ROWS FETCH FIRST ROW ONLY
# expect
SELECT 2 AS id, '[{"id":4},{"id":5}]'::json AS books

# case: join, with the same column names on both sides
/* @include(tags(columns: [id])) */ SELECT b.id, a.id AS a FROM book b JOIN author a ON a.id = b.author_id WHERE a.id = 2 ORDER BY b.id
# expect
SELECT * FROM (VALUES (4, 2, '[{"id":1},{"id":2}]'::json), (5, 2, '[]')) v(id, a, tags)

# case: star over a join
/* @include(author(columns: [id])) */ SELECT * FROM book JOIN book_tag ON book_id = book.id WHERE tag_id = 1 ORDER BY book.id
# expect
SELECT *, json_build_object('id', author_id) AS author FROM book JOIN book_tag ON book_id = book.id WHERE tag_id = 1 ORDER BY book.id

# case: star over a join with USING
/* @include(author(columns: [id])) */ SELECT * FROM book JOIN (SELECT 1 AS id, 2 AS more) x USING (id)
# expect
SELECT *, '{"id":1}'::json AS author FROM book JOIN (SELECT 1 AS id, 2 AS more) x USING (id)

# case: outer join on the base side
/* @include(books(columns: [id])) */ SELECT a.id, n FROM author a RIGHT JOIN (VALUES (2), (99)) v(n) ON n = a.id ORDER BY n
# expect
SELECT * FROM (VALUES (2, 2, '[{"id":4},{"id":5}]'::json), (NULL, 99, '[]')) v(id, n, books)

# case: comma join, lateral, and a condition with IS DISTINCT FROM
/* @include(author(columns: [id])) */ SELECT b.id, b.id IS DISTINCT FROM x.y AS d FROM book b, LATERAL (SELECT b.id + 1 AS y) x WHERE b.id IS NOT DISTINCT FROM 1
# expect
SELECT 1 AS id, true AS d, '{"id":1}'::json AS author

# case: common table expressions beside the table
/* @include(books(columns: [id])) */ WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2), m AS MATERIALIZED (SELECT 2 AS i)
SELECT author.id FROM author JOIN n ON n.i = author.id JOIN m USING (i) ORDER BY 1
# expect
SELECT 2 AS id, '[{"id":4},{"id":5}]'::json AS books

# case: subqueries with clauses and aggregates of their own
/* @include(author(columns: [id])) */ SELECT id, (SELECT count(*) FROM tag GROUP BY id > 0 LIMIT 1) AS n FROM book WHERE id IN (SELECT max(id) FROM book WHERE id < 5 GROUP BY author_id HAVING count(*) = 1 UNION SELECT 4)
# expect
SELECT 4 AS id, 3::bigint AS n, '{"id":2}'::json AS author

# case: window functions
/* @include(author(columns: [id])) */ SELECT id, count(*) OVER w AS n, sum(id) FILTER (WHERE id > 1) OVER (ORDER BY id) AS s FROM book WHERE id < 3 WINDOW w AS (PARTITION BY author_id) ORDER BY id
# expect
SELECT * FROM (VALUES (1, 2::bigint, NULL::bigint, '{"id":1}'::json), (2, 2, 2, '{"id":1}')) v(id, n, s, author)

# case: set-returning function in the list
/* @include(books(columns: [id])) */ SELECT id, generate_series(1, 2) AS g FROM author WHERE id = 2
# expect
SELECT 2 AS id, g, '[{"id":4},{"id":5}]'::json AS books FROM generate_series(1, 2) g

# case: FOR UPDATE locks the statement's rows only
/* @include(books(columns: [id])) */ SELECT id FROM author WHERE id = 2 FOR UPDATE
# expect
SELECT 2 AS id, '[{"id":4},{"id":5}]'::json AS books

# case: FOR UPDATE over the whole table
/* @include(books(columns: [id])) */ SELECT id FROM author ORDER BY id DESC FOR NO KEY UPDATE OF author SKIP LOCKED
# expect
SELECT id, (SELECT coalesce(json_agg(json_build_object('id', b.id)), '[]') FROM book b WHERE b.author_id = a.id) AS books FROM author a ORDER BY id DESC

# case: DISTINCT ON
/* @include(author(columns: [id])) */ SELECT DISTINCT ON (author_id) author_id, id FROM book ORDER BY author_id, id
# expect
SELECT * FROM (VALUES (1, 1, '{"id":1}'::json), (2, 4, '{"id":2}'), (NULL, 6, NULL)) v(author_id, id, author)

# case: SELECT ALL and an empty list
/* @include(author(columns: [id])) */ SELECT ALL id FROM book WHERE id = 1
# expect
SELECT 1 AS id, '{"id":1}'::json AS author

# case: an empty list
/* @include(author(columns: [id])) */ SELECT FROM book WHERE id = 1
# expect
SELECT '{"id":1}'::json AS author

# case: comments where text is added
/* @include(author(columns: [id])) */ SELECT id -- the id
  , title /* the title */ FROM /* from */ book -- the table
  WHERE id = 1 -- the end
# expect
SELECT 1 AS id, 'The Dispossessed' AS title, '{"id":1}'::json AS author

# case: comments where text is added, over the whole table
/* @include(books(columns: [id])) */ SELECT * -- all
  FROM author -- the table
  ORDER BY id -- the end
# expect
SELECT *, (SELECT coalesce(json_agg(json_build_object('id', b.id)), '[]') FROM book b WHERE b.author_id = author.id) AS books FROM author ORDER BY id

# case: EXPLAIN and a prepared statement
/* @include(author(columns: [id])) */ EXPLAIN (COSTS OFF, FORMAT TEXT) SELECT id FROM book WHERE id = 1

# case: a cursor
# json: text
/* @include(author(columns: [id])) */ DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT id FROM book WHERE id = 1

# case: PREPARE with types
/* @include(author(columns: [id])) */ PREPARE p (int, text) AS SELECT id FROM book WHERE id = $1

# case: TABLESAMPLE is no alias
/* @include(author(columns: [id])) */ SELECT id FROM book TABLESAMPLE SYSTEM (100) WHERE id = 1
# expect
SELECT 1 AS id, '{"id":1}'::json AS author

# case: strings with everything in them
/* @include(author(columns: [id])) */ SELECT 'FROM ''x'' ; /* @include(y) */' AS a, $q$ UNION -- $q$ AS b, E'\' GROUP BY' AS c FROM book WHERE id = 1;
# expect
SELECT 'FROM ''x'' ; /* @include(y) */' AS a, $q$ UNION -- $q$ AS b, E'\' GROUP BY' AS c, '{"id":1}'::json AS author

# case: ORDER BY a qualified name like the relation's
/* @include(author(columns: [id])) */ SELECT id, x.author + 0 AS n FROM book, (VALUES (1), (2)) x (author) WHERE id = 1 ORDER BY x.author DESC
# expect
SELECT * FROM (VALUES (1, 2, '{"id":1}'::json), (1, 1, '{"id":1}'::json)) v (id, n, author)
