//! What the client's messages mean, and the stages that each request passes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use twinport_core::clients::Activity;
use twinport_core::sql::{Connection, Identity, Pending, Rows, SqlError};
use twinport_wire::mongo::compressed::is_never_compressed;
use twinport_wire::mongo::document::{MAX_DEPTH, validate_structure};
use twinport_wire::mongo::message::MORE_TO_COME;
use twinport_wire::mongo::message::opening::Opening;
use twinport_wire::mongo::{Command, Frame, Message};

use crate::fault::{Fault, known};
use crate::plan;
use crate::reply::{Answer, Reply, Way, build};
use crate::session::Session;
use crate::transaction::{self, Owner, Within};

mod batch;
mod concern;
mod crud;
pub(crate) mod cursor;
mod duplicate;
mod explain;
mod hint;
mod indexes;
mod instead;
mod local_sessions;
mod login;
mod opened;
mod point;
mod query;
mod roles;
mod rules;
mod schema;
mod server;
pub(crate) mod sessions;
mod sizes;
mod specs;
mod stored;
mod table;
mod testing;
mod time;
mod unreadable;
mod users;

pub(crate) use opened::{Begun, Rest, documents};
pub(crate) use time::{Ended, in_time, settle, within_bound_sql};

use opened::Opened;
use table::Entry;
use time::within_bound;

/// What a handler gives.
pub(crate) type Outcome = Result<Reply, Fault>;

/// A command with what belongs to it.
pub(crate) struct Request<'a> {
    pub(crate) command: Command<'a>,
    pub(crate) database: &'a str,
    pub(crate) message: Option<Message<'a>>,
    /// The message's bytes; none after a rewrite.
    pub(crate) frame: Option<Frame<'a>>,
    /// In place of the message's section, after a rewrite.
    pub(crate) sequence: Option<(&'a str, &'a [u8])>,
    /// In place of the message, where it goes on while it comes.
    pub(crate) begun: Option<Begun<'a>>,
    /// Whether its answer may go on while it comes: nobody has to look into it, or to compress it.
    pub(crate) passes: bool,
    /// When it came.
    pub(crate) began: Instant,
}

impl<'a> Request<'a> {
    /// The same request with another command, and documents beside it, in the place of its own.
    fn instead<'b>(
        &self,
        command: Command<'b>,
        sequence: Option<(&'b str, &'b [u8])>,
    ) -> Request<'b>
    where
        'a: 'b,
    {
        Request {
            command,
            database: self.database,
            message: None,
            frame: None,
            sequence,
            begun: None,
            passes: self.passes,
            began: self.began,
        }
    }

    /// The documents that came beside the command under this name.
    pub(crate) fn sequence(&self, identifier: &str) -> Option<&'a [u8]> {
        if let Some((name, bytes)) = self.sequence
            && name == identifier
        {
            return Some(bytes);
        }
        let sequence = self.message.as_ref()?.sequence(identifier)?;
        Some(sequence.bytes)
    }

    /// Whether the client wants no answer.
    pub(crate) fn is_silent(&self) -> bool {
        let begun = self.begun.as_ref().map(|begun| begun.opening.flags);
        let flags = self.message.map(|message| message.flags).or(begun);
        flags.is_some_and(|flags| flags & MORE_TO_COME != 0)
    }

    /// The whole command.
    pub(crate) fn body(&self) -> &'a [u8] {
        self.command.body.as_bytes()
    }

    /// What is left of the time that the command allows itself. A getMore's is for awaiting data.
    pub(crate) fn bound(&self) -> Option<Duration> {
        let millis = self.command.max_time_ms.filter(|millis| *millis > 0)?;
        if self.command.name == "getMore" {
            return None;
        }
        let allowed = u64::try_from(millis).ok().map(Duration::from_millis)?;
        Some(allowed.saturating_sub(self.began.elapsed()))
    }

    /// How much of what is read must be settled.
    pub(crate) fn read_concern(&self) -> Option<&'a str> {
        self.command.read_concern?.get_str("level").ok()
    }

    /// The collection, which must be named.
    pub(crate) fn collection(&self) -> Result<&'a str, Fault> {
        self.command.collection().ok_or_else(|| {
            Fault::new(
                known::INVALID_NAMESPACE,
                format_args!(
                    "collection name has invalid type in '{}'",
                    self.command.name
                ),
            )
        })
    }
}

