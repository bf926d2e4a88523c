//! Directives through the MongoDB port by a driver: what comes is compared with what naive code computes.

#[path = "mongo_directives/odd.rs"]
mod odd;
#[path = "mongo/raw.rs"]
#[allow(dead_code, reason = "the tests of the port use the rest")]
mod raw;
#[path = "mongo_directives/shop.rs"]
mod shop;
#[path = "mongo/support.rs"]
#[allow(dead_code, reason = "the tests of the port use the rest")]
mod support;
#[path = "mongo_directives/told.rs"]
mod told;
#[path = "mongo_directives/upsert.rs"]
mod upsert;

use anyhow::{Context, Result, ensure};
use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::ErrorKind;
use mongodb::{Client, Database};
use shop::{Shop, one, only, related, settled, sorted, with};
use support::{Scene, Wants};
use twinport_integration::{PASSWORD, USER};

/// What is related to a document, computed document by document.
type Naive<'a> = &'a dyn Fn(&Document) -> Vec<Document>;

/// A shop behind a port.
pub(crate) struct Open {
    pub(crate) scene: Scene,
    pub(crate) database: Database,
    pub(crate) shop: Shop,
}

impl Open {
    pub(crate) async fn new() -> Result<Self> {
        let relations = [shop::RELATIONS, odd::RELATIONS].concat();
        let scene = Scene::with(Wants {
            mongo_lines: &relations,
            ..Wants::default()
        })
        .await?;
        let url = format!("mongodb://{USER}:{PASSWORD}@127.0.0.1:{}/", scene.port);
        let client = Client::with_uri_str(url).await?;
        let shop = Shop::new();
        let database = shop.fill(&client).await?;
        Ok(Self {
            scene,
            database,
            shop,
        })
    }

    /// All documents of a collection in the order of `_id`, by a find with this comment.
    async fn find(&self, collection: &str, comment: &str) -> Result<Vec<Document>> {
        let collection = self.database.collection::<Document>(collection);
        let cursor = collection.find(doc! {}).sort(doc! { "_id": 1 });
        let found = cursor.comment(comment).await?.try_collect().await;
        found.with_context(|| comment.to_owned())
    }

    /// Compares, whatever the order of lists that nobody has ordered.
    async fn expect(&self, collection: &str, comment: &str, expected: Vec<Document>) -> Result<()> {
        let found = settled(self.find(collection, comment).await?);
        let expected = settled(expected);
        ensure!(
            found.len() == expected.len(),
            "{comment}: {} of {}",
            found.len(),
            expected.len()
        );
        for (found, expected) in found.iter().zip(&expected) {
            ensure!(
                found == expected,
                "{comment}:\n{found}\nand not\n{expected}"
            );
        }
        Ok(())
    }
}

