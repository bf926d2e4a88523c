//! Reads an upstream's URL: `postgres://user:password@host:port/database?sslmode=…`.
//!
//! The form is libpq's: <https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-CONNSTRING-URIS>.
//! No message repeats a part of the URL: a password with a stray `/` or `@` may end up anywhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Secret;
use crate::nearest::{list, nearest};
use crate::upstream::{ChannelBinding, Host, SslMode, SslNegotiation, text};

/// What a URL says, with nothing filled in but libpq's defaults.
#[derive(Debug)]
pub(crate) struct Url {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) database: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) sslmode: SslMode,
    pub(crate) sslrootcert: Option<PathBuf>,
    pub(crate) sslcert: Option<PathBuf>,
    pub(crate) sslkey: Option<PathBuf>,
    pub(crate) sslnegotiation: SslNegotiation,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) application_name: Option<String>,
    pub(crate) options: Option<String>,
    /// Whole seconds; overridden by `pool.connect_timeout`.
    pub(crate) connect_timeout: Option<u64>,
}

/// What is wrong with a URL, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) hint: String,
}

const FORM: &str = "write postgres://user:password@host:5432/database?sslmode=verify-full";
pub(crate) const ESCAPES: &str = "in user and password write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as %25; \
     or take the password out of the URL, into `password_env` or `password_file`";

/// Parameters after the `?`.
const PARAMETERS: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "gssencmode",
    "host",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "user",
];

pub(crate) type Outcome<T> = Result<T, Fault>;

pub(crate) fn fault<T>(message: impl Into<String>, hint: impl Into<String>) -> Outcome<T> {
    Err(Fault {
        message: message.into(),
        hint: hint.into(),
    })
}

/// Reads a URL. `${VAR}` stands for an environment variable: the whole URL, or a piece of one
/// part, which then needs no percent signs. Relative paths start at `folder`.
pub(crate) fn parse(
    url: &str,
    environment: &BTreeMap<String, String>,
    folder: &Path,
) -> Outcome<Url> {
    let names = Names { environment };
    let url = names.whole(url.trim())?;
    let rest = after_scheme(&url)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path.contains('@') || query.contains('@') {
        return fault("has an `@` after a `/` or `?`", ESCAPES);
    }
    if path.contains('/') {
        return fault("has a second `/` after the host", ESCAPES);
    }
    let (login, place) = match authority.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, authority),
    };
    let (host, port) = split_port(place)?;
    let mut parts = names.parameters(query)?;
    // What stands before the `?` goes first, as the more visible place.
    for (name, text) in [("host", host), ("port", port), ("dbname", path)] {
        if !text.is_empty() {
            parts.insert(name, names.part(text)?);
        }
    }
    if let Some(login) = login {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        for (name, text) in [("user", user), ("password", password)] {
            if !text.is_empty() {
                parts.insert(name, names.part(text)?);
            }
        }
    }
    assemble(parts, folder)
}

fn after_scheme(url: &str) -> Outcome<&str> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return fault("is not a URL", FORM);
    };
    match scheme {
        "postgres" | "postgresql" => Ok(rest),
        "mongodb" | "mongodb+srv" => fault(
            "is MongoDB's, which only `mongo.upstream` takes",
            "name a Postgres by a postgres:// URL",
        ),
        _ => fault(
            "has an unknown scheme",
            "allowed: postgres://, postgresql://",
        ),
    }
}

/// Splits `host:port`; the host may be an IPv6 address in brackets.
fn split_port(place: &str) -> Outcome<(&str, &str)> {
    if place.contains(',') {
        return fault(
            "names several hosts, which is not built yet",
            "name one host, or a name or balancer that leads to the primary",
        );
    }
    if let Some(rest) = place.strip_prefix('[') {
        let Some((host, after)) = rest.split_once(']') else {
            return fault("has a `[` without its `]`", "write [::1]:5432");
        };
        return match (after.is_empty(), after.strip_prefix(':')) {
            (true, _) => Ok((host, "")),
            (false, Some(port)) => Ok((host, port)),
            (false, None) => fault("has no `:` between host and port", "write [::1]:5432"),
        };
    }
    match place.split_once(':') {
        Some((_, port)) if port.contains(':') => fault(
            "has more than one `:` after the host",
            format!("write an IPv6 address in brackets, [::1]:5432; {ESCAPES}"),
        ),
        split => Ok(split.unwrap_or((place, ""))),
    }
}

type Parts = BTreeMap<&'static str, String>;

