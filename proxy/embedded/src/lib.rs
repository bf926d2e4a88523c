//! Private database servers for development and tests.
