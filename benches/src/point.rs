//! A point of the measurement: what is asked, by how many clients, with or without TLS.

use std::fmt;

/// How statements are sent; pgbench's `--protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Simple,
    Extended,
    Prepared,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Prepared => "prepared",
        }
    }
}

/// What a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// One look-up by primary key.
    Query(Mode),
    /// Log in, one look-up by the simple protocol, leave.
    Login,
}

/// A point of the measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) work: Work,
    pub(crate) clients: u32,
    pub(crate) tls: bool,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let work = match self.work {
            Work::Query(mode) => mode.name(),
            Work::Login => "login",
        };
        let tls = if self.tls { "/tls" } else { "" };
        write!(f, "{work}/{}{tls}", self.clients)
    }
}

/// All points in the order of the table. TLS is measured where neither one client's latency nor
/// a thousand handshakes hide its cost.
pub(crate) fn all(quick: bool) -> Vec<Point> {
    let (plain, tls, logins): (&[u32], &[u32], &[u32]) = if quick {
        (&[1, 10], &[10], &[10])
    } else {
        (&[1, 10, 100, 1000], &[10, 100], &[10, 100])
    };
    let modes = [Mode::Simple, Mode::Extended, Mode::Prepared].map(Work::Query);
    let mut points = Vec::new();
    let mut add = |work, clients: &[u32], tls| {
        let of = |&clients| Point { work, clients, tls };
        points.extend(clients.iter().map(of));
    };
    for work in modes {
        add(work, plain, false);
    }
    for work in modes {
        add(work, tls, true);
    }
    add(Work::Login, logins, false);
    add(Work::Login, logins, true);
    points
}
