//! Directive grammar and rewriting rules: annotated statement in, one optimized statement out.
