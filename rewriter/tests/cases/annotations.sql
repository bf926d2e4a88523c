# case: no annotation
SELECT 1; /* not @include */ SELECT '/* @include(x) */'

# case: behind the statement
SELECT id FROM book WHERE id = 1 -- @include(author(columns: [id]))
# expect
SELECT 1 AS id, '{"id":1}'::json AS author

# case: behind the semicolon
SELECT id FROM book WHERE id = 1; -- @include(author(columns: [id]))
# expect
SELECT 1 AS id, '{"id":1}'::json AS author

# case: inside the statement
SELECT id /* @include(author(columns: [id])) */ FROM book WHERE id = 1
# expect
SELECT 1 AS id, '{"id":1}'::json AS author

# case: several annotations and several directives
/* @include(author(columns: [id])) @timeout(2s) */ SELECT id FROM book WHERE id = 1 -- @include(publisher)
# expect
SELECT 1 AS id, '{"id":1}'::json AS author, '{"id":1,"name":"Ace"}'::json AS publisher

# case: over several lines
/*
   @include(
     author(columns: [id]),
     tags(columns: [id],),
   ),
   @timeout(1m)
*/
SELECT id FROM book WHERE id = 1
# expect
SELECT 1 AS id, '{"id":1}'::json AS author, '[{"id":1},{"id":2}]'::json AS tags

# case: several statements, one annotated
SELECT 1; /* @include(author(columns: [id])) */ SELECT id FROM book WHERE id = 1; SELECT 'x;y'

# case: several statements are never relabelled
# json: text
SELECT 1; /* @include(author(columns: [id])) */ SELECT id FROM book WHERE id = 1

# case: two statements annotated
/* @timeout(3s) */ SELECT 1; SELECT id /* @timeout(1s) @include(author(columns: [id])) */ FROM book

# case: ambiguous
SELECT id FROM book; -- @include(author)
SELECT id FROM author

# case: no statement
/* @include(author) */

# case: unknown directive
/* @inclde(author) */ SELECT id FROM book

# case: position counts characters
SELECT 'ä', id FROM book /* ü @x */ /* é */ /* @inclde(author) */

# case: words behind a directive
/* @include(author) please */ SELECT id FROM book

# case: not closed
/* @include(author */ SELECT id FROM book

# case: an open string in the annotation
/* @include(books(where: "x)) */ SELECT id FROM author

# case: a sign without meaning
/* @include(author; tags) */ SELECT id FROM book

# case: not built yet
/* @cache(30s, tags: [books]) */ SELECT id FROM book

# case: none of these is built yet
SELECT 1 /* @route(replica) */

# case: no arguments at all
SELECT 1 -- @nocache

# case: migration
/* @migration(id: "0001", checksum: abc) */ CREATE TABLE x ()

# case: an open string in the statement
/* @include(author) */ SELECT 'x FROM book
