//! Settings of Twinport: file, environment and flags.
