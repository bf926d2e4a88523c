//! RowDescription and DataRow, for results that we read ourselves.

use super::super::cursor::Cursor;
use crate::Error;

/// A column of a RowDescription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// OID of the table it comes from, or 0.
    pub table: u32,
    /// Its number in that table, or 0.
    pub number: i16,
    /// OID of its type.
    pub type_oid: u32,
    /// `typlen`: negative for types of varying width.
    pub size: i16,
    /// `atttypmod`.
    pub modifier: i32,
    /// 0 for text, 1 for binary.
    pub format: i16,
}

impl<'a> Column<'a> {
    /// A column of type `text`, as computed columns are described.
    pub const fn text(name: &'a [u8]) -> Self {
        Self::computed(name, 25, -1)
    }

    /// A column of a type with this OID and `typlen`, in text format.
    pub const fn computed(name: &'a [u8], type_oid: u32, size: i16) -> Self {
        Self {
            name,
            table: 0,
            number: 0,
            type_oid,
            size,
            modifier: -1,
            format: 0,
        }
    }
}

/// The columns of a RowDescription.
#[derive(Debug, Clone)]
pub struct Columns<'a> {
    cursor: Cursor<'a>,
    left: u16,
}

impl<'a> Columns<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::is_malformed`] if there is no count.
    pub fn new(body: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new("RowDescription", body);
        let left = cursor.u16()?;
        Ok(Self { cursor, left })
    }

    fn column(&mut self) -> Result<Column<'a>, Error> {
        let cursor = &mut self.cursor;
        Ok(Column {
            name: cursor.cstr()?,
            table: cursor.u32()?,
            number: i16::from_be_bytes(cursor.array()?),
            type_oid: cursor.u32()?,
            size: i16::from_be_bytes(cursor.array()?),
            modifier: cursor.i32()?,
            format: i16::from_be_bytes(cursor.array()?),
        })
    }
}

impl<'a> Iterator for Columns<'a> {
    type Item = Result<Column<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let end = self.cursor.end();
            self.cursor = Cursor::new("RowDescription", &[]);
            return end.err().map(Err);
        }
        self.left -= 1;
        let column = self.column();
        if column.is_err() {
            self.left = 0;
            self.cursor = Cursor::new("RowDescription", &[]);
        }
        Some(column)
    }
}

/// The values of a DataRow; `None` is NULL.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    cursor: Cursor<'a>,
    left: u16,
}

impl<'a> Values<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::is_malformed`] if there is no count.
    pub fn new(body: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new("DataRow", body);
        let left = cursor.u16()?;
        Ok(Self { cursor, left })
    }

    fn value(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match self.cursor.i32()? {
            -1 => Ok(None),
            length => {
                let length =
                    usize::try_from(length).map_err(|_| self.cursor.error("a negative length"))?;
                self.cursor.take(length).map(Some)
            }
        }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<Option<&'a [u8]>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let end = self.cursor.end();
            self.cursor = Cursor::new("DataRow", &[]);
            return end.err().map(Err);
        }
        self.left -= 1;
        let value = self.value();
        if value.is_err() {
            self.left = 0;
            self.cursor = Cursor::new("DataRow", &[]);
        }
        Some(value)
    }
}
