//! Ends a server whose owner was killed and could not end it.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use std::os::unix::process::CommandExt;

use crate::error::Error;

/// Waits for the end of its input, which comes when the owner's process is gone by whatever way.
/// The server's pid may belong to someone else by then: only the one in `postmaster.pid` counts.
const SCRIPT: &str = r#"
read -r _
pidfile=$2/postmaster.pid
if [ "$(head -n 1 "$pidfile" 2>/dev/null)" = "$1" ]; then
    kill -s "$3" "$1"
    n=0
    while [ -e "$pidfile" ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
fi
rm -rf "$4"
"#;

/// Guards one run of a server. Dropping it calls the guard off.
#[derive(Debug)]
pub(crate) struct Watchdog(Child);

impl Watchdog {
    /// Sends `signal` to the server and removes `temporary` should we disappear.
    pub(crate) fn start(
        pid: u32,
        data: &Path,
        signal: &str,
        temporary: &Path,
    ) -> Result<Self, Error> {
        Command::new("/bin/sh")
            .args(["-c", SCRIPT, "twinport-watchdog"])
            .arg(pid.to_string())
            .arg(data)
            .arg(signal)
            .arg(temporary)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
            .map_err(Error::io("cannot run /bin/sh"))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Killed before its input closes, and reaped: it must not act. Both fail only when it is
        // gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
