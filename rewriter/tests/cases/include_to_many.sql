# case: has-many over the whole table; no rows give an empty array
/* @include(books) */ SELECT id, name FROM author ORDER BY id
# expect
SELECT id, name, (SELECT coalesce(json_agg(b), '[]') FROM book b WHERE b.author_id = a.id) AS books FROM author a ORDER BY id

# case: has-many of some rows, by index
/* @include(books) */ SELECT id FROM author WHERE id < 3 ORDER BY id
# expect
SELECT id, (SELECT coalesce(json_agg(b), '[]') FROM book b WHERE b.author_id = a.id) AS books FROM author a WHERE id < 3 ORDER BY id

# case: has-many of some rows, without an index
/* @include(reviews) */ SELECT id FROM book WHERE id < 3 ORDER BY id
# expect
SELECT id, (SELECT coalesce(json_agg(r), '[]') FROM review r WHERE r.book_id = b.id) AS reviews FROM book b WHERE id < 3 ORDER BY id

# case: star over the whole table keeps its columns
/* @include(books) */ SELECT *, id + 1 AS next, * FROM author AS a ORDER BY a.id
# expect
SELECT a.*, id + 1 AS next, a.*, (SELECT coalesce(json_agg(b), '[]') FROM book b WHERE b.author_id = a.id) AS books FROM author a ORDER BY a.id

# case: sibling lists don't multiply
/* @include(tags, reviews, author) */ SELECT id FROM book ORDER BY id
# expect
SELECT id,
  (SELECT coalesce(json_agg(t), '[]') FROM tag t JOIN book_tag bt ON bt.tag_id = t.id WHERE bt.book_id = b.id) AS tags,
  (SELECT coalesce(json_agg(r), '[]') FROM review r WHERE r.book_id = b.id) AS reviews,
  (SELECT row_to_json(a) FROM author a WHERE a.id = b.author_id) AS author
FROM book b ORDER BY id

# case: order
/* @include(books(order: -published)) */ SELECT id FROM author ORDER BY id
# expect
SELECT id, (SELECT coalesce(json_agg(b ORDER BY published DESC), '[]') FROM book b WHERE b.author_id = a.id) AS books FROM author a ORDER BY id

# case: order by several columns
/* @include(books(order: [publisher_id, -title], columns: [title])) */ SELECT id FROM author ORDER BY id
# expect
SELECT id, (SELECT coalesce(json_agg(json_build_object('title', title) ORDER BY publisher_id, title DESC), '[]') FROM book b WHERE b.author_id = a.id) AS books FROM author a ORDER BY id

# case: limit for each parent
/* @include(books(order: -id, limit: 2)) */ SELECT id FROM author ORDER BY id
# expect
SELECT id, (SELECT coalesce(json_agg(x), '[]') FROM (SELECT * FROM book b WHERE b.author_id = a.id ORDER BY b.id DESC LIMIT 2) x) AS books FROM author a ORDER BY id

# case: limit of nothing
/* @include(books(limit: 0)) */ SELECT id FROM author ORDER BY id
# expect
SELECT id, '[]'::json AS books FROM author ORDER BY id

# case: condition
/* @include(books(where: "price > 10 OR title = 'Solaris'", columns: [id, price])) */ SELECT id FROM author ORDER BY id
# expect
SELECT id, (SELECT coalesce(json_agg(json_build_object('id', id, 'price', price)), '[]') FROM book b WHERE b.author_id = a.id AND (price > 10 OR title = 'Solaris')) AS books FROM author a ORDER BY id

# case: condition with functions, casts, case, arrays and intervals
/* @include(books(where: "lower(title) ~ '^l' AND price::int BETWEEN 1 AND 20 AND CASE WHEN pages > 1 THEN id = ANY(ARRAY[1, 2, 3]) END AND published + interval '1 day' < current_date AND published < date '2020-01-01' AND EXTRACT(year FROM published) > 1900")) */
SELECT id FROM author WHERE id = 1
# expect
SELECT 1 AS id, (SELECT json_agg(b ORDER BY id) FROM book b WHERE id IN (2, 3)) AS books

# case: condition with quotes doubled
/* @include("Item Lists"(where: """Size"" > 40 AND ""Item Id"" = 3")) */ SELECT id FROM author ORDER BY id
# expect
SELECT id, CASE id WHEN 1 THEN '[{"Item Id":3,"ownerId":1,"Size":42}]'::json ELSE '[]' END AS "Item Lists" FROM author ORDER BY id

# case: condition in single quotes
/* @include(books(where: 'TITLE = ''Solaris''', columns: [Title])) */ SELECT id FROM author ORDER BY id
# expect
SELECT id, CASE id WHEN 2 THEN '[{"title":"Solaris"}]'::json ELSE '[]' END AS books FROM author ORDER BY id

# case: many-to-many from both ends
/* @include(tags.books(columns: [id], order: id)) */ SELECT id FROM book ORDER BY id
# expect
SELECT id, (SELECT coalesce(json_agg(x), '[]') FROM (SELECT t.id, t.name,
    (SELECT json_agg(json_build_object('id', u.book_id) ORDER BY u.book_id) FROM book_tag u WHERE u.tag_id = t.id) AS books
  FROM tag t JOIN book_tag bt ON bt.tag_id = t.id WHERE bt.book_id = b.id) x) AS tags FROM book b ORDER BY id

# case: the join table itself
/* @include(book_tags) */ SELECT id FROM tag ORDER BY id
# expect
SELECT id, (SELECT coalesce(json_agg(x), '[]') FROM book_tag x WHERE x.tag_id = t.id) AS book_tags FROM tag t ORDER BY id

