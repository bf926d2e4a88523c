//! A small shop: its collections, their relations, and answers computed the naive way, document by document.

use std::cmp::Ordering;

use anyhow::Result;
use mongodb::bson::{Bson, Document, doc};
use mongodb::{Client, Database};

/// Lines of `[mongo]`.
pub(crate) const RELATIONS: &str = r#"
    [mongo.relations.books.author]
    target = "authors"
    kind = "one"
    local = "author_id"
    [mongo.relations.authors.books]
    target = "books"
    kind = "many"
    foreign = "author_id"
    [mongo.relations.books.publisher]
    target = "publishers"
    kind = "one"
    local = "meta.publisher"
    foreign = "code"
    [mongo.relations.books.tags]
    target = "tags"
    kind = "many"
    local = "tag_ids"
    [mongo.relations.tags.books]
    target = "books"
    kind = "many"
    foreign = "tag_ids"
    [mongo.relations.books.shops]
    target = "shops"
    kind = "many"
    through = "stock"
    through_local = "book"
    through_foreign = "shop"
    [mongo.relations.reviews.book]
    target = "books"
    kind = "one"
    local = "book.$id"
    [mongo.relations.books.reviews]
    target = "reviews"
    kind = "many"
    foreign = "book.$id"
    [mongo.relations.authors.mentor]
    target = "authors"
    kind = "one"
    local = "mentor_id"
    [mongo.relations.authors.pupils]
    target = "authors"
    kind = "many"
    foreign = "mentor_id"
"#;

/// What is in each collection.
pub(crate) struct Shop {
    pub(crate) authors: Vec<Document>,
    pub(crate) books: Vec<Document>,
    pub(crate) publishers: Vec<Document>,
    pub(crate) tags: Vec<Document>,
    pub(crate) shops: Vec<Document>,
    pub(crate) stock: Vec<Document>,
    pub(crate) reviews: Vec<Document>,
}

impl Shop {
    /// The same documents every time; keys that lead nowhere, are null or missing are among them.
    pub(crate) fn new() -> Self {
        let authors = (1..=12).map(|id| {
            let country = if id % 3 == 0 { "PL" } else { "FR" };
            let mut author = doc! { "_id": id, "name": format!("a{id}"), "country": country };
            match id {
                1..=3 => {}
                4 => drop(author.insert("mentor_id", Bson::Null)),
                _ => drop(author.insert("mentor_id", id / 3)),
            }
            author
        });
        let books = (1..=60).map(|id| {
            let mut book = doc! {
                "_id": id, "title": format!("t{}", id * 7 % 60), "price": (id * 13 % 50),
                "tag_ids": (0..id % 4).map(|n| (id + n) % 6).collect::<Vec<_>>(),
                "meta": { "publisher": format!("p{}", id % 5), "pages": id * 10 },
            };
            match id % 10 {
                0 => {}
                1 => drop(book.insert("author_id", Bson::Null)),
                2 => drop(book.insert("author_id", 999)),
                _ => drop(book.insert("author_id", id % 9 + 1)),
            }
            book
        });
        let stock = (1..=60).flat_map(|book| {
            (0..book % 3)
                .map(move |n| doc! { "_id": book * 10 + n, "book": book, "shop": n * 2 + 1 })
        });
        let reviews = (1..=40).map(|id| {
            let of = if id % 8 == 0 { "records" } else { "books" };
            doc! { "_id": id, "stars": id % 5, "book": { "$ref": of, "$id": id % 70 } }
        });
        Self {
            authors: authors.collect(),
            books: books.collect(),
            publishers: (0..4)
                .map(|id| doc! { "_id": id, "code": format!("p{id}") })
                .collect(),
            tags: (0..6)
                .map(|id| doc! { "_id": id, "name": format!("tag{id}") })
                .collect(),
            shops: (0..5)
                .map(|id| doc! { "_id": id, "city": format!("c{id}") })
                .collect(),
            stock: stock.collect(),
            reviews: reviews.collect(),
        }
    }

