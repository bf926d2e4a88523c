//! Relations that stand in a database instead of the settings: the same words, the same checks.
//!
//! A document of [`MODELS`] has a collection's name as its `_id`, and under `relations` what
//! `[mongo.relations.COLLECTION]` holds:
//!
//! ```json
//! { "_id": "books", "relations": { "author": { "target": "authors", "kind": "one", "local": "author_id" } } }
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use crate::build;
use crate::error::{Errors, Place, Problem};
use crate::key;
use crate::nearest::{list, nearest};
use crate::read::Reader;
use crate::relation::MongoRelation;
use crate::source::{Source, Value};
use crate::unknown;

/// The collection of every database that keeps its registered models.
pub const MODELS: &str = "twinport.models";

/// The field of such a document that holds the relations.
const RELATIONS: &str = "relations";

/// A value of such a document, as far as it means anything here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
    /// A document, with its fields in their order.
    Document(Vec<(String, Given)>),
    /// Something that no key takes, in words: `an array`.
    Other(&'static str),
}

/// Reads one document of [`MODELS`]: the collection, and the relations that start there. Fields besides `_id` and
/// `relations` are for the libraries that write them.
///
/// ```
/// use twinport_config::{Given, registered};
///
/// let text = |text: &str| Given::Text(text.to_owned());
/// let author = [("target", "authors"), ("kind", "one"), ("local", "author_id")];
/// let author = author.map(|(key, value)| (key.to_owned(), text(value)));
/// let relations = Given::Document(vec![("author".to_owned(), Given::Document(author.to_vec()))]);
/// let document = [("_id".to_owned(), text("books")), ("relations".to_owned(), relations)];
/// let (collection, relations) = registered(&document);
/// assert_eq!(collection.as_deref(), Some("books"));
/// assert_eq!(relations?[0].target, "authors");
/// # Ok::<(), twinport_config::Errors>(())
/// ```
///
/// # Errors
///
/// All that is wrong, at once; the collection is told anyway, if the document has one.
pub fn registered(
    document: &[(String, Given)],
) -> (Option<String>, Result<Vec<MongoRelation>, Errors>) {
    let id = document.iter().find(|(name, _)| name == "_id");
    let Some((_, Given::Text(collection))) = id else {
        let problem = Problem::new(place("?"), "_id", "is not a text");
        let problem = problem.hint("the _id of a model is its collection's name");
        return (None, Err(Errors::new(vec![problem])));
    };
    let relations = relations(collection, document);
    (Some(collection.clone()), relations)
}

fn relations(collection: &str, document: &[(String, Given)]) -> Result<Vec<MongoRelation>, Errors> {
    let place = place(collection);
    let one = |key: &str, message: String, hint: String| {
        Errors::new(vec![Problem::new(place.clone(), key, message).hint(hint)])
    };
    let found = document.iter().find(|(name, _)| name == RELATIONS);
    let given = match found {
        Some((_, Given::Document(given))) => given,
        Some((_, other)) => {
            let message = format!("is {}, but must be a document", other.kind());
            let hint = "write { NAME: { target: …, kind: … } }".to_owned();
            return Err(one(RELATIONS, message, hint));
        }
        None => {
            let names = document.iter().map(|(name, _)| name);
            let mut near = names.filter(|name| nearest(name, &[RELATIONS]).is_some());
            return match near.next() {
                Some(name) => Err(one(
                    name,
                    "no such key".to_owned(),
                    format!("did you mean `{RELATIONS}`?"),
                )),
                None => Ok(Vec::new()),
            };
        }
    };
    let base = ["mongo", RELATIONS, collection].map(str::to_owned);
    let (source, mut problems) = source(&base, given, &place);
    unknown::check(&source, &mut problems);
    let reader = Reader {
        source: &source,
        environment: &BTreeMap::new(),
        folder: Path::new(""),
        problems: RefCell::new(problems),
        files: RefCell::default(),
    };
    let section = reader.root().section("mongo").section(RELATIONS);
    let relations = build::relations(&section);
    let mut problems = reader.problems.into_inner();
    if problems.is_empty() {
        return Ok(relations);
    }
    let base = key::display(&base);
    for problem in &mut problems {
        problem.rename(&base, RELATIONS);
    }
    problems.dedup();
    Err(Errors::new(problems))
}

/// The relations as if the settings file had them.
fn source(base: &[String; 3], given: &[(String, Given)], at: &Place) -> (Source, Vec<Problem>) {
    let mut source = Source::default();
    let mut problems = Vec::new();
    source.whole = Some(at.clone());
    source.put(base.to_vec(), at, Value::Table);
    for (name, relation) in given {
        let path = [base.as_slice(), std::slice::from_ref(name)].concat();
        let Given::Document(keys) = relation else {
            let message = format!("is {}, but must be a document", relation.kind());
            let allowed = key::children(&path).unwrap_or_default();
            let problem = Problem::new(at.clone(), key::display(&path), message);
            problems.push(problem.hint(format!("write its keys inside: {}", list(&allowed))));
            continue;
        };
        source.put(path.clone(), at, Value::Table);
        for (key, value) in keys {
            let path = [path.as_slice(), std::slice::from_ref(key)].concat();
            source.put(path, at, value.value());
        }
    }
    (source, problems)
}

