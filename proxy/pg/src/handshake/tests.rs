//! Logins of clients, right and wrong.
