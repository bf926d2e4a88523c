//! Reads `mongodb://user:password@host:port,host:port/database?replicaSet=…`.
//!
//! The form is that of <https://github.com/mongodb/specifications/blob/master/source/connection-string/connection-string-spec.md>
//! and <https://github.com/mongodb/specifications/blob/master/source/uri-options/uri-options.md>.
//! No message repeats a part of the URL but option names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{
    Deployment, DeploymentLogin, HostPort, MECHANISMS, Mechanism, READ_MODES, ReadMode,
    ReadPreference, Shape,
};
use crate::nearest::{list, nearest};
use crate::upstream::url::{ESCAPES, Fault, Names, Outcome, fault};
use crate::{PoolSettings, Secret, SslMode};

/// MongoDB's port.
pub(super) const PORT: u16 = 27017;

const FORM: &str = "write mongodb://user:password@host:27017/?replicaSet=name&tls=true";

const SELECTION_TIMEOUT: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(10);
const LOCAL_THRESHOLD: Duration = Duration::from_millis(15);
/// The shortest distance between two questions to one server, by the drivers' specification.
const LEAST_HEARTBEAT: u64 = 500;

/// Options after the `?`.
const OPTIONS: &[&str] = &[
    "appName",
    "authMechanism",
    "authSource",
    "compressors",
    "connectTimeoutMS",
    "directConnection",
    "heartbeatFrequencyMS",
    "loadBalanced",
    "localThresholdMS",
    "maxIdleTimeMS",
    "maxPoolSize",
    "maxStalenessSeconds",
    "minPoolSize",
    "readPreference",
    "readPreferenceTags",
    "replicaSet",
    "serverSelectionTimeoutMS",
    "ssl",
    "tls",
    "tlsAllowInvalidCertificates",
    "tlsAllowInvalidHostnames",
    "tlsCAFile",
    "tlsCertificateKeyFile",
    "tlsInsecure",
    "waitQueueTimeoutMS",
];

/// Options that say how a client asks: each client sets its own.
const CLIENTS_OWN: &[&str] = &[
    "journal",
    "maxConnecting",
    "readConcernLevel",
    "retryReads",
    "retryWrites",
    "socketTimeoutMS",
    "timeoutMS",
    "uuidRepresentation",
    "w",
    "wtimeoutMS",
    "zlibCompressionLevel",
];

/// Compressors by MongoDB's names.
const COMPRESSORS: &[&str] = &["snappy", "zstd", "zlib"];

/// Is the URL one of MongoDB's? `${VAR}` alone is looked up.
pub(crate) fn is_mongo(url: &str, environment: &BTreeMap<String, String>) -> bool {
    let whole = Names { environment }.whole(url.trim());
    whole.is_ok_and(|url| url.starts_with("mongodb:") || url.starts_with("mongodb+srv:"))
}