# case: many-to-many with order and limit
/* @include(tags(order: -name, limit: 1)) */ SELECT id FROM book ORDER BY id
# expect
SELECT id, (SELECT coalesce(json_agg(x), '[]') FROM (SELECT t.* FROM tag t JOIN book_tag bt ON bt.tag_id = t.id WHERE bt.book_id = b.id ORDER BY t.name DESC LIMIT 1) x) AS tags FROM book b ORDER BY id

# case: self-reference downwards
/* @include(employees.employees(order: -id)) */ SELECT id FROM employee WHERE id = 1
# expect
SELECT 1 AS id, (SELECT json_agg(x) FROM (SELECT m.id, m.name, m.manager_id,
  (SELECT json_agg(l ORDER BY l.id DESC) FROM employee l WHERE l.manager_id = m.id) AS employees FROM employee m WHERE m.manager_id = 1) x) AS employees

# case: self-reference, grouped
/* @include(employees(columns: [id], order: id)) */ SELECT id FROM employee ORDER BY id
# expect
SELECT id, (SELECT coalesce(json_agg(json_build_object('id', l.id) ORDER BY l.id), '[]') FROM employee l WHERE l.manager_id = e.id) AS employees FROM employee e ORDER BY id

# case: several keys from one table are named apart
/* @include(sender_messages(columns: [id]), recipient_messages(columns: [id])) */ SELECT id FROM person ORDER BY id
# expect
SELECT id, (SELECT coalesce(json_agg(json_build_object('id', m.id)), '[]') FROM message m WHERE m.sender_id = p.id) AS sender_messages,
  (SELECT coalesce(json_agg(json_build_object('id', m.id)), '[]') FROM message m WHERE m.recipient_id = p.id) AS recipient_messages FROM person p ORDER BY id

# case: composite key
/* @include(stocks(order: sku)) */ SELECT city FROM shop.warehouse w ORDER BY city
# expect
SELECT city, (SELECT coalesce(json_agg(s ORDER BY sku), '[]') FROM shop.stock s WHERE s.region = w.region AND s.warehouse_code = w.code) AS stocks FROM shop.warehouse w ORDER BY city

# case: four deep
/* @include(books.reviews.book.author) */ SELECT id FROM author WHERE id < 3 ORDER BY id
# expect
SELECT id, (SELECT coalesce(json_agg(x), '[]') FROM (SELECT b.*, (SELECT coalesce(json_agg(y), '[]') FROM (SELECT r.*,
  (SELECT row_to_json(z) FROM (SELECT c.*, (SELECT row_to_json(d) FROM author d WHERE d.id = c.author_id) AS author FROM book c WHERE c.id = r.book_id) z) AS book
  FROM review r WHERE r.book_id = b.id) y) AS reviews FROM book b WHERE b.author_id = a.id) x) AS books FROM author a WHERE id < 3 ORDER BY id

# case: paths that share their beginning
/* @include(books.publisher, books(order: id, columns: [id]), books.tags(columns: [name], order: name)) */ SELECT id FROM author ORDER BY id
# expect
SELECT id, (SELECT coalesce(json_agg(x ORDER BY x.id), '[]') FROM (SELECT b.id,
  (SELECT row_to_json(p) FROM publisher p WHERE p.id = b.publisher_id) AS publisher,
  (SELECT coalesce(json_agg(json_build_object('name', t.name) ORDER BY t.name), '[]') FROM tag t JOIN book_tag u ON u.tag_id = t.id WHERE u.book_id = b.id) AS tags
  FROM book b WHERE b.author_id = a.id) x) AS books FROM author a ORDER BY id

# case: every type as to_json writes it
/* @include(samples(order: id)) */ SELECT id FROM author WHERE id = 1
# expect
SELECT id, (SELECT json_agg(s ORDER BY s.id) FROM sample s WHERE s.author_id = a.id) AS samples FROM author a WHERE id = 1

# case: every type, on a server without numeric infinity
# version: 130000
/* @include(samples(order: id, columns: [id, num, f8])) */ SELECT id FROM author WHERE id = 1
# expect
SELECT id, (SELECT json_agg(json_build_object('id', s.id, 'num', s.num, 'f8', s.f8) ORDER BY s.id) FROM sample s WHERE s.author_id = a.id) AS samples FROM author a WHERE id = 1

# case: grouped, as text for the wire
# json: text
/* @include(books(order: id)) */ SELECT id FROM author ORDER BY id
# expect
SELECT id, (SELECT coalesce(json_agg(b ORDER BY b.id), '[]') FROM book b WHERE b.author_id = a.id) AS books FROM author a ORDER BY id

# case: from and to a partitioned table
/* @include(events(order: id, columns: [id])) */ SELECT id FROM book WHERE id < 3
# expect
SELECT id, CASE id WHEN 1 THEN '[{"id":1},{"id":11}]'::json ELSE '[]' END AS events FROM book WHERE id < 3

# case: list and object of a row, and a row of a list's row
/* @include(book.reviews(order: -id, limit: 1).book(columns: [title])) */ SELECT id FROM event WHERE id = 1
# expect
SELECT 1 AS id, (SELECT row_to_json(x) FROM (SELECT b.*, (SELECT json_agg(y) FROM (SELECT r.*, (SELECT row_to_json(z) FROM (SELECT b.title) z) AS book
  FROM review r WHERE r.book_id = b.id ORDER BY r.id DESC LIMIT 1) y) AS reviews FROM book b WHERE b.id = 1) x) AS book
