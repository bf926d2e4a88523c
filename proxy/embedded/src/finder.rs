//! Finds the Postgres servers that this machine has.

use std::{
    collections::HashSet,
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cache,
    error::{Error, Kind},
};

/// The environment variable that names folders of binaries, separated by colons. What is found
/// there goes before all else.
const OVERRIDE: &str = "TWINPORT_POSTGRES_BIN";

/// The version of a Postgres server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// What users choose by: 15, 18.
    pub major: u32,
    /// The release within it; 0 for a beta.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A folder with `postgres` and `initdb` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The folder of the binaries.
    pub bin: PathBuf,
    /// What `postgres --version` says.
    pub version: Version,
}

impl Installation {
    /// The path of one of the programs, `psql` for instance, if this installation has it.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        Some(self.bin.join(name)).filter(|path| path.is_file())
    }

    /// Whether this installation has the files of an extension of Postgres.
    pub fn has_extension(&self, name: &str) -> bool {
        let control = format!("extension/{name}.control");
        let debian = format!("../../../../share/postgresql/{}", self.version.major);
        [
            debian.as_str(),
            "../share/postgresql",
            "../share/pgsql",
            "../share",
        ]
        .into_iter()
        .any(|share| self.bin.join(share).join(&control).is_file())
    }

    fn probe(bin: PathBuf) -> Option<Self> {
        let postgres = bin.join("postgres");
        if !postgres.is_file() || !bin.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(postgres).arg("--version").output().ok()?;
        let version = parse_version(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { bin, version })
    }
}

/// Knows the folders where Postgres may be.
#[derive(Debug, Clone)]
pub struct Finder {
    preferred: Vec<PathBuf>,
    usual: Vec<PathBuf>,
}

impl Finder {
    /// Looks where this machine is likely to have Postgres: the folders in `TWINPORT_POSTGRES_BIN`,
    /// the ones that our set-up scripts fill, `PATH`, `pg_config --bindir`, and the places of
    /// Debian, Red Hat and Homebrew.
    pub fn system() -> Self {
        let split = |name: &str| {
            env::var_os(name)
                .map(|value| env::split_paths(&value).collect())
                .unwrap_or_default()
        };
        let mut usual = Vec::new();
        for folder in cache::readable() {
            for root in versions(&folder, "postgres-") {
                usual.extend(debian(&root.join("usr/lib/postgresql")));
            }
        }
        usual.extend::<Vec<_>>(split("PATH"));
        usual.extend(ask_pg_config());
        usual.extend(debian(Path::new("/usr/lib/postgresql")));
        usual.extend(
            versions(Path::new("/usr"), "pgsql-")
                .into_iter()
                .map(|root| root.join("bin")),
        );
        for opt in ["/opt/homebrew/opt", "/usr/local/opt"] {
            let roots = versions(Path::new(opt), "postgresql@");
            usual.extend(roots.into_iter().map(|root| root.join("bin")));
        }
        Self {
            preferred: split(OVERRIDE),
            usual,
        }
    }

    /// Looks in these folders of binaries and nowhere else.
    pub fn in_folders(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            preferred: folders.into_iter().collect(),
            usual: Vec::new(),
        }
    }

    /// All that there is, in order of preference.
    pub fn all(&self) -> Vec<Installation> {
        let mut found = probe_all(&self.preferred);
        found.extend(probe_all(&self.usual));
        found
    }

    /// The newest server of this major version, or of any.
    ///
    /// # Errors
    /// `is_not_found`, with what to install.
    pub fn find(&self, major: Option<u32>) -> Result<Installation, Error> {
        [&self.preferred, &self.usual]
            .into_iter()
            .find_map(|folders| newest(probe_all(folders), major))
            .ok_or_else(|| Error::from(Kind::NotFound(self.advice(major))))
    }

    /// The newest server of this major version, or of any, that has an extension. Where the user
    /// named folders with such a server, others don't count.
    pub fn find_with(&self, extension: &str, major: Option<u32>) -> Option<Installation> {
        let matching = |folders: &[PathBuf]| {
            let mut found = probe_all(folders);
            found.retain(|each| major.is_none_or(|major| each.version.major == major));
            found
        };
        let mut found = matching(&self.preferred);
        if found.is_empty() {
            found = matching(&self.usual);
        }
        found.retain(|each| each.has_extension(extension));
        newest(found, None)
    }

    fn advice(&self, major: Option<u32>) -> String {
        let (wanted, package) = match major {
            Some(major) => (format!("Postgres {major}"), format!("postgresql-{major}")),
            None => ("Postgres".to_owned(), "postgresql".to_owned()),
        };
        let present: Vec<_> = self
            .all()
            .iter()
            .map(|found| format!("{} in {}", found.version, found.bin.display()))
            .collect();
        let present = if present.is_empty() {
            "none".to_owned()
        } else {
            present.join(", ")
        };
        format!(
            "no {wanted} server found on this machine (found: {present}). Install it: \
             `apt install {package}` (Debian, Ubuntu), `dnf install postgresql-server` (Fedora), \
             `brew install postgresql` (macOS), for Postgres 18 without root \
             `scripts/setup-postgres-18.sh`; or name the folder that holds `postgres` and `initdb` \
             in {OVERRIDE}"
        )
    }
}