/// Where a command's statements run.
pub(crate) enum Place {
    /// Each on a connection of its own.
    Free,
    Within(Within),
}

/// A command while it is handled.
pub(crate) struct Context<'a> {
    pub(crate) session: &'a mut Session,
    pub(crate) request: &'a Request<'a>,
    pub(crate) place: Place,
    /// The transaction can't go on, though the command has an answer.
    pub(crate) spoiled: bool,
}

impl Session {
    /// Whether a request goes on while it comes: it is forwarded, and nobody here has to see all of it.
    pub(crate) fn passes(&self, opening: &Opening<'_>) -> bool {
        let Some(cluster) = self.wing.cluster() else {
            return false;
        };
        let plain = cluster.settings.compressors.is_empty() && !self.wing.fail_points.armed();
        let valid = validate_structure(opening.body.as_bytes(), MAX_DEPTH).is_ok();
        let Ok(command) = Command::read(opening.body) else {
            return false;
        };
        let known = self.identity().is_some();
        plain
            && valid
            && known
            && command.comment.is_none()
            && table::forwarded(command.name, known).relays
            && crate::forward::passes(command.name)
    }

    /// Whether answers may go on while they come: nobody here has to see all of one, and what it opens has room.
    fn answers_pass(&self, way: Way) -> bool {
        let wing = &self.wing;
        way.compressor.is_none()
            && !wing.fail_points.armed()
            && !self.identity().is_some_and(|identity| {
                let most = wing.current().mongo.max_cursors;
                wing.cursors.is_full(&identity.user, most)
            })
    }

    /// Handles a message, or one that has begun and whose rest follows.
    pub(crate) async fn answer(&mut self, bytes: &[u8], rest: Option<Rest>) -> Answer {
        let mut room = Vec::new();
        // What is compressed counts by what it becomes.
        let limit = self.limit();
        let opened = match rest {
            Some(rest) => Opened::begin(bytes, rest),
            None => Opened::read(bytes, &mut room, limit, self.wing.cluster().is_none()),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(unread) => {
                let error = &unread.error;
                tracing::info!(peer = self.presence().peer, %error, "malformed message");
                return self.unreadable(unread);
            }
        };
        let mut way = opened.way;
        self.silent.store(way.silent, Ordering::Relaxed);
        if !self.has_agreed(way) {
            tracing::info!(
                peer = self.presence().peer,
                "a message compressed in a way that was not agreed on"
            );
            return Answer::Nothing.ending();
        }
        let read = Command::read(opened.body);
        let name = read.as_ref().map_or("", |command| command.name);
        if is_never_compressed(name) {
            way.compressor = None;
        }
        let outcome = match read {
            Ok(command) => self.request(command, &opened).await,
            Err(error) => Err(Fault::protocol(&error)),
        };
        let number = self.next_number();
        if way.silent {
            return Answer::Nothing;
        }
        if matches!(outcome, Ok(Reply::HangUp)) {
            return Answer::Nothing.ending();
        }
        let outcome = match outcome {
            Ok(Reply::Passing(passing)) => return Answer::Passing(passing, number, way.request),
            outcome => outcome.and_then(|reply| reply.into_message(way, number)),
        };
        Answer::Message(outcome.unwrap_or_else(|fault| build(way, number, &fault.to_document())))
    }

    /// Whether a message came compressed in a way that `hello` has agreed on, or not at all.
    fn has_agreed(&self, way: Way) -> bool {
        way.compressor
            .is_none_or(|used| self.agreed.contains(&used))
    }

