//! Runs a driver's program and judges what it prints.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::Target;

/// A suite that hangs is a failure, not a hung build.
const LIMIT: Duration = Duration::from_secs(240);

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
        self.run_in(&target.environment(), target.annotated).await
    }

    /// As [`Suite::run`], with the environment variables that name the target.
    ///
    /// # Errors
    /// As [`Suite::run`].
    pub async fn run_in(
        &self,
        environment: &[(&'static str, String)],
        annotated: bool,
    ) -> Result<()> {
        let output = self.output(environment).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let details = String::from_utf8_lossy(&output.stderr);
        let failed: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("not ok "))
            .collect();
        ensure!(
            failed.is_empty(),
            "{}: {}\n{details}",
            self.name,
            failed.join("\n")
        );
        let reported = names(&text);
        let mut expected: BTreeSet<_> = self.checks.iter().copied().collect();
        if annotated {
            expected.extend(self.annotated);
        }
        let missing: Vec<_> = expected.difference(&reported).collect();
        let unknown: Vec<_> = reported.difference(&expected).collect();
        ensure!(
            missing.is_empty() && unknown.is_empty(),
            "{}: not reported: {missing:?}; reported but not listed: {unknown:?}\n{text}{details}",
            self.name
        );
        ensure!(
            output.status.success(),
            "{} ended with {}\n{details}",
            self.name,
            output.status
        );
        Ok(())
    }

    /// Runs the program against a server that can't do everything.
    ///
    /// # Errors
    /// When other checks fail than `lacking` names, or one of these does not: the list is to stay true.
    pub async fn run_lacking(
        &self,
        environment: &[(&'static str, String)],
        annotated: bool,
        lacking: &[Lacking],
    ) -> Result<()> {
        let unending: Vec<_> = lacking
            .iter()
            .filter_map(|lack| match lack {
                Lacking::Hangs(name, _) => Some(*name),
                Lacking::Fails(..) => None,
            })
            .collect();
        let mut environment = environment.to_vec();
        environment.push(("TWINPORT_TEST_WITHOUT", unending.join(",")));
        let output = self.output(&environment).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let failed: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("not ok ")?.split_once(": "))
            .collect();
        let expected: BTreeSet<&str> = lacking
            .iter()
            .filter_map(|lack| match lack {
                Lacking::Fails(name, _) => Some(*name),
                Lacking::Hangs(..) => None,
            })
            .collect();
        let unexpected: Vec<_> = failed
            .iter()
            .filter(|(name, _)| !expected.contains(*name))
            .collect();
        let passed = names(&text);
        let well: Vec<_> = expected
            .iter()
            .filter(|name| passed.contains(*name))
            .collect();
        let mut all: BTreeSet<_> = self.checks.iter().copied().collect();
        if annotated {
            all.extend(self.annotated);
        }
        let missing: Vec<_> = all
            .iter()
            .filter(|name| !passed.contains(*name) && !failed.contains_key(*name))
            .filter(|name| !unending.contains(*name))
            .collect();
        ensure!(
            unexpected.is_empty() && well.is_empty() && missing.is_empty(),
            "{}: failed: {unexpected:#?}; passed though they are listed: {well:?}; not reported: {missing:?}\n{}",
            self.name,
            String::from_utf8_lossy(&output.stderr)
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

fn names(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("ok "))
        .collect()
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
