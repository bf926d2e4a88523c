//! One client's session: its state, and the loop that reads, answers and watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls_pki_types::CertificateDer;
use tokio::sync::mpsc;
use twinport_core::clients::{Activity, Bounds, Presence};
use twinport_core::sql::{Connection, Identity};
use twinport_wire::mongo::bson::{RawBsonRef, RawDocument};
use twinport_wire::mongo::compressed::Compressor;
use twinport_wire::mongo::frame::MAX_LENGTH;
use twinport_wire::mongo::message::opening::Opening;

use crate::auth::Exchange;
use crate::fault::Fault;
use crate::forward::Cluster;
use crate::handles::Back;
use crate::login;
use crate::operations::Seat;
use crate::reply::Answer;
use crate::request::{self, Rest};
use crate::stream::{Broken, Channel, Incoming, WHOLE};
use crate::wing::Wing;

/// Bytes of a message from somebody who has not logged in: `hello` and the login are far below.
const STRANGER: usize = 64 * 1024;

/// How far a client is with its login.
pub(crate) enum Login {
    /// It has not begun.
    Nobody,
    /// Its next message is awaited.
    Asking(Exchange),
    /// It is who it says it is.
    Known(Identity),
}

/// One client's session.
pub struct Session {
    pub(crate) wing: Arc<Wing>,
    /// The connection's number, as `hello` tells it.
    pub(crate) number: i32,
    pub(crate) login: Login,
    presence: Presence,
    /// Where it notes what it has running.
    pub(crate) seat: Seat,
    /// What the client has shown at the TLS handshake.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// Whether the client has said what it is; it may do so once.
    pub(crate) introduced: bool,
    /// It comes through a balancer, and can't come back by another connection.
    pub(crate) balanced: bool,
    /// The compressors that `hello` has agreed on.
    pub(crate) agreed: Vec<Compressor>,
    /// The request that runs wants no answer, and so is run whether its client is still there or not.
    pub(crate) silent: Arc<AtomicBool>,
    /// The number of our next message.
    next: i32,
}

/// What the loop does after a message.
enum Next {
    Go,
    End,
}

impl Session {
    pub(crate) fn new(
        wing: Arc<Wing>,
        number: i32,
        presence: Presence,
        certificate: Option<CertificateDer<'static>>,
    ) -> Self {
        Self {
            seat: wing.operations.enter(number),
            wing,
            number,
            login: Login::Nobody,
            presence,
            certificate,
            introduced: false,
            balanced: false,
            agreed: vec![Compressor::Noop],
            silent: Arc::default(),
            next: 0,
        }
    }

    /// Serves the client until it goes.
    pub(crate) async fn run(mut self, mut channel: Channel) {
        let mut heard = false;
        while let Some(Incoming { bytes, mut rest }) = self.next(&mut channel, heard).await {
            heard = true;
            let (coming, pieces) = rest.as_mut().map_or((None, None), |rest| {
                let (taker, pieces) = mpsc::channel(1);
                let pieces = Rest::new(pieces, rest.left());
                (Some((rest, taker)), Some(pieces))
            });
            let silent = Arc::clone(&self.silent);
            let left = async {
                channel.attend(coming).await;
                if silent.load(Ordering::Relaxed) {
                    std::future::pending().await
                }
            };
            let answered = tokio::select! {
                biased;
                answered = self.answer(&bytes, pieces) => answered,
                // Dropped, the request cancels what it has running.
                () = left => {
                    self.finish(&mut channel).await;
                    break;
                }
            };
            drop(bytes);
            if let Some(mut rest) = rest
                && channel.skip(&mut rest).await.is_err()
            {
                break;
            }
            self.presence.set_activity(Activity::Idle);
            self.presence.set_upstream(None);
            match self.send(&mut channel, answered).await {
                Next::Go => {}
                Next::End => break,
            }
        }
        if self.balanced {
            self.wing.transactions.of_client(self.number);
            if let Some(cluster) = self.wing.cluster() {
                cluster.abandon(self.number);
            }
        }
        let left = self.wing.cursors.of_client(self.number, self.back());
        self.wing.dismiss(left);
    }

    /// How the client may come back.
    fn back(&self) -> Back {
        let sessions = |cluster: Arc<Cluster>| cluster.promises_sessions();
        if self.balanced {
            Back::Never
        } else if self.wing.cluster().is_none_or(sessions) {
            Back::BySession
        } else {
            Back::Anyhow
        }
    }

    /// Runs what a client that is gone has sent before and wants no answer to.
    async fn finish(&mut self, channel: &mut Channel) {
        let limit = self.limit();
        while let Some(message) = channel.buffered(limit)
            && request::is_silent(&message, limit)
        {
            self.answer(&message, None).await;
        }
    }

    /// The next message, or its beginning if that is enough; `None` ends the session.
    async fn next(&mut self, channel: &mut Channel, heard: bool) -> Option<Incoming> {
        let whole = match self.wing.cluster() {
            Some(_) if self.identity().is_some() => WHOLE,
            _ => usize::MAX,
        };
        let incoming = self.listen(channel, heard, whole).await?;
        if incoming.rest.is_none() {
            return Some(incoming);
        }
        if let Ok(Some(opening)) = Opening::read(&incoming.bytes)
            && self.passes(&opening)
        {
            return Some(incoming);
        }
        channel.put_back(incoming.bytes);
        self.listen(channel, heard, usize::MAX).await
    }

