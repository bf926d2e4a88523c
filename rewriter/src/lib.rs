//! Directive grammar and rewriting rules: annotated statement in, one optimized statement out.

pub mod scan;