fn assemble(mut parts: Parts, folder: &Path) -> Outcome<Url> {
    let host = host(parts.remove("host").unwrap_or_default())?;
    let port = match parts.remove("port").map(|port| port.parse()) {
        None => 5432,
        Some(Ok(port)) if port > 0 => port,
        Some(_) => return fault("has no valid port", format!("write 1 to 65535; {ESCAPES}")),
    };
    let database = parts.remove("dbname");
    let system = parts
        .get("sslrootcert")
        .is_some_and(|path| path == "system");
    let sslmode = word(&mut parts, "sslmode", text::SSL_MODES)?;
    let mut file = |name: &str| parts.remove(name).map(|path| folder.join(path));
    let (sslcert, sslkey) = (file("sslcert"), file("sslkey"));
    let sslrootcert = file("sslrootcert").filter(|_| !system);
    if sslcert.is_some() != sslkey.is_some() {
        return fault(
            "has only one of `sslcert` and `sslkey`",
            "a client certificate needs both files",
        );
    }
    // These values ask for nothing; the others ask for what isn't built.
    word(&mut parts, "gssencmode", &[("disable", ()), ("prefer", ())])?;
    word(&mut parts, "target_session_attrs", &[("any", ())])?;
    let connect_timeout = match parts.remove("connect_timeout").map(|text| text.parse()) {
        None => None,
        Some(Ok(seconds)) if (1..=86_400).contains(&seconds) => Some(seconds),
        Some(_) => {
            return fault(
                "has no valid `connect_timeout`",
                "write whole seconds from 1",
            );
        }
    };
    let url = Url {
        // libpq: who trusts the system's authorities wants the host checked.
        sslmode: match (&host, sslmode) {
            (Host::Unix(_), _) => SslMode::Disable,
            (Host::Tcp(_), None) if system => SslMode::VerifyFull,
            (Host::Tcp(_), mode) => mode.unwrap_or_default(),
        },
        host,
        port,
        database,
        user: parts.remove("user"),
        password: parts.remove("password").map(Secret::new),
        sslrootcert,
        sslcert,
        sslkey,
        sslnegotiation: word(&mut parts, "sslnegotiation", text::SSL_NEGOTIATIONS)?
            .unwrap_or_default(),
        channel_binding: word(&mut parts, "channel_binding", text::CHANNEL_BINDINGS)?
            .unwrap_or_default(),
        application_name: parts.remove("application_name"),
        options: parts.remove("options"),
        connect_timeout,
    };
    judge(url)
}

/// Refuses combinations that can't work.
fn judge(url: Url) -> Outcome<Url> {
    let encrypted = matches!(
        url.sslmode,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull
    );
    if url.password.is_some() && url.user.is_none() {
        return fault("has a password but no user", FORM);
    }
    if url.sslnegotiation == SslNegotiation::Direct && !encrypted {
        return fault(
            "has `sslnegotiation=direct`, but TLS is not demanded",
            "add sslmode=require, verify-ca or verify-full",
        );
    }
    if url.channel_binding == ChannelBinding::Require && url.sslmode == SslMode::Disable {
        return fault(
            "has `channel_binding=require`, but no TLS",
            "add sslmode=require, verify-ca or verify-full",
        );
    }
    Ok(url)
}

fn host(text: String) -> Outcome<Host> {
    if text.is_empty() {
        return fault(
            "names no host",
            "write postgres://host/database, or postgres:///database?host=/run/postgresql for a Unix socket",
        );
    }
    if text.starts_with('/') {
        return Ok(Host::Unix(PathBuf::from(text)));
    }
    let allowed = |c: char| c.is_alphanumeric() || "-._:%".contains(c);
    if text.chars().all(allowed) {
        Ok(Host::Tcp(text))
    } else {
        fault(
            "has a host with signs that no host name has",
            format!("write a name or an IP address; {ESCAPES}"),
        )
    }
}

/// Takes a parameter that is one of a few words.
fn word<T: Copy>(parts: &mut Parts, name: &'static str, words: &[(&str, T)]) -> Outcome<Option<T>> {
    let Some(text) = parts.remove(name) else {
        return Ok(None);
    };
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(Some(*value));
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let near =
        nearest(&text, &names).map_or(String::new(), |near| format!("did you mean `{near}`? "));
    fault(
        format!("has an unknown value of `{name}`"),
        format!("{near}allowed: {}", list(&names)),
    )
}

/// Environment variables in a URL.
pub(crate) struct Names<'a> {
    pub(crate) environment: &'a BTreeMap<String, String>,
}

impl Names<'_> {
    /// A URL that is one variable from end to end is that variable's value.
    pub(crate) fn whole(&self, url: &str) -> Outcome<String> {
        let name = url
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'));
        match name {
            Some(name) if !name.contains(['$', '{', '}']) => self.variable(name),
            _ => Ok(url.to_owned()),
        }
    }

    fn variable(&self, name: &str) -> Outcome<String> {
        match self.environment.get(name) {
            Some(value) if !value.is_empty() => Ok(value.trim_end_matches(['\r', '\n']).to_owned()),
            _ => fault(
                format!("environment variable `{name}` is not set"),
                "set it before the server starts; a `$` followed by `{` is written %24{",
            ),
        }
    }

    /// Decodes a part: percent signs in what is written, none in what a variable holds.
    pub(crate) fn part(&self, text: &str) -> Outcome<String> {
        let mut whole = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                return fault("has a `${` without its `}`", "write ${NAME}");
            };
            whole.push_str(&decode(before)?);
            whole.push_str(&self.variable(name)?);
            rest = after;
        }
        whole.push_str(&decode(rest)?);
        Ok(whole)
    }

    fn parameters(&self, query: &str) -> Outcome<Parts> {
        let mut parts = Parts::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return fault(
                    "has a parameter without `=`",
                    format!("write name=value; {ESCAPES}"),
                );
            };
            let name = decode(name)?;
            let Some(known) = PARAMETERS.iter().find(|known| **known == name) else {
                let near = nearest(&name, PARAMETERS)
                    .map_or(String::new(), |near| format!("did you mean `{near}`? "));
                let shown = if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    format!("has an unknown parameter `{name}`")
                } else {
                    "has an unknown parameter".to_owned()
                };
                return fault(shown, format!("{near}allowed: {}", list(PARAMETERS)));
            };
            if parts.insert(known, self.part(value)?).is_some() {
                return fault(format!("has `{known}` twice"), "keep one");
            }
        }
        Ok(parts)
    }
}

fn decode(text: &str) -> Outcome<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| (digit as char).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => return fault("has a `%` without two hexadecimal digits", ESCAPES),
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => fault("has percent signs that give no text", ESCAPES),
    }
}
