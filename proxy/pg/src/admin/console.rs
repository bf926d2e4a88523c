//! The console's side of the protocol: simple queries, and the extended ones of drivers that know nothing else.

use std::collections::HashMap;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use twinport_core::stream::Stream;
use twinport_wire::pg::backend::{Status, build as answer};
use twinport_wire::pg::frame::{HEADER, peek_within};
use twinport_wire::pg::frontend::{self, Bind, Execute, Parse, Target};

use super::command::{Command, parse};
use super::show;
use super::table::{self, Formats, Rows};
use crate::fault::Fault;
use crate::handshake::Login;
use crate::login::turn_away;
use crate::wing::Wing;

/// The longest message that is taken.
const LONGEST: usize = 64 * 1024;

/// Answers are sent in pieces of about this size.
const PIECE: usize = 32 * 1024;

/// So many statements and so many portals are kept for one client.
const MOST: usize = 256;

/// How long an answer may still take to reach the client when the server goes down.
const GRACE: Duration = Duration::from_secs(1);

/// Why the console ends.
enum End {
    /// The client said goodbye, or is gone.
    Left,
    /// The client has to go.
    Refused(Fault),
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        Self::Left
    }
}

impl From<twinport_wire::Error> for End {
    fn from(error: twinport_wire::Error) -> Self {
        Self::Refused(Fault::protocol(&error))
    }
}

/// A command with what has been sent of its answer.
struct Portal {
    /// `None` is an empty query.
    command: Option<Command>,
    formats: Formats,
    /// The rows that are still to be sent; `None` before the first.
    rows: Option<Peekable<Rows>>,
}

/// An admin's connection.
pub(super) struct Console {
    wing: Arc<Wing>,
    stream: Stream,
    inbound: Vec<u8>,
    out: Vec<u8>,
    status: Status,
    statements: HashMap<Vec<u8>, Option<Command>>,
    portals: HashMap<Vec<u8>, Portal>,
    /// An extended query failed: what follows up to Sync is skipped.
    skipping: bool,
}

impl Console {
    /// A console whose client is owed `welcome`.
    pub(super) fn new(wing: &Arc<Wing>, login: Login, welcome: Vec<u8>) -> Self {
        Self {
            wing: Arc::clone(wing),
            stream: login.stream,
            inbound: login.leftover,
            out: welcome,
            status: Status::Idle,
            statements: HashMap::new(),
            portals: HashMap::new(),
            skipping: false,
        }
    }