#[tokio::test]
async fn to_one_is_an_object_or_null() -> Result<()> {
    let open = Open::new().await?;
    let shop = &open.shop;
    let author = |book: &Document| one(related(book, "author_id", &shop.authors, "_id"));
    let expected = with(&shop.books, "author", author);
    let nulls = expected
        .iter()
        .filter(|book| book.get("author") == Some(&Bson::Null));
    assert_eq!(nulls.count(), 18, "missing, null and leading nowhere");
    open.expect("books", "@include(author)", expected).await?;
    let publisher =
        |book: &Document| one(related(book, "meta.publisher", &shop.publishers, "code"));
    let both = with(&with(&shop.books, "author", author), "publisher", publisher);
    open.expect("books", "@include(author, publisher)", both)
        .await?;
    let named = |book: &Document| {
        one(only(
            related(book, "author_id", &shop.authors, "_id"),
            &["name"],
        ))
    };
    let expected = with(&shop.books, "author", named);
    open.expect("books", "@include(author(columns: [name]))", expected)
        .await?;
    let polish = |book: &Document| {
        let mut found = related(book, "author_id", &shop.authors, "_id");
        found.retain(|author| shop::at(author, "country") == "PL".into());
        one(found)
    };
    let expected = with(&shop.books, "author", polish);
    open.expect(
        "books",
        "@include(author(where: \"country = 'PL'\"))",
        expected,
    )
    .await?;
    // DBRefs: one that names another collection is left out.
    let book = |review: &Document| {
        let link = review.get_document("book").ok();
        let links = link.is_some_and(|link| shop::at(link, "$ref") == "books".into());
        let found = related(review, "book.$id", &shop.books, "_id");
        one(if links { found } else { Vec::new() })
    };
    let expected = with(&shop.reviews, "book", book);
    open.expect("reviews", "@include(book)", expected).await?;
    open.scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn to_many_in_order_with_limit_condition_and_columns() -> Result<()> {
    let open = Open::new().await?;
    let shop = &open.shop;
    let of = |author: &Document| related(author, "_id", &shop.books, "author_id");
    let all = with(&shop.authors, "books", of);
    assert!(
        all.iter()
            .any(|author| author.get_array("books").is_ok_and(Vec::is_empty))
    );
    open.expect("authors", "@include(books)", all).await?;
    let cases: [(&str, Naive<'_>); 5] = [
        ("order: -title", &|author| sorted(of(author), "-title")),
        ("order: [price, _id], limit: 2", &|author| {
            sorted(of(author), "price").into_iter().take(2).collect()
        }),
        (
            "order: _id, where: \"price >= 20 AND price < 40\"",
            &|author| {
                let mut found = of(author);
                found.retain(|book| {
                    book.get_i32("price")
                        .is_ok_and(|price| (20..40).contains(&price))
                });
                sorted(found, "_id")
            },
        ),
        ("order: _id, columns: [title, _id]", &|author| {
            only(of(author), &["title", "_id"])
        }),
        ("limit: 0", &|_| Vec::new()),
    ];
    for (arguments, expected) in cases {
        // Here the order counts.
        let comment = format!("@include(books({arguments}))");
        let found = open.find("authors", &comment).await?;
        assert_eq!(found, with(&shop.authors, "books", expected), "{comment}");
    }
    // By a list of keys on either side, and by a collection in between.
    let tags = |book: &Document| related(book, "tag_ids", &shop.tags, "_id");
    open.expect("books", "@include(tags)", with(&shop.books, "tags", tags))
        .await?;
    let tagged = |tag: &Document| related(tag, "_id", &shop.books, "tag_ids");
    open.expect("tags", "@include(books)", with(&shop.tags, "books", tagged))
        .await?;
    let shops = |book: &Document| {
        let stock = related(book, "_id", &shop.stock, "book");
        let has = |shop: &&Document| stock.iter().any(|each| each.get("shop") == shop.get("_id"));
        shop.shops.iter().filter(has).cloned().collect::<Vec<_>>()
    };
    open.expect(
        "books",
        "@include(shops)",
        with(&shop.books, "shops", shops),
    )
    .await?;
    let cities = |book: &Document| {
        let far = sorted(shops(book), "-city");
        only(far.into_iter().take(1).collect(), &["city"])
    };
    let comment = "@include(shops(order: -city, limit: 1, columns: [city]))";
    open.expect("books", comment, with(&shop.books, "shops", cities))
        .await?;
    let reviews = |book: &Document| {
        let mut found = related(book, "_id", &shop.reviews, "book.$id");
        found.retain(|each| {
            each.get_document("book")
                .is_ok_and(|link| shop::at(link, "$ref") == "books".into())
        });
        found
    };
    open.expect(
        "books",
        "@include(reviews)",
        with(&shop.books, "reviews", reviews),
    )
    .await?;
    open.scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn nested_paths_and_siblings() -> Result<()> {
    let open = Open::new().await?;
    let shop = &open.shop;
    let books = |author: &Document| {
        let found = related(author, "_id", &shop.books, "author_id");
        let found = with(&found, "publisher", |book| {
            one(related(book, "meta.publisher", &shop.publishers, "code"))
        });
        with(&found, "tags", |book| {
            related(book, "tag_ids", &shop.tags, "_id")
        })
    };
    let expected = with(&shop.authors, "books", books);
    open.expect("authors", "@include(books.publisher, books.tags)", expected)
        .await?;
    // Both ways along a collection's relation to itself.
    let mentor = |author: &Document| {
        let found = related(author, "mentor_id", &shop.authors, "_id");
        one(with(&found, "mentor", |author| {
            one(related(author, "mentor_id", &shop.authors, "_id"))
        }))
    };
    let pupils = |author: &Document| {
        let found = related(author, "_id", &shop.authors, "mentor_id");
        with(&found, "pupils", |author| {
            related(author, "_id", &shop.authors, "mentor_id")
        })
    };
    let expected = with(&with(&shop.authors, "mentor", mentor), "pupils", pupils);
    open.expect(
        "authors",
        "@include(mentor.mentor) @include(pupils.pupils)",
        expected,
    )
    .await?;
    // Three deep, with arguments on the way.
    let deep = |author: &Document| {
        let found = related(author, "_id", &shop.books, "author_id");
        let found = sorted(found, "-price")
            .into_iter()
            .take(2)
            .collect::<Vec<_>>();
        with(&found, "tags", |book| {
            let found = related(book, "tag_ids", &shop.tags, "_id");
            with(&found, "books", |tag| {
                only(related(tag, "_id", &shop.books, "tag_ids"), &["_id"])
            })
        })
    };
    let comment = "@include(books(order: [-price, _id], limit: 2).tags.books(columns: [_id]))";
    open.expect("authors", comment, with(&shop.authors, "books", deep))
        .await?;
    open.scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_commands_own_clauses_stay() -> Result<()> {
    let open = Open::new().await?;
    let shop = &open.shop;
    let author = |book: &Document| one(related(book, "author_id", &shop.authors, "_id"));
    let all = with(&shop.books, "author", author);
    let books = open.database.collection::<Document>("books");
    // Batches and getMore, by find and by aggregate.
    for size in [1, 7, 60, 1000] {
        let find = books.find(doc! {}).sort(doc! { "_id": 1 }).batch_size(size);
        let found: Vec<_> = find
            .comment("@include(author)")
            .await?
            .try_collect()
            .await?;
        assert_eq!(found, all, "batches of {size}");
        let stages = [doc! { "$sort": { "_id": 1 } }];
        let aggregate = books.aggregate(stages).batch_size(size);
        let found: Vec<_> = aggregate
            .comment("@include(author)")
            .await?
            .try_collect()
            .await?;
        assert_eq!(found, all, "batches of {size}, aggregated");
    }
    // Filter, sort, skip and limit come first; the projection last, which need not keep the key.
    let find = books
        .find(doc! { "price": { "$gte": 10 } })
        .sort(doc! { "title": -1, "_id": 1 })
        .skip(3)
        .limit(9)
        .projection(doc! { "_id": 0, "title": 1, "author.name": 1 });
    let found: Vec<_> = find
        .comment("@include(author)")
        .await?
        .try_collect()
        .await?;
    let mut expected = sorted(all.clone(), "-title");
    expected.retain(|book| book.get_i32("price").is_ok_and(|price| price >= 10));
    let expected: Vec<_> = expected.into_iter().skip(3).take(9).collect();
    let titles = |all: &[Document]| {
        all.iter()
            .map(|book| shop::at(book, "title"))
            .collect::<Vec<_>>()
    };
    let names = |all: &[Document]| {
        all.iter()
            .map(|book| shop::at(book, "author.name"))
            .collect::<Vec<_>>()
    };
    assert_eq!(titles(&found), titles(&expected));
    assert_eq!(names(&found), names(&expected));
    assert!(
        found
            .iter()
            .all(|book| !book.contains_key("_id") && !book.contains_key("price"))
    );
    // One document, and none.
    let found = books
        .find_one(doc! { "_id": 5 })
        .comment("@include(author)")
        .await?;
    assert_eq!(
        found.as_ref(),
        all.iter().find(|book| shop::at(book, "_id") == 5.into())
    );
    let found = books
        .find_one(doc! { "_id": -1 })
        .comment("@include(author)")
        .await?;
    assert_eq!(found, None);
    // Within a transaction, with what it has written.
    let mut session = open.database.client().start_session().await?;
    session.start_transaction().await?;
    books
        .insert_one(doc! { "_id": 100, "author_id": 1 })
        .session(&mut session)
        .await?;
    let mine = books
        .find_one(doc! { "_id": 100 })
        .comment("@include(author)");
    let mine = mine.session(&mut session).await?.context("not seen")?;
    assert_eq!(mine.get_document("author")?.get_i32("_id")?, 1);
    session.abort_transaction().await?;
    open.scene.stop().await;
    Ok(())
}

#[tokio::test]
async fn errors_have_code_name_and_hint() -> Result<()> {
    let open = Open::new().await?;
    let cases = [
        ("@include(", 9, "FailedToParse", "at character"),
        ("@inclode(author)", 9, "FailedToParse", "include"),
        ("@include(autor)", 2, "BadValue", "Did you mean \"author\"?"),
        (
            "@include(author.boks)",
            2,
            "BadValue",
            "Did you mean \"books\"?",
        ),
        (
            "@include(author(limit: 1))",
            115,
            "CommandNotSupported",
            "Leave out",
        ),
        (
            "@include(tags(where: \"name =\"))",
            9,
            "FailedToParse",
            "at character",
        ),
        ("@cache(30s)", 238, "NotImplemented", ""),
        ("@upsert(_id)", 115, "CommandNotSupported", "insert"),
        ("@timeout(soon)", 9, "FailedToParse", ""),
    ];
    let books = open.database.collection::<Document>("books");
    for (comment, code, name, part) in cases {
        let result = books.find(doc! {}).comment(comment).await;
        let error = result
            .err()
            .with_context(|| format!("{comment} was served"))?;
        let ErrorKind::Command(error) = *error.kind else {
            anyhow::bail!("{comment} gave {error}");
        };
        assert_eq!(
            (error.code, &*error.code_name),
            (code, name),
            "{comment}: {}",
            error.message
        );
        assert!(error.message.contains(part), "{comment}: {}", error.message);
    }
    // A comment that is none of ours.
    for comment in ["include(author)", "mail@include(x)", ""] {
        let found = books.find(doc! {}).comment(comment).await?;
        assert_eq!(found.try_collect::<Vec<_>>().await?.len(), 60);
    }
    // Where nothing related could belong to the documents.
    let stages = [doc! { "$group": { "_id": "$author_id" } }];
    let result = books.aggregate(stages).comment("@include(author)").await;
    assert!(result.is_err());
    open.scene.stop().await;
    Ok(())
}