impl Default for Finder {
    fn default() -> Self {
        Self::system()
    }
}

fn newest(found: Vec<Installation>, major: Option<u32>) -> Option<Installation> {
    // The first of equals wins, so that the order of the folders counts.
    found
        .into_iter()
        .filter(|each| major.is_none_or(|major| each.version.major == major))
        .rev()
        .max_by_key(|each| each.version)
}

fn probe_all(folders: &[PathBuf]) -> Vec<Installation> {
    let mut seen = HashSet::new();
    folders
        .iter()
        .filter(|folder| folder.is_absolute())
        .filter(|folder| fs::canonicalize(folder).is_ok_and(|real| seen.insert(real)))
        .filter_map(|folder| Installation::probe(folder.clone()))
        .collect()
}

/// `15/bin`, `16/bin` and so on below a folder laid out as Debian does.
fn debian(folder: &Path) -> Vec<PathBuf> {
    versions(folder, "")
        .into_iter()
        .map(|version| version.join("bin"))
        .collect()
}

/// The folders named `prefix` and a number.
fn versions(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str()?.strip_prefix(prefix)?.parse::<u32>().ok())
                .is_some()
        })
        .collect();
    found.sort();
    found
}

fn ask_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(folder.trim())).filter(|folder| folder.is_absolute())
}

/// Reads `postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)` and `… 18beta1`.
fn parse_version(text: &str) -> Option<Version> {
    let number = text
        .split_once("(PostgreSQL)")?
        .1
        .split_whitespace()
        .next()?;
    let end = number
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(number.len());
    let (major, rest) = number.split_at(end);
    let minor = rest
        .strip_prefix('.')
        .and_then(|minor| minor.parse().ok())
        .unwrap_or(0);
    Some(Version {
        major: major.parse().ok()?,
        minor,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn fake(root: &Path, name: &str, version: &str) -> PathBuf {
        let bin = root.join(name);
        fs::create_dir_all(&bin).unwrap();
        for program in ["postgres", "initdb"] {
            let path = bin.join(program);
            fs::write(
                &path,
                format!("#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n"),
            )
            .unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        bin
    }

    #[test]
    fn versions_are_read() {
        let read = |text| parse_version(text).map(|version| (version.major, version.minor));
        assert_eq!(
            read("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n"),
            Some((15, 13))
        );
        assert_eq!(read("postgres (PostgreSQL) 18beta1\n"), Some((18, 0)));
        assert_eq!(read("sh: not found"), None);
    }

    #[test]
    fn newest_or_wanted_major_is_chosen() {
        let root = tempfile::tempdir().unwrap();
        let old = fake(root.path(), "a", "15.2");
        let new = fake(root.path(), "b", "18.1");
        let twin = fake(root.path(), "c", "18.1");
        let finder = Finder::in_folders([old.clone(), new.clone(), twin, root.path().join("none")]);
        assert_eq!(finder.all().len(), 3);
        assert_eq!(finder.find(None).unwrap().bin, new);
        assert_eq!(finder.find(Some(15)).unwrap().bin, old);
    }

    #[test]
    fn extension_decides_among_servers_that_count() {
        let root = tempfile::tempdir().unwrap();
        let newer = fake(root.path(), "new/usr/lib/postgresql/19/bin", "19.0");
        let with = fake(root.path(), "usr/lib/postgresql/18/bin", "18.1");
        let share = root.path().join("usr/share/postgresql/18/extension");
        fs::create_dir_all(&share).unwrap();
        fs::write(share.join("documentdb.control"), "").unwrap();
        let mut finder = Finder::in_folders([newer.clone(), with.clone()]);
        let bin = |finder: &Finder, major| Some(finder.find_with("documentdb", major)?.bin);
        assert_eq!(bin(&finder, None), Some(with.clone()));
        assert_eq!(bin(&finder, Some(19)), None);
        assert_eq!(finder.find_with("other", None), None);
        finder = Finder {
            preferred: vec![newer],
            usual: vec![with],
        };
        assert_eq!(bin(&finder, None), None, "the named folder counts alone");
    }

    #[test]
    fn absence_says_what_to_install() {
        let root = tempfile::tempdir().unwrap();
        let bin = fake(root.path(), "a", "15.2");
        let error = Finder::in_folders([bin]).find(Some(17)).unwrap_err();
        assert!(error.is_not_found());
        let text = error.to_string();
        assert!(text.contains("apt install postgresql-17"), "{text}");
        assert!(text.contains("found: 15.2 in "), "{text}");
    }

    #[test]
    fn debian_places_are_listed() {
        let root = tempfile::tempdir().unwrap();
        for name in ["9", "15", "common"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        assert_eq!(
            debian(root.path()),
            [root.path().join("15/bin"), root.path().join("9/bin")]
        );
    }
}
