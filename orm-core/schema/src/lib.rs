//! Tables, columns, types and relations: the common language of Twinport's crates.