    /// The stages of a request, in their order.
    async fn request(&mut self, command: Command<'_>, opened: &Opened<'_>) -> Outcome {
        let entry = self.entry(command.name)?;
        self.authorize(entry, command.name, opened)?;
        // Who only passes a command on leaves this to the server.
        if self.wing.cluster().is_none() || command.comment.is_some() {
            let once = command.has_fields_once();
            once.map_err(|error| Fault::protocol(&error))?;
        }
        let request = Request {
            database: opened.database(&command)?,
            command,
            message: opened.message,
            frame: opened.frame,
            sequence: None,
            begun: opened.begun.clone(),
            passes: self.answers_pass(opened.way),
            began: Instant::now(),
        };
        if self.wing.fail_points.armed() {
            return self.fail(entry, &request).await;
        }
        self.serve(entry, &request).await
    }

    /// The stages after the test's.
    async fn serve(&mut self, entry: &Entry, request: &Request<'_>) -> Outcome {
        self.note_use(&request.command);
        let outcome = self.until_interrupted(entry, request).await;
        let catalogs = &self.wing.catalogs;
        catalogs.observe(&request.command, request.database);
        outcome
    }

    /// Dropped where somebody ends it by its session, a command cancels what it has running.
    async fn until_interrupted(&mut self, entry: &Entry, request: &Request<'_>) -> Outcome {
        // The server that it is forwarded to sees to that itself.
        let session = match self.wing.cluster() {
            None => request.command.session().ok().flatten(),
            Some(_) => None,
        };
        let (Some(session), Some(identity)) = (session, self.identity()) else {
            return self.directed(entry, request).await;
        };
        let operation = self.seat.begin((Arc::clone(&identity.user), session));
        tokio::select! {
            biased;
            outcome = self.directed(entry, request) => outcome,
            () = operation.interrupted() => Err(Fault::interrupted()),
        }
    }

    async fn directed(&mut self, entry: &Entry, request: &Request<'_>) -> Outcome {
        if self.wing.cluster().is_none() {
            rules::time(&request.command)?;
        }
        let rewritten = plan::directives(self, request).await?;
        self.wing.asked.commands.add(1);
        let Some(rewritten) = rewritten else {
            return self.execute(entry, request).await;
        };
        self.wing.asked.rewrites.add(1);
        let entry = self.entry(rewritten.name())?;
        let mut changed = request.instead(rewritten.command()?, rewritten.sequence());
        changed.passes &= rewritten.keeps_its_answer();
        let reply = self.execute(entry, &changed).await?;
        rewritten.reshape(reply)
    }

