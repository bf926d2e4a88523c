//! `SHOW CLIENTS` and `SHOW SERVERS`: both ends, and which of them belong together.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use twinport_core::clients::{Activity, Client};
use twinport_core::stream::Peer;

use super::{kept, moment};
use crate::admin::registry::Entry;
use crate::admin::table::Kind::{Int, Text};
use crate::admin::table::{Cell, Heading, Rows};
use crate::wing::Wing;

pub(super) const CLIENTS: &[Heading] = &[
    ("type", Text),
    ("user", Text),
    ("database", Text),
    ("replication", Text),
    ("state", Text),
    ("addr", Text),
    ("port", Int),
    ("connect_time", Text),
    ("link", Int),
    ("remote_pid", Int),
    ("tls", Text),
    ("application_name", Text),
    ("id", Int),
    ("protocol", Text),
    ("pin", Text),
];

/// The word for this wing's protocol.
const PROTOCOL: &str = "postgres";

pub(super) fn clients(wing: &Wing) -> Rows {
    let own = wing.clients.list().into_iter();
    let own = own.map(|client| (client, PROTOCOL));
    let others = wing.views().into_iter().flat_map(|view| {
        let protocol = view.protocol();
        let clients = view.clients().list().into_iter();
        clients.map(move |client| (client, protocol))
    });
    Box::new(
        own.chain(others)
            .map(|(client, protocol)| client_row(&client, protocol)),
    )
}

/// A replication connection holds an upstream connection that no pool knows: the pin tells.
const REPLICATION: &str = "replication";

fn client_row(client: &Client, protocol: &str) -> Vec<Cell> {
    let pin = client.pin();
    let replicates = pin.as_deref() == Some(REPLICATION);
    let state = match client.activity() {
        _ if replicates => "active",
        Activity::Active => "active",
        Activity::Waiting => "waiting",
        Activity::Idle => "idle",
    };
    let (addr, port, pid) = whence(&client.peer);
    vec![
        "C".into(),
        client.user.as_str().into(),
        client.database.as_str().into(),
        if replicates { "logical" } else { "none" }.into(),
        state.into(),
        addr.into(),
        port.into(),
        moment(client.since).into(),
        client.upstream().into(),
        pid.into(),
        tls(client.tls).into(),
        client.application_name.lock().as_str().into(),
        client.id.into(),
        protocol.into(),
        pin.as_deref().into(),
    ]
}

/// Address, port and process out of what the registry of clients keeps for logs.
fn whence(peer: &str) -> (String, Option<u16>, Option<i32>) {
    match peer.parse::<SocketAddr>() {
        Ok(address) => (address.ip().to_string(), Some(address.port()), None),
        Err(_) => {
            let (kind, pid) = peer.split_once(':').unwrap_or((peer, ""));
            (kind.to_owned(), None, pid.parse().ok())
        }
    }
}

pub(super) const SERVERS: &[Heading] = &[
    ("type", Text),
    ("user", Text),
    ("database", Text),
    ("state", Text),
    ("addr", Text),
    ("port", Int),
    ("connect_time", Text),
    ("link", Int),
    ("remote_pid", Int),
    ("tls", Text),
    ("application_name", Text),
    ("prepared_statements", Int),
    ("id", Int),
    ("host", Text),
    ("pin", Text),
];

pub(super) fn servers(wing: &Wing) -> Rows {
    // Our own clients hold connections as well; what they do is told in the state.
    let holders = |clients: Vec<Arc<Client>>| {
        let held = clients
            .into_iter()
            .filter_map(|client| Some((client.upstream()?, client)));
        held.collect::<HashMap<_, _>>()
    };
    let views = wing.views();
    let others = views.iter().flat_map(|view| view.clients().list());
    let clients = holders(wing.clients.list().into_iter().chain(others).collect());
    let own = holders(wing.own.list());
    let kept = kept::connections(&views);
    let servers = wing.pools.connections().list();
    Box::new(servers.into_iter().map(move |server| {
        let client = clients.get(&server.id);
        server_row(
            &server,
            client.map(Arc::as_ref),
            own.contains_key(&server.id),
            kept.contains(&server.id),
        )
    }))
}

fn server_row(server: &Entry, client: Option<&Client>, is_ours: bool, is_kept: bool) -> Vec<Cell> {
    let state = if client.is_some() || is_ours || is_kept {
        "active"
    } else {
        "idle"
    };
    let name = match client {
        Some(client) => client.application_name.lock().clone(),
        None if is_ours => "twinport".to_owned(),
        None => String::new(),
    };
    let (addr, port) = match server.peer {
        Peer::Tcp(address) => (address.ip().to_string(), address.port()),
        Peer::Unix(_) => ("unix".to_owned(), server.port),
        Peer::Unknown => ("unknown".to_owned(), server.port),
    };
    vec![
        "S".into(),
        server.user.as_str().into(),
        server.database.as_str().into(),
        state.into(),
        addr.into(),
        port.into(),
        moment(server.since).into(),
        client.map(|client| client.id).into(),
        server.pid.into(),
        tls(server.tls).into(),
        name.into(),
        server.prepared().into(),
        server.id.into(),
        server.host.as_str().into(),
        client.and_then(Client::pin).as_deref().into(),
    ]
}

fn tls(encrypted: bool) -> &'static str {
    if encrypted { "TLS" } else { "" }
}

#[cfg(test)]
mod tests {
    use twinport_core::clients::{Arrival, Bounds, Clients};

    use super::*;

    #[test]
    fn a_client_shows_its_pin_and_its_server() {
        let clients = Arc::new(Clients::default());
        let arrival = Arrival {
            user: "alice".into(),
            peer: "[::1]:5000".into(),
            ..Arrival::default()
        };
        let client = clients.enter(arrival, Bounds::default()).unwrap();
        client.set_pin(Some("LISTEN".into()));
        client.set_upstream(Some(7));
        let row = client_row(&client, PROTOCOL);
        assert_eq!(row.len(), CLIENTS.len());
        let cell = |name| {
            row[CLIENTS
                .iter()
                .position(|(column, _)| *column == name)
                .unwrap()]
            .clone()
        };
        assert_eq!(cell("pin"), "LISTEN".into());
        assert_eq!(cell("link"), Cell::Int(7));
        assert_eq!(
            (cell("addr"), cell("port")),
            ("::1".into(), Cell::Int(5000))
        );
    }

    #[test]
    fn a_peer_by_unix_socket_has_a_process() {
        assert_eq!(whence("unix:12"), ("unix".into(), None, Some(12)));
        assert_eq!(whence("unix"), ("unix".into(), None, None));
    }
}
