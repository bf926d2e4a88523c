//! What a SHOW answers: columns, and rows that are made as they are sent.

use std::borrow::Cow;

use twinport_wire::pg::backend::{Column, build as answer};

use crate::fault::Fault;

/// The types that the console knows, by their OIDs in every Postgres.
const INT8: u32 = 20;
const TEXT: u32 = 25;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Text,
}

/// A column's name, and what it holds.
pub(super) type Heading = (&'static str, Kind);

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Int(i64),
    Text(String),
}

/// Rows on their way. They hold what they are made from, and no lock.
pub(super) type Rows = Box<dyn Iterator<Item = Vec<Cell>> + Send>;

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<i32> for Cell {
    fn from(number: i32) -> Self {
        Self::Int(number.into())
    }
}

impl From<u16> for Cell {
    fn from(number: u16) -> Self {
        Self::Int(number.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Cell {
    fn encode(&self, binary: bool) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Null => None,
            Self::Int(number) if binary => Some(Cow::Owned(number.to_be_bytes().to_vec())),
            Self::Int(number) => Some(Cow::Owned(number.to_string().into_bytes())),
            // Text is the same in both formats.
            Self::Text(text) => Some(Cow::Borrowed(text.as_bytes())),
        }
    }
}

/// The formats that a client wants its values in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Formats(Vec<bool>);

impl Formats {
    /// Reads what follows the names in a Bind, for a statement without parameters.
    pub(super) fn decode(rest: &[u8]) -> Result<Self, Fault> {
        let mut rest = rest;
        let mut next = || -> Result<u16, Fault> {
            let (number, after) = rest
                .split_first_chunk::<2>()
                .ok_or_else(|| Fault::fatal("08P01", "malformed Bind: message too short"))?;
            rest = after;
            Ok(u16::from_be_bytes(*number))
        };
        for _ in 0..next()? {
            next()?;
        }
        let parameters = next()?;
        if parameters > 0 {
            let message = format!("{parameters} parameters for a command that takes none");
            return Err(Fault::error("08P01", message));
        }
        let count = next()?;
        let formats = (0..count).map(|_| match next()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Fault::error(
                "08P01",
                format_args!("format {other} is not known"),
            )),
        });
        formats.collect::<Result<_, _>>().map(Self)
    }

    /// Whether the formats can be meant for so many columns.
    pub(super) fn suit(&self, columns: usize) -> bool {
        self.0.len() <= 1 || self.0.len() == columns
    }

    fn is_binary(&self, column: usize) -> bool {
        match self.0.as_slice() {
            [all] => *all,
            each => each.get(column).copied().unwrap_or_default(),
        }
    }
}

/// Appends a RowDescription.
pub(super) fn describe(out: &mut Vec<u8>, headings: &[Heading], formats: &Formats) {
    let columns: Vec<_> = headings
        .iter()
        .enumerate()
        .map(|(at, (name, kind))| Column {
            name: name.as_bytes(),
            table: 0,
            number: 0,
            type_oid: if *kind == Kind::Int { INT8 } else { TEXT },
            size: if *kind == Kind::Int { 8 } else { -1 },
            modifier: -1,
            format: formats.is_binary(at).into(),
        })
        .collect();
    answer::row_description(out, &columns);
}

/// Appends a DataRow.
pub(super) fn row(out: &mut Vec<u8>, cells: &[Cell], formats: &Formats) {
    let values: Vec<_> = cells
        .iter()
        .enumerate()
        .map(|(at, cell)| cell.encode(formats.is_binary(at)))
        .collect();
    answer::data_row(out, &values);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_both_formats() {
        let cells = [Cell::Int(258), "é".into(), Cell::Null];
        let mut text = Vec::new();
        row(&mut text, &cells, &Formats::default());
        assert_eq!(
            text,
            b"D\0\0\0\x17\0\x03\0\0\0\x03258\0\0\0\x02\xc3\xa9\xff\xff\xff\xff"
        );
        let mut binary = Vec::new();
        row(&mut binary, &cells[..1], &Formats(vec![true]));
        assert_eq!(binary, b"D\0\0\0\x12\0\x01\0\0\0\x08\0\0\0\0\0\0\x01\x02");
    }

    #[test]
    fn a_bind_tells_the_formats() {
        let formats = Formats::decode(&[0, 0, 0, 0, 0, 1, 0, 1]).unwrap();
        assert_eq!(formats, Formats(vec![true]));
        assert!(formats.is_binary(5) && formats.suit(3));
        assert!(!Formats(vec![true, false]).suit(3));
    }

    #[test]
    fn a_bind_with_parameters_or_cut_short_is_refused() {
        let parameter = Formats::decode(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap_err();
        assert_eq!((parameter.code.as_str(), parameter.fatal), ("08P01", false));
        assert!(Formats::decode(&[0, 9, 0, 0]).unwrap_err().fatal);
        assert!(Formats::decode(&[0, 0, 0, 0, 0, 1, 0, 7]).is_err());
    }
}