    /// Serves the client until it goes, or the server does.
    pub(super) async fn run(mut self) {
        let drain = self.wing.drain.clone();
        let late = async {
            drain.draining().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::pin!(late);
        let end = tokio::select! {
            end = self.serve() => end,
            () = &mut late => return,
        };
        if let End::Refused(fault) = end {
            turn_away(&mut self.stream, Vec::new(), &fault).await;
        }
    }

    async fn serve(&mut self) -> End {
        let draining = self.wing.drain.draining();
        tokio::pin!(draining);
        loop {
            if let Err(end) = self.flush().await {
                return end;
            }
            let frame = tokio::select! {
                frame = self.next_frame() => frame,
                () = &mut draining => return End::Refused(Fault::going_down()),
            };
            let done = match frame {
                Ok(frame) => self.handle(&frame).await,
                Err(end) => Err(end),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// The next whole message. Safe to be dropped while it waits.
    async fn next_frame(&mut self) -> Result<Vec<u8>, End> {
        loop {
            if let Some(header) = peek_within(&self.inbound, LONGEST)?
                && header.len <= self.inbound.len()
            {
                return Ok(self.inbound.drain(..header.len).collect());
            }
            if self.stream.read_buf(&mut self.inbound).await? == 0 {
                return Err(End::Left);
            }
        }
    }

    async fn handle(&mut self, frame: &[u8]) -> Result<(), End> {
        let (Some(&tag), Some(body)) = (frame.first(), frame.get(HEADER..)) else {
            return Err(End::Left);
        };
        match tag {
            frontend::TERMINATE => return Err(End::Left),
            frontend::SYNC => {
                self.skipping = false;
                self.portals.clear();
                self.ready();
            }
            frontend::QUERY => {
                self.skipping = false;
                self.simple(frontend::query(body)?).await?;
            }
            _ if self.skipping => {}
            // The answers go out when the client has said all; a flush is all that it asks for here.
            frontend::FLUSH | frontend::COPY_DATA | frontend::COPY_DONE | frontend::COPY_FAIL => {}
            _ => {
                let done = self.extended(tag, body).await?;
                if let Err(fault) = done {
                    if fault.fatal {
                        return Err(End::Refused(fault));
                    }
                    self.out.extend_from_slice(&fault.to_bytes());
                    self.skipping = true;
                }
            }
        }
        Ok(())
    }

    fn ready(&mut self) {
        answer::ready_for_query(&mut self.out, self.status);
    }

    async fn flush(&mut self) -> Result<(), End> {
        let out = std::mem::take(&mut self.out);
        self.stream.write_all(&out).await?;
        self.stream.flush().await?;
        Ok(())
    }

    async fn simple(&mut self, text: &[u8]) -> Result<(), End> {
        let commands = match text_of(text) {
            Ok(text) => parse(text),
            Err(fault) => vec![Err(fault)],
        };
        if commands.is_empty() {
            answer::empty_query(&mut self.out);
        }
        for command in commands {
            let done = match command {
                Ok(Command::Show(subject)) => {
                    let formats = Formats::default();
                    table::describe(&mut self.out, show::headings(subject), &formats);
                    let mut rows = show::rows(subject, &self.wing).peekable();
                    self.send(&mut rows, &formats, 0).await?;
                    Ok("SHOW")
                }
                Ok(command) => self.act(&command),
                Err(fault) => Err(fault),
            };
            match done {
                Ok(tag) => answer::command_complete(&mut self.out, tag.as_bytes()),
                Err(fault) => {
                    self.out.extend_from_slice(&fault.to_bytes());
                    break;
                }
            }
        }
        self.ready();
        Ok(())
    }

    async fn extended(&mut self, tag: u8, body: &[u8]) -> Result<Result<(), Fault>, End> {
        Ok(match tag {
            frontend::PARSE => self.parse(Parse::decode(body)?),
            frontend::BIND => self.bind(Bind::decode(body)?),
            frontend::DESCRIBE => self.describe(Target::decode(body)?),
            frontend::CLOSE => {
                match Target::decode(body)? {
                    Target::Statement(name) => drop(self.statements.remove(name)),
                    Target::Portal(name) => drop(self.portals.remove(name)),
                }
                answer::close_complete(&mut self.out);
                Ok(())
            }
            frontend::EXECUTE => return self.execute(Execute::decode(body)?).await,
            frontend::FUNCTION_CALL => {
                self.out.extend_from_slice(
                    &Fault::error("0A000", "the admin console has no functions").to_bytes(),
                );
                self.ready();
                Ok(())
            }
            other => Err(Fault::fatal(
                "08P01",
                format_args!("message type {other:#04x} is not known"),
            )),
        })
    }

    fn parse(&mut self, parse_message: Parse<'_>) -> Result<(), Fault> {
        let mut commands = parse(text_of(parse_message.text)?);
        if commands.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(Fault::error("42601", message));
        }
        let command = commands.pop().transpose()?;
        let name = parse_message.name;
        if !name.is_empty() && self.statements.contains_key(name) {
            let name = String::from_utf8_lossy(name);
            return Err(Fault::error(
                "42P05",
                format_args!("prepared statement \"{name}\" already exists"),
            ));
        }
        enough(self.statements.len(), "prepared statements")?;
        self.statements.insert(name.to_vec(), command);
        answer::parse_complete(&mut self.out);
        Ok(())
    }

    fn bind(&mut self, bind: Bind<'_>) -> Result<(), Fault> {
        let command = self.statement(bind.statement)?.clone();
        let formats = Formats::decode(bind.rest)?;
        let columns = columns(command.as_ref()).map_or(0, <[_]>::len);
        if !formats.suit(columns) {
            let message = format!("formats that don't suit a result of {columns} columns");
            return Err(Fault::error("08P01", message));
        }
        enough(self.portals.len(), "portals")?;
        let portal = Portal {
            command,
            formats,
            rows: None,
        };
        self.portals.insert(bind.portal.to_vec(), portal);
        answer::bind_complete(&mut self.out);
        Ok(())
    }

    fn describe(&mut self, target: Target<'_>) -> Result<(), Fault> {
        let (command, formats) = match target {
            Target::Statement(name) => {
                let command = self.statement(name)?.clone();
                answer::parameter_description(&mut self.out, &[]);
                (command, Formats::default())
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                (portal.command.clone(), portal.formats.clone())
            }
        };
        match columns(command.as_ref()) {
            Some(headings) => table::describe(&mut self.out, headings, &formats),
            None => answer::no_data(&mut self.out),
        }
        Ok(())
    }

    fn statement(&self, name: &[u8]) -> Result<&Option<Command>, Fault> {
        self.statements.get(name).ok_or_else(|| {
            let name = String::from_utf8_lossy(name);
            Fault::error(
                "26000",
                format_args!("prepared statement \"{name}\" does not exist"),
            )
        })
    }

    async fn execute(&mut self, execute: Execute<'_>) -> Result<Result<(), Fault>, End> {
        let Some(mut portal) = self.portals.remove(execute.portal) else {
            return Ok(Err(no_portal(execute.portal)));
        };
        let limit = usize::try_from(execute.rows).unwrap_or(0);
        match &portal.command {
            None => answer::empty_query(&mut self.out),
            Some(Command::Show(subject)) => {
                let made = || show::rows(*subject, &self.wing).peekable();
                let mut rows = portal.rows.take().unwrap_or_else(made);
                self.send(&mut rows, &portal.formats, limit).await?;
                if rows.peek().is_some() {
                    answer::portal_suspended(&mut self.out);
                } else {
                    answer::command_complete(&mut self.out, b"SHOW");
                }
                portal.rows = Some(rows);
            }
            Some(command) => match self.act(command) {
                Ok(tag) => answer::command_complete(&mut self.out, tag.as_bytes()),
                Err(fault) => return Ok(Err(fault)),
            },
        }
        self.portals.insert(execute.portal.to_vec(), portal);
        Ok(Ok(()))
    }

    /// Sends rows, `limit` at most if it is not 0.
    async fn send(
        &mut self,
        rows: &mut Peekable<Rows>,
        formats: &Formats,
        limit: usize,
    ) -> Result<(), End> {
        let mut sent = 0;
        while limit == 0 || sent < limit {
            let Some(cells) = rows.next() else {
                break;
            };
            table::row(&mut self.out, &cells, formats);
            sent += 1;
            if self.out.len() >= PIECE {
                self.flush().await?;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Does what is no SHOW; the tag that tells so.
    fn act(&mut self, command: &Command) -> Result<&'static str, Fault> {
        Ok(match command {
            Command::Show(_) => "SHOW",
            Command::Reconnect(name) => {
                reconnect(&self.wing, name.as_deref())?;
                "RECONNECT"
            }
            Command::Reload => {
                self.wing.reload_wanted.notify_one();
                "RELOAD"
            }
            Command::Shutdown => {
                tracing::info!("an admin asks for a shutdown");
                self.wing.shutdown_wanted.notify_one();
                "SHUTDOWN"
            }
            Command::Begin => {
                self.status = Status::Transaction;
                "BEGIN"
            }
            Command::Commit => {
                self.status = Status::Idle;
                "COMMIT"
            }
            Command::Rollback => {
                self.status = Status::Idle;
                "ROLLBACK"
            }
            Command::Set => "SET",
        })
    }
}

fn columns(command: Option<&Command>) -> Option<&'static [table::Heading]> {
    match command {
        Some(Command::Show(subject)) => Some(show::headings(*subject)),
        _ => None,
    }
}

fn text_of(text: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(text).map_err(|_| Fault::error("22021", "the command is not UTF-8"))
}

fn enough(count: usize, what: &str) -> Result<(), Fault> {
    if count < MOST {
        return Ok(());
    }
    let message = format!("more than {MOST} {what}");
    Err(Fault::error("53400", message).hint("Close those that are not needed any more."))
}

fn no_portal(name: &[u8]) -> Fault {
    let name = String::from_utf8_lossy(name);
    Fault::error("34000", format_args!("portal \"{name}\" does not exist"))
}

fn reconnect(wing: &Wing, name: Option<&str>) -> Result<(), Fault> {
    let is_known = name.is_none_or(|name| wing.settings().database(name).is_some());
    if !is_known {
        let name = name.unwrap_or_default();
        return Err(Fault::error(
            "3D000",
            format_args!("database \"{name}\" is not in the settings"),
        )
        .hint("SHOW DATABASES lists them."));
    }
    for (_, pool) in wing.pools.list() {
        if name.is_none_or(|name| name == pool.connector().database()) {
            pool.recycle();
            pool.connector().forget_greetings();
        }
    }
    Ok(())
}
