//! `@upsert(key, …)`: insert, or update the row that is there already.
//!
//! | argument | means |
//! |---|---|
//! | `name, …` | the columns of the conflict target; none: the primary key or the only unique key |
//! | `update: [name, …]` | on conflict, update these columns only |
//! | `keep: [name, …]` | on conflict, update all inserted columns but these |
//! | `nothing` | on conflict, leave the row as it is |
//! | `inserted: name` | add a boolean column of this name to what is returned |

use super::read::{names, once, plain_name, single, unknown_argument, wrong_value};
use super::syntax::{Argument, Call, Name};
use crate::error::{Error, ErrorKind};

const ARGUMENTS: &[&str] = &["update", "keep", "nothing", "inserted"];

/// `@upsert(…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upsert {
    /// The conflict target's columns; empty if it is to be found.
    pub key: Vec<Name>,
    /// What to do with a row that is there already.
    pub on_conflict: OnConflict,
    /// The name of the column that tells inserted rows from updated ones.
    pub inserted: Option<Name>,
}

/// What to do with a row that is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnConflict {
    /// Update all inserted columns.
    Update,
    /// Update these columns only.
    UpdateOnly(Vec<Name>),
    /// Update all inserted columns but these.
    UpdateBut(Vec<Name>),
    /// Leave it as it is.
    Nothing,
}

pub(super) fn understand(call: Call) -> Result<Upsert, Error> {
    let at = call.name.at;
    let mut key: Vec<Name> = Vec::new();
    let mut action = None;
    let mut inserted = None;
    for argument in call.arguments {
        match argument {
            Argument {
                label: None,
                value,
                at,
            } => {
                let name = match single(value) {
                    Some((None, call)) if call.arguments.is_empty() => call.name,
                    _ => return Err(wrong_value("@upsert", "the names of key columns", at)),
                };
                if name.text == "nothing" && !name.quoted {
                    set_action(&mut action, OnConflict::Nothing, name.at)?;
                } else if key.iter().any(|earlier| earlier.text == name.text) {
                    let message = format!("the key names \"{}\" twice", name.text);
                    return Err(Error::new(ErrorKind::Syntax, message).at(name.at));
                } else {
                    key.push(name);
                }
            }
            Argument {
                label: Some(label),
                value,
                at,
            } => match label.text.as_str() {
                "update" => {
                    let only = OnConflict::UpdateOnly(names(value, "\"update\"", at)?);
                    set_action(&mut action, only, label.at)?;
                }
                "keep" => {
                    let but = OnConflict::UpdateBut(names(value, "\"keep\"", at)?);
                    set_action(&mut action, but, label.at)?;
                }
                "inserted" => {
                    once(&inserted, &label)?;
                    inserted = Some(plain_name(value, "\"inserted\"", at)?);
                }
                _ => return Err(unknown_argument(&label, "@upsert", ARGUMENTS)),
            },
        }
    }
    let on_conflict = action.unwrap_or(OnConflict::Update);
    if let (OnConflict::Nothing, Some(name)) = (&on_conflict, &inserted) {
        return Err(Error::new(
            ErrorKind::Syntax,
            "\"inserted\" says nothing together with \"nothing\"",
        )
        .at(name.at.max(at))
        .hinted("With \"nothing\", only inserted rows are returned."));
    }
    Ok(Upsert {
        key,
        on_conflict,
        inserted,
    })
}

fn set_action(slot: &mut Option<OnConflict>, action: OnConflict, at: usize) -> Result<(), Error> {
    match slot {
        Some(_) => Err(Error::new(
            ErrorKind::Syntax,
            "only one of \"update\", \"keep\" and \"nothing\" can be given",
        )
        .at(at)),
        None => {
            *slot = Some(action);
            Ok(())
        }
    }
}
