# case: grouped
# json: packed
/* @include(books(order: id)) */ SELECT id FROM author ORDER BY id

# case: for each row
# json: packed
# params: 1
/* @include(books(columns: [title])) */ SELECT id FROM author WHERE id = $1

# case: limit for each parent
# json: packed
/* @include(books(order: -id, limit: 2, columns: [id])) */ SELECT id FROM author

# case: a row by join
# json: packed
/* @include(author(columns: [name, born])) */ SELECT id FROM book

# case: a row by subquery
# json: packed
/* @include(author(columns: [name])) */ SELECT b.id FROM book b JOIN publisher p ON p.id = b.publisher_id

# case: siblings, and lists and rows inside
# json: packed
/* @include(tags(columns: [name]), reviews(columns: [stars, body], where: "stars > 3"), author(columns: [id]).books(columns: [id]).publisher(columns: [name])) */ SELECT id FROM book LIMIT 5

# case: lists with limits inside
# json: packed
/* @include(books(columns: [id]).reviews(columns: [id], order: -id, limit: 1)) */ SELECT id FROM author

# case: every type
# json: packed
/* @include(samples(order: id)) */ SELECT id FROM author

# case: names that need escapes
# json: packed
/* @include(orders(order: select)) */ SELECT * FROM "user"

# case: inside DECLARE the server writes the JSON
# json: packed
DECLARE c CURSOR FOR /* @include(books(columns: [id])) */ SELECT id FROM author

# case: with a statement before it the server writes the JSON
# json: packed
SELECT 1; /* @include(books(columns: [id])) */ SELECT id FROM author
