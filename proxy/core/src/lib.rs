//! What both wings share: streams, TLS, pool, registry, telemetry, drain.
