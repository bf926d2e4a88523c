//! A running server process: signals and its end.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::{
    account::Account,
    error::{Error, Kind},
    finder::Installation,
    layout::Layout,
    watchdog::Watchdog,
};

/// How long a server may take to start or to end; recovery after a crash is part of starting.
const PATIENCE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(10);

/// A running postmaster. Dropping it ends the server.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    farewell: Signal,
    _watchdog: Watchdog,
}

impl Process {
    /// Starts the server on the configuration in `config` and waits until it takes connections.
    pub(crate) async fn start(
        installation: &Installation,
        account: &Account,
        layout: &Layout,
        config: &Path,
    ) -> Result<Self, Error> {
        let log = layout.log();
        account.write(&log, "")?;
        let open = || {
            File::options()
                .append(true)
                .open(&log)
                .map_err(Error::io("cannot open the log"))
        };
        let mut command = account.command(installation.bin.join("postgres"));
        command
            .arg("-D")
            .arg(&layout.data)
            .arg("-c")
            .arg(format!("config_file={}", config.display()))
            .stdin(Stdio::null())
            .stdout(open()?)
            .stderr(open()?);
        let child = command
            .spawn()
            .map_err(Error::io("cannot run `postgres`"))?;
        // Data that is thrown away need not be written first.
        let farewell = if layout.temporary_data {
            Signal::SIGQUIT
        } else {
            Signal::SIGINT
        };
        let name = if layout.temporary_data { "QUIT" } else { "INT" };
        let watchdog = Watchdog::start(child.id(), &layout.data, name, layout.temporary())?;
        let mut process = Self {
            child,
            farewell,
            _watchdog: watchdog,
        };
        process.ready(&layout.data, &log).await?;
        Ok(process)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the server process is still there.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends the server: running statements are aborted, data is written.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::SIGINT);
        let start = Instant::now();
        while self.is_running() && start.elapsed() < PATIENCE {
            tokio::time::sleep(TICK).await;
        }
    }

    /// Kills the server and all its processes, which is what a crash of the machine looks like.
    pub(crate) fn kill(&mut self) {
        // Stopped, it can't start another process between our look and its end.
        self.signal(Signal::SIGSTOP);
        let backends = children(self.child.id());
        self.signal(Signal::SIGKILL);
        for &backend in &backends {
            send(backend, Signal::SIGKILL);
        }
        let _ = self.child.wait();
        let start = Instant::now();
        while backends.iter().any(|&pid| is_alive(pid)) && start.elapsed() < PATIENCE {
            thread::sleep(TICK);
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    /// Waits for the word `ready` in `postmaster.pid`, as `pg_ctl` does: it needs no login, and
    /// can't mistake another server on the same port for this one.
    async fn ready(&mut self, data: &Path, log: &Path) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            if let Some(true) = state(data, self.child.id()) {
                return Ok(());
            }
            if !self.is_running() {
                return Err(Kind::Start { log: tail(log) }.into());
            }
            if start.elapsed() > PATIENCE {
                return Err(Kind::Slow {
                    seconds: PATIENCE.as_secs(),
                    log: tail(log),
                }
                .into());
            }
            tokio::time::sleep(TICK).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        self.signal(self.farewell);
        let start = Instant::now();
        while self.is_running() {
            if start.elapsed() > PATIENCE {
                return self.kill();
            }
            thread::sleep(TICK);
        }
    }
}

/// Whether the server with this pid says that it is ready; `None` if the file is another's.
fn state(data: &Path, pid: u32) -> Option<bool> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    let own = lines.next()?.trim().parse::<u32>() == Ok(pid);
    // The line's number is fixed by miscadmin.h: LOCK_FILE_LINE_PM_STATUS.
    own.then(|| lines.nth(6).is_some_and(|line| line.trim() == "ready"))
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(12);
    lines.get(from..).unwrap_or_default().join("\n")
}

fn send(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        // Fails when the process is gone, which is as good.
        let _ = signal::kill(Pid::from_raw(pid), signal);
    }
}

/// The pids of a process's children, where the system has `/proc`.
fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid| stat(pid).is_some_and(|(_, of)| of == parent))
        .collect()
}

fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may itself hold blanks and parentheses.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
