//! The Twinport server: two ports in front of your databases.
