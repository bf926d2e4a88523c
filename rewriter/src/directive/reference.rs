//! `@ref(collection, …)`: what an annotation in a schema says of a field: that it is another document's key.
//!
//! | argument | means |
//! |---|---|
//! | `authors` | the collection that the field leads to |
//! | `field: code` | the field there that is equal to it; `_id` if nothing is said |
//! | `name: writer` | the name of the relation |
//! | `inverse: works` | the name of the relation back |

use super::read::{once, plain_name, unknown_argument, wrong_value};
use super::syntax::{self, Argument, Call, Name, Value};
use crate::error::{Error, ErrorKind};
use crate::nearest::nearest;

const NAME: &str = "ref";

const ARGUMENTS: &[&str] = &["field", "name", "inverse"];

/// `@ref(…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The collection that the field leads to.
    pub target: String,
    /// The path of the field there.
    pub field: Option<String>,
    /// The name of the relation.
    pub name: Option<Name>,
    /// The name of the relation back.
    pub inverse: Option<Name>,
}

impl Reference {
    /// Reads the annotation of one field of a schema.
    ///
    /// # Errors
    ///
    /// If it is malformed, or is anything but one `@ref`. Positions count the annotation's own characters.
    pub fn parse(annotation: &str) -> Result<Self, Error> {
        let read = || {
            let mut calls = syntax::read(annotation, 0)?.into_iter();
            match (calls.next(), calls.next()) {
                (Some(call), None) => understand(call),
                (_, Some(second)) => Err(wrong_value(
                    "the annotation of a field",
                    "one @ref",
                    second.name.at,
                )),
                (None, None) => Err(wrong_value("the annotation of a field", "one @ref", 0)),
            }
        };
        read().map_err(|error| error.within(annotation))
    }
}

fn understand(call: Call) -> Result<Reference, Error> {
    if call.name.text != NAME {
        let message = format!("a field has no annotation @{}", call.name.text);
        let error = Error::new(ErrorKind::UnknownName, message).at(call.name.at);
        return Err(match nearest(&call.name.text, [NAME]) {
            Some(_) => error.hinted("Did you mean \"ref\"?"),
            None => {
                error.hinted("There is @ref(collection). Other texts must not begin with \"@\".")
            }
        });
    }
    let (mut target, mut field, mut name, mut inverse) = (None, None, None, None);
    for Argument { label, value, at } in call.arguments {
        let Some(label) = label else {
            if target.is_some() {
                return Err(wrong_value("@ref", "one collection", at));
            }
            target = Some(path(value, "@ref", "the name of a collection", at)?);
            continue;
        };
        match label.text.as_str() {
            "field" => {
                once(&field, &label)?;
                field = Some(path(value, "\"field\"", "the path of a field", at)?);
            }
            "name" => {
                once(&name, &label)?;
                name = Some(plain_name(value, "\"name\"", at)?);
            }
            "inverse" => {
                once(&inverse, &label)?;
                inverse = Some(plain_name(value, "\"inverse\"", at)?);
            }
            _ => return Err(unknown_argument(&label, "@ref", ARGUMENTS)),
        }
    }
    let target = target.ok_or_else(|| {
        wrong_value("@ref", "the name of a collection", call.name.at)
            .hinted("For example: @ref(authors).")
    })?;
    Ok(Reference {
        target,
        field,
        name,
        inverse,
    })
}

/// Names with points between, as one text.
fn path(value: Value, what: &str, wanted: &str, at: usize) -> Result<String, Error> {
    match value {
        Value::Path { sign: None, steps } if steps.iter().all(|step| step.arguments.is_empty()) => {
            let names: Vec<String> = steps.into_iter().map(|step| step.name.text).collect();
            Ok(names.join("."))
        }
        _ => Err(wrong_value(what, wanted, at)),
    }
}

#[cfg(test)]
mod tests {
    use super::Reference;

    #[test]
    fn every_argument_is_read() {
        let all = " @ref(my.authors, field: meta.code, name: writer, inverse: \"all works\")";
        let found = Reference::parse(all).unwrap();
        assert_eq!(found.target, "my.authors");
        assert_eq!(found.field.as_deref(), Some("meta.code"));
        assert_eq!(found.name.unwrap().text, "writer");
        assert_eq!(found.inverse.unwrap().text, "all works");
        let short = Reference::parse("@ref(authors)").unwrap();
        assert_eq!((short.field, short.name, short.inverse), (None, None, None));
    }

    #[test]
    fn wrong_ones_are_told_with_place_and_hint() {
        let cases = [
            ("@reff(authors)", "@reff", "Did you mean \"ref\"?"),
            ("@deprecated", "@deprecated", "must not begin with"),
            ("@ref", "the name of a collection", "@ref(authors)"),
            ("@ref()", "the name of a collection", "@ref(authors)"),
            ("@ref(a, b)", "one collection", ""),
            ("@ref(-a)", "the name of a collection", ""),
            ("@ref([a])", "the name of a collection", ""),
            ("@ref(a(b))", "the name of a collection", ""),
            ("@ref(a, nam: x)", "\"nam\"", "Did you mean \"name\"?"),
            ("@ref(a, name: x.y)", "\"name\" takes a name", ""),
            ("@ref(a, name: x, name: y)", "given twice", ""),
            ("@ref(a) @ref(b)", "one @ref", ""),
            ("@ref(a", "found the end", ""),
            ("@", "the name of a directive", ""),
        ];
        for (text, message, hint) in cases {
            let error = Reference::parse(text).unwrap_err();
            assert!(error.message().contains(message), "{text}: {error}");
            let told = error.hint().unwrap_or_default();
            assert!(told.contains(hint), "{text}: {told}");
            assert!(error.position().is_some(), "{text}");
        }
    }
}
