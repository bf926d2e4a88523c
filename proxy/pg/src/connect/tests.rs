//! Logins at upstreams that misbehave.
