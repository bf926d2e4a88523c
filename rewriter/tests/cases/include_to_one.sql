# case: belongs-to; a NULL key gives NULL
/* @include(author) */ SELECT id, title FROM book ORDER BY id
# expect
SELECT id, title, (SELECT row_to_json(a) FROM author a WHERE a.id = b.author_id) AS author FROM book b ORDER BY id

# case: two siblings
/* @include(author, publisher) */ SELECT id FROM book ORDER BY id
# expect
SELECT id, (SELECT row_to_json(a) FROM author a WHERE a.id = b.author_id) AS author,
  (SELECT row_to_json(p) FROM publisher p WHERE p.id = b.publisher_id) AS publisher FROM book b ORDER BY id

# case: has-one; a missing row gives NULL
/* @include(profile) */ SELECT name FROM author ORDER BY id
# expect
SELECT name, (SELECT row_to_json(p) FROM profile p WHERE p.author_id = a.id) AS profile FROM author a ORDER BY a.id

# case: self-reference upwards
/* @include(manager.manager) */ SELECT * FROM employee ORDER BY id
# expect
SELECT e.*, (SELECT row_to_json(x) FROM (SELECT m.id, m.name, m.manager_id,
    (SELECT row_to_json(g) FROM employee g WHERE g.id = m.manager_id) AS manager
  FROM employee m WHERE m.id = e.manager_id) x) AS manager FROM employee e ORDER BY id

# case: a condition that fails gives NULL
/* @include(author(where: "born IS NOT NULL AND name LIKE 'U%'")) */ SELECT id FROM book ORDER BY id
# expect
SELECT id, (SELECT row_to_json(a) FROM author a WHERE a.id = b.author_id AND a.name LIKE 'U%') AS author FROM book b ORDER BY id

# case: chosen columns, in the order given
/* @include(author(columns: [name, id])) */ SELECT id FROM book ORDER BY id
# expect
SELECT id, (SELECT json_build_object('name', a.name, 'id', a.id) FROM author a WHERE a.id = b.author_id) AS author FROM book b ORDER BY id

# case: the key is not selected
/* @include(author(columns: id)) */ SELECT title AS t FROM book WHERE id = 4
# expect
SELECT 'Solaris' AS t, json_build_object('id', 2) AS author

# case: composite key
/* @include(warehouse) */ SELECT sku FROM shop.stock ORDER BY region, warehouse_code, sku
# expect
SELECT sku, (SELECT row_to_json(w) FROM shop.warehouse w WHERE w.region = s.region AND w.code = s.warehouse_code) AS warehouse
FROM shop.stock s ORDER BY region, warehouse_code, sku

# case: several keys to one table
/* @include(sender, recipient) */ SELECT body FROM message ORDER BY id
# expect
SELECT body, (SELECT row_to_json(p) FROM person p WHERE p.id = m.sender_id) AS sender,
  (SELECT row_to_json(p) FROM person p WHERE p.id = m.recipient_id) AS recipient FROM message m ORDER BY id

# case: to-many below to-one
/* @include(author.books(columns: [title])) */ SELECT id FROM book WHERE id IN (1, 6) ORDER BY id
# expect
SELECT id, (SELECT row_to_json(x) FROM (SELECT a.id, a.name, a.born,
    (SELECT json_agg(json_build_object('title', c.title)) FROM book c WHERE c.author_id = a.id) AS books
  FROM author a WHERE a.id = b.author_id) x) AS author FROM book b WHERE id IN (1, 6) ORDER BY id

# case: empty set of base rows
/* @include(author) */ SELECT id FROM book WHERE false
# expect
SELECT id, NULL::json AS author FROM book WHERE false

# case: as text for the wire
# json: text
/* @include(author) */ SELECT id FROM book ORDER BY id
# expect
SELECT id, (SELECT row_to_json(a) FROM author a WHERE a.id = b.author_id) AS author FROM book b ORDER BY id

# case: a partitioned table, without ORDER BY
/* @include(book(columns: [id])) */ SELECT id FROM event
# expect
SELECT id, CASE WHEN day = 3 THEN '{"id":4}'::json ELSE '{"id":1}' END AS book FROM event

# case: rows keep their order without ORDER BY
/* @include(author(columns: [id])) */ SELECT id FROM book
# expect
SELECT id, CASE WHEN author_id IS NOT NULL THEN json_build_object('id', author_id) END AS author FROM book
