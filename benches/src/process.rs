//! Processes: limits of our own, and what a proxy's process costs.

use std::{fs, time::Duration};

use anyhow::Context;
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::{SysconfVar, sysconf},
};

/// What 10,000 clients need on either side, with room to spare.
const WANTED_FILES: u64 = 24_000;

/// Raises our limit of open files, which children inherit, as far as may be.
pub(crate) fn raise_file_limit() -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= WANTED_FILES {
        return Ok(());
    }
    // Only root may go above the hard limit.
    if setrlimit(
        Resource::RLIMIT_NOFILE,
        WANTED_FILES,
        hard.max(WANTED_FILES),
    )
    .is_err()
    {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise `ulimit -n`")?;
    }
    Ok(())
}

/// How many files we may have open.
pub(crate) fn file_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

/// User and system time that all threads of the process have used.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = ticks(&text)?;
    let per_second = sysconf(SysconfVar::CLK_TCK).ok()??;
    let per_second = u64::try_from(per_second).ok().filter(|&n| n > 0)?;
    Some(Duration::from_nanos(ticks * 1_000_000_000 / per_second))
}

/// `utime` + `stime`, fields 14 and 15 of `/proc/PID/stat` (proc(5)).
fn ticks(stat: &str) -> Option<u64> {
    // The command's name may itself hold blanks and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Bytes of memory that the process has resident.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kilobytes(&text, "VmRSS:").map(|kilobytes| kilobytes * 1024)
}

fn kilobytes(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{cpu_time, kilobytes, resident, ticks};

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 2 0 12 0 0";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (a) S"), None);
    }

    #[test]
    fn resident_memory_is_read_in_kilobytes() {
        let status = "Name:\tx\nVmPeak:\t  99 kB\nVmRSS:\t   12 kB\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(12));
    }

    #[test]
    fn our_own_process_has_memory_and_time() {
        let pid = std::process::id();
        assert!(resident(pid).unwrap() > 100_000);
        assert!(cpu_time(pid).is_some());
        assert_eq!(resident(u32::MAX), None);
    }
}
