//! All that one statement's, or one command's, annotations ask for.

use std::time::Duration;

use super::{Directive, Include, Located, Upsert};
use crate::error::{Error, ErrorKind};

/// What is to be done; with `@include` and `@upsert` the byte where the first of them stands.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) include: Option<(Include, usize)>,
    pub(crate) upsert: Option<(Upsert, usize)>,
    pub(crate) timeout: Option<Duration>,
}

impl Wanted {
    /// Puts directives together. Several `@include` add up; of `@timeout` and `@upsert` there is one. `what` names in
    /// errors what they stand at.
    pub(crate) fn of(directives: Vec<Located>, what: &str) -> Result<Self, Error> {
        let mut wanted = Self::default();
        for Located { directive, at } in directives {
            let twice = |name: &str| {
                let message = format!("@{name} is given twice for one {what}");
                Error::new(ErrorKind::Syntax, message).at(at)
            };
            match directive {
                Directive::Include(more) => match &mut wanted.include {
                    Some((include, _)) => include.add(more)?,
                    None => wanted.include = Some((more, at)),
                },
                Directive::Upsert(upsert) => match wanted.upsert {
                    Some(_) => return Err(twice("upsert")),
                    None => wanted.upsert = Some((upsert, at)),
                },
                Directive::Timeout(limit) => match wanted.timeout {
                    Some(_) => return Err(twice("timeout")),
                    None => wanted.timeout = Some(limit),
                },
            }
        }
        Ok(wanted)
    }
}
