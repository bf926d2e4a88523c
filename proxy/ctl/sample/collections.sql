-- The library's tables as MongoDB collections of the same names, for the DocumentDB extension. A
-- book holds the keys of its tags in an array, so that `book_tags` has no collection.

DO $$
DECLARE
    collection text;
    documents json;
    answer record;
BEGIN
    FOR collection, documents IN
        SELECT 'publishers', json_agg(json_build_object('_id', id, 'name', name, 'city', city) ORDER BY id)
          FROM publishers
        UNION ALL
        SELECT 'authors', json_agg(json_build_object('_id', id, 'name', name, 'email', email,
                   'born', CASE WHEN born IS NOT NULL
                                THEN json_build_object('$date', born || 'T00:00:00Z') END) ORDER BY id)
          FROM authors
        UNION ALL
        SELECT 'books', json_agg(json_build_object('_id', id, 'title', title,
                   'author_id', author_id, 'publisher_id', publisher_id, 'published', published,
                   'price', json_build_object('$numberDecimal', price::text),
                   'tag_ids', ARRAY(SELECT tag_id FROM book_tags WHERE book_id = id ORDER BY 1)) ORDER BY id)
          FROM books
        UNION ALL
        SELECT 'tags', json_agg(json_build_object('_id', id, 'name', name) ORDER BY id)
          FROM tags
    LOOP
        SELECT * INTO answer FROM documentdb_api.insert('library',
            json_build_object('insert', collection, 'documents', documents)::text::documentdb_core.bson);
        IF NOT answer.p_success THEN
            RAISE 'cannot fill %: %', collection, answer.p_result;
        END IF;
    END LOOP;
    -- What @include searches by. Within this transaction the collection is new, so that they are there at once.
    PERFORM documentdb_api_internal.create_indexes_non_concurrently('library',
        '{"createIndexes": "books", "indexes": [
            {"key": {"author_id": 1}, "name": "author_id_1"},
            {"key": {"publisher_id": 1}, "name": "publisher_id_1"}]}'::documentdb_core.bson);
END $$;
