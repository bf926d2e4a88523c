//! Schema introspection, and later diff, plan, ledger and runner.