/// Reads a URL; relative paths start at `folder`. `pool` is what it may change.
pub(crate) fn parse(
    url: &str,
    environment: &BTreeMap<String, String>,
    folder: &Path,
    pool: &PoolSettings,
) -> Outcome<Deployment> {
    let names = Names { environment };
    let url = names.whole(url.trim())?;
    let Some(rest) = url.strip_prefix("mongodb://") else {
        return fault(
            "has a scheme that isn't built: `mongodb+srv`",
            "name the servers themselves: mongodb://host1:27017,host2:27017/?replicaSet=name&tls=true",
        );
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path.contains('@') || query.contains('@') {
        return fault("has an `@` after a `/` or `?`", ESCAPES);
    }
    if path.contains('/') {
        return fault("has a second `/` after the host", ESCAPES);
    }
    let (login, places) = match authority.rsplit_once('@') {
        Some((login, places)) => (Some(login), places),
        None => (None, authority),
    };
    let seeds = places
        .split(',')
        .map(seed)
        .collect::<Outcome<Vec<HostPort>>>()?;
    let mut options = Options::read(&names, query)?;
    let login = read_login(&names, login, &names.part(path)?, &mut options)?;
    let deployment = assemble(seeds, login, options, folder, pool.clone())?;
    judge(deployment)
}

fn seed(place: &str) -> Outcome<HostPort> {
    if place.contains("%2F") || place.contains("%2f") {
        return fault(
            "names a Unix socket, which is not built for MongoDB",
            "name a host and a port",
        );
    }
    let allowed = |c: char| c.is_alphanumeric() || "-._:[]".contains(c);
    let several = !place.starts_with('[') && place.matches(':').count() > 1;
    if several || !place.chars().all(allowed) {
        return fault(
            "has a host with signs that no host name has",
            format!("write a name or an IP address, an IPv6 address in brackets; {ESCAPES}"),
        );
    }
    match HostPort::parse(place) {
        Some(place) => Ok(place),
        None => fault("names no host, or no valid port", FORM),
    }
}

/// What stands after the `?`. Names are taken in any case, as drivers do.
struct Options {
    single: BTreeMap<&'static str, String>,
    tags: Vec<String>,
}

impl Options {
    fn read(names: &Names<'_>, query: &str) -> Outcome<Self> {
        let mut options = Self {
            single: BTreeMap::new(),
            tags: Vec::new(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return fault(
                    "has an option without `=`",
                    format!("write name=value; {ESCAPES}"),
                );
            };
            let known = known(name)?;
            let value = names.part(value)?;
            if known == "readPreferenceTags" {
                options.tags.push(value);
            } else if options.single.insert(known, value).is_some() {
                return fault(format!("has `{known}` twice"), "keep one");
            }
        }
        Ok(options)
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.single.remove(name)
    }

    fn flag(&mut self, name: &'static str) -> Outcome<Option<bool>> {
        match self.take(name).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => fault(
                format!("has an unknown value of `{name}`"),
                "write true or false",
            ),
        }
    }

    fn number(&mut self, name: &'static str, least: u64) -> Outcome<Option<u64>> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) if (least..=1_000_000_000).contains(&number) => Ok(Some(number)),
            _ => fault(
                format!("has no valid `{name}`"),
                format!("write a whole number from {least}"),
            ),
        }
    }

    fn millis(&mut self, name: &'static str, least: u64) -> Outcome<Option<Duration>> {
        Ok(self.number(name, least)?.map(Duration::from_millis))
    }

    fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Outcome<Option<T>> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(Some(*value));
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        fault(
            format!("has an unknown value of `{name}`"),
            meant(&text, &names),
        )
    }
}

fn known(name: &str) -> Outcome<&'static str> {
    let same = |known: &&&str| known.eq_ignore_ascii_case(name);
    if let Some(known) = OPTIONS.iter().find(same) {
        return Ok(known);
    }
    if let Some(known) = CLIENTS_OWN.iter().find(same) {
        return fault(
            format!("has the option `{known}`, which every client sets for itself"),
            "remove it here, and write it into the clients' own URLs",
        );
    }
    let shown = if name.chars().all(|c| c.is_ascii_alphanumeric()) {
        format!("has an unknown option `{name}`")
    } else {
        "has an unknown option".to_owned()
    };
    fault(shown, meant(name, OPTIONS))
}

fn meant(word: &str, allowed: &[&str]) -> String {
    let near = nearest(word, allowed).map_or(String::new(), |n| format!("did you mean `{n}`? "));
    format!("{near}allowed: {}", list(allowed))
}