    /// The next message, as [`Channel::message`] gives it.
    async fn listen(
        &mut self,
        channel: &mut Channel,
        heard: bool,
        whole: usize,
    ) -> Option<Incoming> {
        let limit = self.limit();
        let bound = {
            let current = self.wing.current();
            let mongo = &current.mongo;
            match &self.login {
                Login::Known(_) => mongo.client_idle_timeout,
                // A driver's monitor never logs in, and may stay.
                Login::Nobody if heard => mongo.client_idle_timeout,
                Login::Asking(_) | Login::Nobody => Some(mongo.login_timeout),
            }
        };
        let draining = self.wing.drain.draining();
        let silence = async {
            match bound {
                Some(bound) => tokio::time::sleep(bound).await,
                None => std::future::pending().await,
            }
        };
        let read = tokio::select! {
            biased;
            read = channel.message(limit, whole) => read,
            () = draining => return None,
            () = silence => return None,
        };
        match read {
            Ok(message) => Some(message),
            Err(Broken::Gone) => None,
            Err(Broken::Wire(error)) => {
                tracing::info!(peer = self.presence.peer, %error, "malformed message");
                None
            }
        }
    }

    /// Bytes of a message at most.
    pub(crate) fn limit(&self) -> usize {
        match &self.login {
            Login::Known(_) => MAX_LENGTH,
            Login::Asking(_) | Login::Nobody => STRANGER,
        }
    }

    async fn send(&mut self, channel: &mut Channel, answer: Answer) -> Next {
        let (sent, last) = match answer {
            Answer::Nothing => (Ok(()), false),
            Answer::Message(bytes) => (channel.send(&bytes).await, false),
            Answer::Passing(passing, number, to) => {
                (passing.pass(channel, number, to).await, false)
            }
            Answer::Last(bytes) => (channel.send(&bytes).await, true),
        };
        match sent {
            Ok(()) if !last => Next::Go,
            _ => Next::End,
        }
    }

    /// A number for a message of ours.
    pub(crate) fn next_number(&mut self) -> i32 {
        self.next = self.next.wrapping_add(1) & i32::MAX;
        self.next
    }

    /// Who it is.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        match &self.login {
            Login::Known(identity) => Some(identity),
            _ => None,
        }
    }

    /// Lets in somebody who has proven who it is.
    pub(crate) fn enter(&mut self, identity: Identity) -> Result<(), Fault> {
        match login::admit(&self.wing, &identity, &mut self.presence) {
            Ok(()) => {
                self.wing.stats.logins.add(1);
                self.login = Login::Known(identity);
                Ok(())
            }
            Err(fault) => {
                self.wing.stats.refused.add(1);
                tracing::info!(
                    peer = self.presence.peer, user = %identity.user,
                    reason = fault.message, "client refused"
                );
                Err(fault)
            }
        }
    }

    /// Lets somebody out who stays connected.
    pub(crate) fn leave(&mut self) {
        self.login = Login::Nobody;
        // Nobody's clients have no bound.
        let _ = self.presence.log_in("", "", Bounds::default());
    }

    /// A connection of the database in the name of who has logged in.
    pub(crate) async fn lease(&self, command: &str) -> Result<Box<dyn Connection>, Fault> {
        let identity = self.known(command)?;
        self.presence.set_activity(Activity::Waiting);
        let leased = self.wing.lease(identity).await;
        self.presence.set_activity(Activity::Active);
        if let Ok(connection) = &leased {
            self.presence.set_upstream(Some(connection.number()));
        }
        Ok(leased?)
    }

    /// As [`Session::lease`], for a transaction.
    pub(crate) async fn lease_prepared(&self, command: &str) -> Result<Box<dyn Connection>, Fault> {
        let mut connection = self.lease(command).await?;
        let user = &self.known(command)?.user;
        self.wing.ledger.prepare(&mut connection, user).await;
        Ok(connection)
    }

    /// Notes a login that failed.
    pub(crate) fn denied(&mut self, why: &dyn std::fmt::Display) {
        self.login = Login::Nobody;
        self.wing.stats.logins_failed.add(1);
        tracing::info!(peer = self.presence.peer, reason = %why, "login refused");
    }

    /// Takes what a client says of itself in `hello`.
    pub(crate) fn introduce(&mut self, client: &RawDocument) {
        self.introduced = true;
        let name = |of: &str| {
            let inner = client.get_document(of).ok()?;
            inner.get_str("name").ok()
        };
        if let Some(name) = name("application").or_else(|| name("driver")) {
            let name: String = name.chars().take(128).collect();
            *self.presence.application_name.lock() = name;
        }
    }

    pub(crate) fn presence(&self) -> &Presence {
        &self.presence
    }
}

/// Whether a command brings what a client says of itself.
pub(crate) fn introduces(body: &RawDocument) -> bool {
    matches!(body.get("client"), Ok(Some(RawBsonRef::Document(_))))
}