    /// Who handles a command: somebody here, or the server that it is forwarded to.
    fn entry(&self, name: &str) -> Result<&'static Entry, Fault> {
        if self.wing.cluster().is_some() {
            Ok(table::forwarded(name, self.identity().is_some()))
        } else {
            table::find(name)
        }
    }

    fn authorize(&self, entry: &Entry, name: &str, opened: &Opened<'_>) -> Result<(), Fault> {
        if opened.way.legacy && !entry.legacy {
            return Err(Fault::new(
                known::COMMAND_NOT_SUPPORTED,
                "OP_QUERY is for hello and isMaster only",
            )
            .hint("The driver may need an upgrade"));
        }
        if entry.open || self.identity().is_some() {
            return Ok(());
        }
        Err(Fault::unauthorized(name))
    }

    async fn execute(&mut self, entry: &Entry, request: &Request<'_>) -> Outcome {
        let unmet = if self.wing.cluster().is_none() {
            rules::stable(&request.command)?;
            rules::whole(request)?;
            concern::read(request)?;
            concern::write(request)?
        } else {
            None
        };
        let place = in_time(request.bound(), self.place(entry, request)).await?;
        if !entry.open {
            self.presence().set_activity(Activity::Active);
        }
        let mut context = Context {
            session: self,
            request,
            place,
            spoiled: false,
        };
        let outcome = (entry.handler)(&mut context).await;
        let (place, spoiled) = (context.place, context.spoiled);
        let outcome = outcome.map_err(|fault| rules::late(fault, request));
        let outcome = match place {
            Place::Free => outcome.map_err(|fault| rules::retryable(fault, request)),
            Place::Within(mut within) => {
                let outcome = match outcome {
                    Ok(reply) if !spoiled => within.tokened(entry.name, reply).await,
                    other => other,
                };
                if outcome.is_ok() && !spoiled {
                    within.keep();
                } else {
                    within.abort().await;
                }
                outcome.map_err(Fault::in_transaction)
            }
        };
        match unmet {
            Some(unmet) => outcome?.with_unmet(&unmet),
            None => outcome,
        }
    }

    /// The transaction that a command is part of, or none.
    async fn place(&self, entry: &Entry, request: &Request<'_>) -> Result<Place, Fault> {
        let command = &request.command;
        if !command.in_transaction() || entry.ends_transaction || entry.relays {
            return Ok(Place::Free);
        }
        if !entry.in_transaction {
            return Err(Fault::new(
                known::OPERATION_NOT_SUPPORTED_IN_TRANSACTION,
                format_args!(
                    "Cannot run '{}' in a multi-document transaction.",
                    entry.name
                ),
            ));
        }
        let owner = self.owner(command)?;
        let number = transaction::number(command)?;
        let transactions = &self.wing.transactions;
        let within = if command.start_transaction == Some(true) {
            let lease = self.lease_prepared(entry.name);
            transactions
                .start(&owner, number, self.number, lease)
                .await?
        } else {
            transactions.join(&owner, number).await?
        };
        Ok(Place::Within(within))
    }

    /// The user and the session of a command, which must have one.
    pub(crate) fn owner(&self, command: &Command<'_>) -> Result<Owner, Fault> {
        let session = command.session().map_err(|error| Fault::protocol(&error))?;
        let session = session.ok_or_else(|| {
            Fault::new(
                known::INVALID_OPTIONS,
                "Transaction number given without a session ('lsid')",
            )
        })?;
        let identity = self.known(command.name)?;
        Ok((identity.user.clone(), session))
    }

    /// Who it is; an error if nobody has logged in.
    pub(crate) fn known(&self, command: &str) -> Result<&Identity, Fault> {
        self.identity().ok_or_else(|| Fault::unauthorized(command))
    }
}

impl Context<'_> {
    /// Runs a statement in the command's place.
    pub(crate) async fn call(
        &mut self,
        statement: &'static str,
        parameters: &[Option<&[u8]>],
    ) -> Result<Rows, Fault> {
        let (rows, connection) = self.call_held(statement, parameters).await?;
        if let Some(connection) = connection {
            connection.release();
        }
        Ok(rows)
    }

    /// As [`Context::call`]; the connection comes back with the rows, unless it is the transaction's.
    pub(crate) async fn call_held(
        &mut self,
        statement: &'static str,
        parameters: &[Option<&[u8]>],
    ) -> Result<(Rows, Option<Box<dyn Connection>>), Fault> {
        if let Place::Within(within) = &mut self.place {
            let run = run(within.connection(), statement, parameters);
            let rows = within_bound(self.request.bound(), run).await?;
            return Ok((rows, None));
        }
        let mut connection = self.lease().await?;
        let run = connection.run(statement, parameters);
        let (rows, connection) = settle(within_bound_sql(self.bound(), run).await, connection)?;
        Ok((rows, Some(connection)))
    }

    /// A connection for this command alone.
    pub(crate) async fn lease(&mut self) -> Result<Box<dyn Connection>, Fault> {
        let lease = self.session.lease(self.request.command.name);
        in_time(self.request.bound(), lease).await
    }

    pub(crate) fn bound(&self) -> Option<Duration> {
        self.request.bound()
    }
}

fn run<'a>(
    connection: Option<&'a mut Box<dyn Connection>>,
    statement: &'static str,
    parameters: &'a [Option<&'a [u8]>],
) -> Pending<'a, Result<Rows, SqlError>> {
    match connection {
        Some(connection) => connection.run(statement, parameters),
        None => Box::pin(std::future::ready(Err(SqlError::Lost(
            "the transaction's connection is gone".to_owned(),
        )))),
    }
}

/// Whether a message wants no answer.
pub(crate) fn is_silent(bytes: &[u8], limit: usize) -> bool {
    let mut room = Vec::new();
    Opened::read(bytes, &mut room, limit, false).is_ok_and(|opened| opened.way.silent)
}
