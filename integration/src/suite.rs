//! Runs a driver's program and judges what it prints.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::Target;

/// A suite that hangs is a failure, not a hung build. Its checks have bounds of their own; what starts a program for
/// each of them may take long on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);

/// The environment variable that is 1 where annotations are understood.
pub(crate) const ANNOTATED: &str = "TWINPORT_TEST_ANNOTATED";

/// The environment variable with the checks to leave out.
const WITHOUT: &str = "TWINPORT_TEST_WITHOUT";

/// A program that checks one driver.
///
/// It MUST read its target from the environment ([`Target::environment`]), print `ok NAME` or
/// `not ok NAME: reason` for each check, and exit non-zero if any failed. It SHOULD leave out the checks that
/// `TWINPORT_TEST_WITHOUT` names, with commas between.
#[derive(Debug, Clone, Copy)]
pub struct Suite {
    /// The driver's name.
    pub name: &'static str,
    /// The program and its arguments, relative to `integration/drivers`. `{cache}` stands for the
    /// folder that `scripts/setup-drivers.sh` fills.
    pub command: &'static [&'static str],
    /// The folder to run in, relative to `integration/drivers`.
    pub folder: &'static str,
    /// The names that every run must report.
    pub checks: &'static [&'static str],
    /// The names that a run through the port must report as well.
    pub annotated: &'static [&'static str],
}

/// A check that a server can't pass, by its name, and what the server lacks.
#[derive(Debug, Clone, Copy)]
pub enum Lacking {
    /// It fails.
    Fails(&'static str, &'static str),
    /// It would not end, and is left out.
    Hangs(&'static str, &'static str),
}

impl Suite {
    /// Runs the program.
    ///
    /// # Errors
    /// When a check failed, is missing or unknown, or the program could not be run or did not end
    /// as it said.
    pub async fn run(&self, target: &Target) -> Result<()> {
        self.run_in(&target.environment()).await
    }

    /// As [`Suite::run`], with the environment variables that name the target.
    ///
    /// # Errors
    /// As [`Suite::run`].
    pub async fn run_in(&self, environment: &[(&'static str, String)]) -> Result<()> {
        self.run_lacking(environment, &[]).await
    }

    /// Runs the program against a server that can't do everything.
    ///
    /// # Errors
    /// As [`Suite::run`]; and when a check that `lacking` names does not fail: the list is to stay true.
    pub async fn run_lacking(
        &self,
        environment: &[(&'static str, String)],
        lacking: &[Lacking],
    ) -> Result<()> {
        let (mut fails, mut hangs) = (BTreeSet::new(), Vec::new());
        for lack in lacking {
            match lack {
                Lacking::Fails(name, _) => drop(fails.insert(*name)),
                Lacking::Hangs(name, _) => hangs.push(*name),
            }
        }
        let mut all: BTreeSet<_> = self.checks.iter().copied().collect();
        if environment.contains(&(ANNOTATED, "1".to_owned())) {
            all.extend(self.annotated);
        }
        let mut environment = environment.to_vec();
        environment.push((WITHOUT, hangs.join(",")));
        let output = self.output(&environment).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let details = String::from_utf8_lossy(&output.stderr);
        let lines = |prefix| {
            text.lines()
                .filter_map(move |line| line.strip_prefix(prefix))
        };
        let passed: BTreeSet<&str> = lines("ok ").collect();
        let failed: BTreeMap<&str, &str> = lines("not ok ")
            .map(|line| line.split_once(": ").unwrap_or((line, "")))
            .collect();
        let unexpected: Vec<_> = failed
            .iter()
            .filter(|(name, _)| !fails.contains(*name))
            .collect();
        let well: Vec<_> = fails.intersection(&passed).collect();
        let reported: BTreeSet<_> = passed.iter().chain(failed.keys()).copied().collect();
        let missing: Vec<_> = all
            .difference(&reported)
            .filter(|name| !hangs.contains(name))
            .collect();
        let unknown: Vec<_> = reported.difference(&all).collect();
        ensure!(
            [&well, &missing, &unknown]
                .iter()
                .all(|names| names.is_empty())
                && unexpected.is_empty(),
            "{}: failed: {unexpected:#?}; passed though they are listed: {well:?}; not reported: {missing:?}; \
             reported but not listed: {unknown:?}\n{text}{details}",
            self.name,
        );
        ensure!(
            output.status.success() || !fails.is_empty(),
            "{} ended with {}\n{details}",
            self.name,
            output.status
        );
        Ok(())
    }

    async fn output(&self, environment: &[(&'static str, String)]) -> Result<std::process::Output> {
        let drivers = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers");
        let cache = cache()?;
        let mut words = self
            .command
            .iter()
            .map(|word| word.replace("{cache}", &cache.to_string_lossy()));
        let program = words.next().context("a suite without a command")?;
        let mut command = Command::new(&program);
        command
            .args(words)
            .current_dir(drivers.join(self.folder))
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for name in ["PGPASSWORD", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE"] {
            command.env_remove(name);
        }
        match tokio::time::timeout(LIMIT, command.output()).await {
            Ok(output) => output.with_context(|| {
                format!("cannot run `{program}`: scripts/setup-drivers.sh installs what is missing")
            }),
            Err(_) => bail!("{} did not end within {LIMIT:?}", self.name),
        }
    }
}

/// The folder that `scripts/setup-drivers.sh` fills: `TWINPORT_CACHE`, or `twinport` among the
/// user's caches.
///
/// # Errors
/// When there is no home folder.
pub fn cache() -> Result<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from);
    folder("TWINPORT_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|caches| caches.join("twinport")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/twinport")))
        .context("no home folder: set TWINPORT_CACHE")
}
