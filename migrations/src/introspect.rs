//! Reads a database's schema into an [`orm_schema::Catalog`].

pub mod pg;