fn read_login(
    names: &Names<'_>,
    login: Option<&str>,
    database: &str,
    options: &mut Options,
) -> Outcome<Option<DeploymentLogin>> {
    let mechanism = options.word("authMechanism", MECHANISMS)?;
    let source = options.take("authSource");
    let (user, password) = match login {
        Some(login) => {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            (names.part(user)?, names.part(password)?)
        }
        None => Default::default(),
    };
    let by_certificate = mechanism == Some(Mechanism::X509);
    if user.is_empty() && !by_certificate {
        return match (mechanism, password.is_empty()) {
            (None, true) => Ok(None),
            (Some(_), _) => fault("has an `authMechanism`, but no user", FORM),
            (None, false) => fault("has a password but no user", FORM),
        };
    }
    if by_certificate && !password.is_empty() {
        return fault(
            "has a password, but `MONGODB-X509` needs none",
            "remove the password",
        );
    }
    let default = match (by_certificate, database) {
        (true, _) => "$external",
        (false, "") => "admin",
        (false, database) => database,
    };
    Ok(Some(DeploymentLogin {
        mechanism,
        user,
        password: Some(password)
            .filter(|password| !password.is_empty())
            .map(Secret::new),
        source: source.unwrap_or_else(|| default.to_owned()),
    }))
}

fn assemble(
    seeds: Vec<HostPort>,
    login: Option<DeploymentLogin>,
    mut options: Options,
    folder: &Path,
    mut pool: PoolSettings,
) -> Outcome<Deployment> {
    let mut file = |name: &str| options.take(name).map(|path| folder.join(path));
    let (ca, certificate) = (file("tlsCAFile"), file("tlsCertificateKeyFile"));
    let tls = tls(&mut options, ca.as_ref(), certificate.as_ref())?;
    let shape = shape(&mut options, &seeds)?;
    let compressors = compressors(options.take("compressors").as_deref())?;
    let read_preference = read_preference(&mut options)?;
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    if let Some(size) = options.number("maxPoolSize", 1)? {
        pool.size = count(size);
        pool.min_idle = pool.min_idle.min(pool.size);
    }
    if let Some(least) = options.number("minPoolSize", 0)? {
        pool.min_idle = count(least);
    }
    if pool.min_idle > pool.size {
        return fault(
            "has a `minPoolSize` above the size of the pool",
            "lower it, or raise `maxPoolSize`",
        );
    }
    if let Some(time) = options.millis("connectTimeoutMS", 1)? {
        pool.connect_timeout = time;
    }
    if let Some(time) = options.millis("waitQueueTimeoutMS", 1)? {
        pool.wait_timeout = time;
    }
    if let Some(time) = options.millis("maxIdleTimeMS", 1)? {
        pool.idle_timeout = Some(time);
    }
    let selection = options.millis("serverSelectionTimeoutMS", 1)?;
    let heartbeat = options.millis("heartbeatFrequencyMS", LEAST_HEARTBEAT)?;
    let threshold = options.millis("localThresholdMS", 0)?;
    Ok(Deployment {
        seeds,
        login,
        shape,
        tls_ca: ca.filter(|_| tls != SslMode::Require),
        tls,
        tls_certificate: certificate,
        read_preference,
        compressors,
        app_name: options.take("appName"),
        selection_timeout: selection.unwrap_or(SELECTION_TIMEOUT),
        heartbeat: heartbeat.unwrap_or(HEARTBEAT),
        local_threshold: threshold.unwrap_or(LOCAL_THRESHOLD),
        pool,
        await_connections: 0,
    })
}

fn tls(
    options: &mut Options,
    ca: Option<&PathBuf>,
    certificate: Option<&PathBuf>,
) -> Outcome<SslMode> {
    let (tls, ssl) = (options.flag("tls")?, options.flag("ssl")?);
    if tls.is_some() && ssl.is_some() && tls != ssl {
        return fault("has `tls` and `ssl`, which contradict", "keep `tls`");
    }
    let insecure = options.flag("tlsInsecure")?;
    let any_certificate = options.flag("tlsAllowInvalidCertificates")?;
    let any_host = options.flag("tlsAllowInvalidHostnames")?;
    if insecure.is_some() && (any_certificate.is_some() || any_host.is_some()) {
        return fault(
            "has `tlsInsecure` beside an option that it stands for",
            "keep one of them",
        );
    }
    let details = ca.is_some() || certificate.is_some();
    if details && tls.or(ssl) == Some(false) {
        return fault("has files for TLS, but no TLS", "set tls=true");
    }
    if !tls.or(ssl).unwrap_or(details) {
        return Ok(SslMode::Disable);
    }
    Ok(match (insecure.or(any_certificate), any_host) {
        (Some(true), _) => SslMode::Require,
        (_, Some(true)) => SslMode::VerifyCa,
        _ => SslMode::VerifyFull,
    })
}

