//! Real drivers against real servers.
