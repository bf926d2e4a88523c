# case: reserved words as names
/* @include(orders(order: -select)) */ SELECT u."group" FROM "user" AS u ORDER BY u.id
# expect
SELECT u."group", (SELECT coalesce(json_agg(o ORDER BY o."select" DESC), '[]') FROM "order" o WHERE o."user" = u.id) AS orders FROM "user" u ORDER BY u.id

# case: a relation whose plain name is a column
/* @include(user_rel) */ SELECT "select", "from"."user" FROM "order" "from" ORDER BY 1
# expect
SELECT "select", "user", (SELECT row_to_json(u) FROM "user" u WHERE u.id = o."user") AS user_rel FROM "order" o ORDER BY 1

# case: quoted names with blanks and capitals
/* @include(owner) */ SELECT "Item Id" FROM "Item List" ORDER BY "Item Id"
# expect
SELECT "Item Id", (SELECT row_to_json(a) FROM author a WHERE a.id = i."ownerId") AS owner FROM "Item List" i ORDER BY "Item Id"

# case: a quoted relation, and columns in any case
/* @include("Item Lists"(columns: [size, "Item Id"], order: SIZE)) */ SELECT id FROM author WHERE id = 1
# expect
SELECT 1 AS id, '[{"Size":40,"Item Id":1},{"Size":42,"Item Id":3}]'::json AS "Item Lists"

# case: folded and quoted table names
/* @include(Books(columns: ID)) */ SELECT A.ID FROM PUBLIC.Author AS A WHERE "a"."id" = 2
# expect
SELECT 2 AS id, '[{"id":4},{"id":5}]'::json AS books

# case: schema-qualified, no alias
/* @include(warehouse(columns: [city])) */ SELECT stock.sku FROM shop.stock WHERE shop.stock.quantity = 7
# expect
SELECT 'a' AS sku, '{"city":"Reno"}'::json AS warehouse

# case: search path decides
# path: shop, public
/* @include(warehouse(columns: [city])) */ SELECT sku FROM stock WHERE quantity = 7
# expect
SELECT 'a' AS sku, '{"city":"Reno"}'::json AS warehouse

# case: search path hides
# path: shop, public
/* @include(author) */ SELECT id FROM book

# case: an alias with a quote in it
/* @include(author(columns: [id])) */ SELECT "b ""x".id FROM book "b ""x" WHERE "b ""x".id = 1
# expect
SELECT 1 AS id, '{"id":1}'::json AS author

# case: an alias that looks like one of ours
/* @include(author(columns: [id])) */ SELECT _i1.id FROM book _i1 WHERE _i1.id = 1
# expect
SELECT 1 AS id, '{"id":1}'::json AS author

# case: an alias without AS, named like a clause elsewhere
/* @include(author(columns: [id])) */ SELECT value.id FROM book value WHERE value.id = 1
# expect
SELECT 1 AS id, '{"id":1}'::json AS author

# case: labels that are keywords
/* @include(author(columns: [id])) */ SELECT b.id AS from, b.title AS "where", b.pages AS limit FROM book b WHERE b.id = 4
# expect
SELECT 4 AS from, 'Solaris' AS "where", 204::pages AS limit, '{"id":2}'::json AS author

# case: characters beyond ASCII before and in the statement
/* @include(author(columns: [id])) */ SELECT 'äöü' AS "größe", id FROM book WHERE id = 1
# expect
SELECT 'äöü' AS "größe", 1 AS id, '{"id":1}'::json AS author

# case: a table with a star
/* @include(author(columns: [id])) */ SELECT id FROM book * b WHERE id = 1
# expect
SELECT 1 AS id, '{"id":1}'::json AS author

# case: a table by ONLY
/* @include(author(columns: [id])) */ SELECT id FROM ONLY book b WHERE id = 1
# expect
SELECT 1 AS id, '{"id":1}'::json AS author