fn shape(options: &mut Options, seeds: &[HostPort]) -> Outcome<Shape> {
    let set = options.take("replicaSet").filter(|name| !name.is_empty());
    let direct = options.flag("directConnection")? == Some(true);
    let balanced = options.flag("loadBalanced")? == Some(true);
    if balanced && (set.is_some() || direct) {
        return fault(
            "has `loadBalanced` beside `replicaSet` or `directConnection`",
            "keep one of them: behind a balancer nobody knows the servers",
        );
    }
    if (direct || balanced) && seeds.len() > 1 {
        let which = if direct {
            "directConnection"
        } else {
            "loadBalanced"
        };
        return fault(format!("has `{which}` and several hosts"), "name one host");
    }
    Ok(match set {
        _ if direct => Shape::Direct,
        _ if balanced => Shape::LoadBalanced,
        Some(name) => Shape::ReplicaSet(name),
        None => Shape::Found,
    })
}

fn compressors(text: Option<&str>) -> Outcome<Vec<&'static str>> {
    let words = text.unwrap_or_default().split(',').map(str::trim);
    let mut found = Vec::new();
    for word in words.filter(|word| !word.is_empty()) {
        let Some(known) = COMPRESSORS.iter().find(|known| **known == word) else {
            return fault(
                "has an unknown value of `compressors`",
                meant(word, COMPRESSORS),
            );
        };
        if !found.contains(known) {
            found.push(*known);
        }
    }
    Ok(found)
}

fn read_preference(options: &mut Options) -> Outcome<ReadPreference> {
    let mode = options
        .word("readPreference", READ_MODES)?
        .unwrap_or_default();
    let mut tags = Vec::new();
    for text in std::mem::take(&mut options.tags) {
        let mut set = BTreeMap::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once(':') else {
                return fault(
                    "has `readPreferenceTags` without `:`",
                    "write readPreferenceTags=dc:ny,rack:1",
                );
            };
            set.insert(key.to_owned(), value.to_owned());
        }
        tags.push(set);
    }
    let max_staleness = options
        .number("maxStalenessSeconds", 90)?
        .map(Duration::from_secs);
    if mode == ReadMode::Primary && (!tags.is_empty() || max_staleness.is_some()) {
        return fault(
            "has tags or a staleness, but reads go to the primary",
            "set another readPreference, or remove them",
        );
    }
    Ok(ReadPreference {
        mode,
        tags,
        max_staleness,
    })
}

/// Refuses combinations that can't work.
fn judge(deployment: Deployment) -> Outcome<Deployment> {
    let by_certificate = deployment
        .login
        .as_ref()
        .is_some_and(|login| login.mechanism == Some(Mechanism::X509));
    if by_certificate && deployment.tls_certificate.is_none() {
        return Err(Fault {
            message: "has `authMechanism=MONGODB-X509`, but no certificate".to_owned(),
            hint: "add tlsCertificateKeyFile=… with certificate and key".to_owned(),
        });
    }
    Ok(deployment)
}

/// The times that differ from what they are when left out, as options. Those of the pool are
/// shown by `[pool]`.
pub(super) fn times(deployment: &Deployment) -> Vec<(&'static str, String)> {
    let times = [
        (
            "serverSelectionTimeoutMS",
            deployment.selection_timeout,
            SELECTION_TIMEOUT,
        ),
        ("heartbeatFrequencyMS", deployment.heartbeat, HEARTBEAT),
        (
            "localThresholdMS",
            deployment.local_threshold,
            LOCAL_THRESHOLD,
        ),
    ];
    times
        .into_iter()
        .filter(|(_, time, default)| time != default)
        .map(|(name, time, _)| (name, time.as_millis().to_string()))
        .collect()
}
