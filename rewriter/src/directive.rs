//! The directive grammar: what an annotation says, whatever language the annotated text is in.
//!
//! [`parse`] reads the text of one annotation (a comment whose first character other than blanks is
//! `@`, or the `comment` of a MongoDB command). It knows nothing of SQL or of any schema.

mod include;
mod read;
mod reference;
mod syntax;
mod timeout;
mod token;
mod upsert;
mod wanted;

use std::time::Duration;

pub use include::{Include, Node, Order};
pub use reference::Reference;
pub use syntax::Name;
pub use upsert::{OnConflict, Upsert};
pub(crate) use wanted::Wanted;

use crate::error::{Error, ErrorKind};
use crate::nearest::suggestion;
use syntax::Call;

/// One directive, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directive {
    /// `@include(path, …)`: eager loading.
    Include(Include),
    /// `@upsert(key, …)`: insert or update.
    Upsert(Upsert),
    /// `@timeout(2s)`: a limit on the statement's time.
    Timeout(Duration),
}

/// A directive and the byte of its `@` in the text that was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The directive.
    pub directive: Directive,
    pub(crate) at: usize,
}

/// All names that the grammar knows.
const NAMES: &[&str] = &[
    "include",
    "upsert",
    "timeout",
    "cache",
    "nocache",
    "migration",
    "route",
    "tenant",
    "page",
    "version",
];

/// Blanks as Postgres' lexer knows them.
pub(crate) const BLANKS: [char; 6] = [' ', '\t', '\n', '\r', '\x0b', '\x0c'];

/// Whether a comment's text is an annotation.
///
/// ```
/// use twinport_rewriter::directive::is_annotation;
/// assert!(is_annotation("\n @include(books) "));
/// assert!(!is_annotation("see @include"));
/// ```
pub fn is_annotation(comment: &str) -> bool {
    comment.trim_start_matches(BLANKS).starts_with('@')
}

/// Reads the directives of one annotation.
///
/// ```
/// use twinport_rewriter::directive::{Directive, parse};
/// let found = parse("@include(books.publisher) @timeout(2s)").unwrap();
/// assert_eq!(found.len(), 2);
/// assert!(matches!(found[1].directive, Directive::Timeout(limit) if limit.as_secs() == 2));
/// ```
///
/// # Errors
///
/// If it is malformed, if a name or value is unknown or wrong, or if the directive is not built yet.
/// Positions count the annotation's own characters.
pub fn parse(annotation: &str) -> Result<Vec<Located>, Error> {
    parse_at(annotation, 0).map_err(|error| error.within(annotation))
}

/// [`parse`], for an annotation that begins at byte `base` of a larger text; positions of errors are
/// bytes of that text.
pub(crate) fn parse_at(annotation: &str, base: usize) -> Result<Vec<Located>, Error> {
    syntax::read(annotation, base)?
        .into_iter()
        .map(understand)
        .collect()
}

fn understand(call: Call) -> Result<Located, Error> {
    let at = call.name.at.saturating_sub(1);
    let directive = match call.name.text.as_str() {
        "include" => include::understand(call).map(Directive::Include),
        "upsert" => upsert::understand(call).map(Directive::Upsert),
        "timeout" => timeout::understand(call).map(Directive::Timeout),
        known if NAMES.contains(&known) => Err(Error::new(
            ErrorKind::NotBuilt,
            format!("@{known} is recognised but not built yet"),
        )
        .at(at)
        .hinted("Built are: @include, @upsert, @timeout.")),
        unknown => Err(Error::new(
            ErrorKind::UnknownName,
            format!("there is no directive @{unknown}"),
        )
        .at(call.name.at)
        .hinted(suggestion(unknown, "directives", NAMES.iter().copied()))),
    }?;
    Ok(Located { directive, at })
}