    /// Puts everything into a database, with the indexes that relations want.
    pub(crate) async fn fill(&self, client: &Client) -> Result<Database> {
        let database = client.database("shop");
        let all = [
            ("authors", &self.authors),
            ("books", &self.books),
            ("publishers", &self.publishers),
            ("tags", &self.tags),
            ("shops", &self.shops),
            ("stock", &self.stock),
            ("reviews", &self.reviews),
        ];
        for (name, documents) in all {
            let collection = database.collection::<Document>(name);
            collection.insert_many(documents).await?;
        }
        Ok(database)
    }
}

/// The value at a path; null if there is none.
pub(crate) fn at(document: &Document, path: &str) -> Bson {
    let mut steps = path.split('.');
    let first = steps.next().and_then(|step| document.get(step));
    let found = steps.try_fold(first, |value, step| Some(value?.as_document()?.get(step)));
    found.flatten().cloned().unwrap_or(Bson::Null)
}

/// Those whose `foreign` is equal to the document's `local`, where a list is equal to each of its elements; a key
/// of null leads nowhere.
pub(crate) fn related(
    document: &Document,
    local: &str,
    all: &[Document],
    foreign: &str,
) -> Vec<Document> {
    let keys = |document: &Document, path: &str| match at(document, path) {
        Bson::Array(list) => list,
        Bson::Null => Vec::new(),
        one => vec![one],
    };
    let near = keys(document, local);
    let is_related = |each: &&Document| keys(each, foreign).iter().any(|key| near.contains(key));
    all.iter().filter(is_related).cloned().collect()
}

/// The first of them, or null.
pub(crate) fn one(found: Vec<Document>) -> Bson {
    found.into_iter().next().map_or(Bson::Null, Bson::Document)
}

/// The documents with one more field each.
pub(crate) fn with<T: Into<Bson>>(
    all: &[Document],
    name: &str,
    value: impl Fn(&Document) -> T,
) -> Vec<Document> {
    let add = |each: &Document| {
        let mut each = each.clone();
        let value = value(&each).into();
        each.insert(name, value);
        each
    };
    all.iter().map(add).collect()
}

/// The documents with these fields alone.
pub(crate) fn only(all: Vec<Document>, names: &[&str]) -> Vec<Document> {
    let keep = |each: Document| {
        each.into_iter()
            .filter(|(name, _)| names.contains(&name.as_str()))
            .collect()
    };
    all.into_iter().map(keep).collect()
}

/// In the order of an integer or text, then of `_id`; from the greatest on if the name begins with `-`.
pub(crate) fn sorted(mut all: Vec<Document>, by: &str) -> Vec<Document> {
    let name = by.trim_start_matches('-');
    let compare = |a: &Bson, b: &Bson| match (a, b) {
        (Bson::Int32(a), Bson::Int32(b)) => a.cmp(b),
        (Bson::String(a), Bson::String(b)) => a.cmp(b),
        _ => Ordering::Equal,
    };
    all.sort_by(|a, b| {
        let order = compare(&at(a, name), &at(b, name));
        let order = if by.starts_with('-') {
            order.reverse()
        } else {
            order
        };
        order.then(compare(&at(a, "_id"), &at(b, "_id")))
    });
    all
}

/// Lists inside in the order of `_id`: where nobody has asked for an order, there is none.
pub(crate) fn settled(all: Vec<Document>) -> Vec<Document> {
    let settle = |(name, value): (String, Bson)| {
        let value = match value {
            Bson::Document(inner) => one(settled(vec![inner])),
            Bson::Array(list) if list.iter().any(|each| each.as_document().is_some()) => {
                let inner = list.into_iter().filter_map(|each| match each {
                    Bson::Document(inner) => Some(inner),
                    _ => None,
                });
                let inner = sorted(settled(inner.collect()), "_id");
                Bson::Array(inner.into_iter().map(Bson::Document).collect())
            }
            other => other,
        };
        (name, value)
    };
    let each = |document: Document| document.into_iter().map(settle).collect();
    all.into_iter().map(each).collect()
}