impl Given {
    fn value(&self) -> Value {
        match self {
            Self::Text(text) => Value::Text(text.clone()),
            Self::Integer(number) => Value::Integer(*number),
            Self::Boolean(yes) => Value::Boolean(*yes),
            Self::Document(_) => Value::Other(self.kind()),
            Self::Other(kind) => Value::Other(kind),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a number",
            Self::Boolean(_) => "a boolean",
            Self::Document(_) => "a document",
            Self::Other(kind) => kind,
        }
    }
}

fn place(collection: &str) -> Place {
    Place::Document {
        collection: MODELS,
        id: collection.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Given, registered};

    fn text(text: &str) -> Given {
        Given::Text(text.to_owned())
    }

    fn document(fields: &[(&str, Given)]) -> Vec<(String, Given)> {
        let own = |(name, value): &(&str, Given)| ((*name).to_owned(), value.clone());
        fields.iter().map(own).collect()
    }

    fn told(fields: &[(&str, Given)]) -> String {
        let (_, read) = registered(&document(fields));
        read.unwrap_err().to_string()
    }

    fn books(relations: &[(&str, Given)]) -> [(&'static str, Given); 2] {
        let relations = Given::Document(document(relations));
        [("_id", text("books")), ("relations", relations)]
    }

    #[test]
    fn words_and_defaults_are_those_of_the_settings() {
        let shops = [
            ("target", text("shops")),
            ("kind", text("many")),
            ("through", text("stock")),
            ("through_local", text("book")),
            ("through_foreign", text("shop")),
        ];
        let shops = Given::Document(document(&shops));
        let (collection, read) = registered(&document(&books(&[("shops", shops)])));
        assert_eq!(collection.as_deref(), Some("books"));
        let settings = crate::Settings::parse(
            "[mongo]\nupstream = 'postgres://h/docs'\n[users.u]\npassword = 'x'\n\
             [mongo.relations.books.shops]\ntarget = 'shops'\nkind = 'many'\nthrough = 'stock'\n\
             through_local = 'book'\nthrough_foreign = 'shop'",
            "twinport.toml",
        );
        assert_eq!(read.unwrap(), settings.unwrap().mongo.unwrap().relations);
        // What else libraries keep there is theirs.
        let other = [("_id", text("books")), ("fields", Given::Other("an array"))];
        assert_eq!(registered(&document(&other)).1.unwrap(), []);
    }

    #[test]
    fn an_error_names_the_document_and_the_key() {
        let author = [
            ("target", text("authors")),
            ("kind", text("onee")),
            ("locl", text("author_id")),
        ];
        let author = Given::Document(document(&author));
        let twisted = Given::Document(document(&[("target", Given::Document(Vec::new()))]));
        let all = told(&books(&[
            ("author", author),
            ("editor", text("authors")),
            ("twisted", twisted),
        ]));
        for part in [
            "twinport.models \"books\": relations.author.kind: `onee` is not one of its values",
            "did you mean `one`?",
            "relations.author.locl: no such key\n  hint: did you mean `local`?",
            "relations.editor: is a text, but must be a document",
            "relations.twisted.target: is a document",
            "relations.twisted: has no `kind`",
        ] {
            assert!(all.contains(part), "{part}\n---\n{all}");
        }
    }

    #[test]
    fn odd_documents_are_told() {
        let numbered = told(&[("_id", Given::Integer(1))]);
        assert!(numbered.contains("_id: is not a text"), "{numbered}");
        let misspelt = told(&[("_id", text("books")), ("relation", Given::Boolean(true))]);
        assert!(misspelt.contains("did you mean `relations`?"), "{misspelt}");
        let listed = told(&[("_id", text("books")), ("relations", text("x"))]);
        assert!(listed.contains("relations: is a text"), "{listed}");
        let over = |key: &str| {
            let author = document(&[
                ("target", text("authors")),
                ("kind", text("one")),
                ("local", text("author_id")),
            ]);
            (key.to_owned(), Given::Document(author))
        };
        let relations = Given::Document(vec![over("author"), over("author_id")]);
        let (_, read) = registered(&document(&[("_id", text("b")), ("relations", relations)]));
        assert!(
            read.unwrap_err()
                .to_string()
                .contains("would overwrite the key")
        );
        let odd = told(&[
            ("_id", text("$x")),
            ("relations", Given::Document(vec![over("author")])),
        ]);
        assert!(odd.contains("is not the name of a collection"), "{odd}");
    }
}
