//! What an admin may say.

use strsim::jaro_winkler;

use crate::fault::Fault;

/// What SHOW shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Clients,
    Config,
    Cursors,
    Databases,
    Help,
    Lists,
    Pools,
    Servers,
    Stats,
    StatsTotals,
    Transactions,
    Users,
    Version,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Show(Subject),
    /// Close every upstream connection when it is free, of one database or of all.
    Reconnect(Option<String>),
    Reload,
    Shutdown,
    /// Drivers begin transactions unasked. Nothing here takes part in one.
    Begin,
    Commit,
    Rollback,
    /// Drivers set what concerns their values unasked. Nothing here depends on it.
    Set,
}

/// Every command, as an admin may write it, and what it does.
pub(super) const COMMANDS: [(&str, &str); 16] = [
    (
        "SHOW CLIENTS",
        "who is connected, and why a client is pinned",
    ),
    ("SHOW CONFIG", "the settings in force"),
    ("SHOW CURSORS", "the open cursors of MongoDB clients"),
    ("SHOW DATABASES", "the databases that clients can ask for"),
    ("SHOW HELP", "this"),
    ("SHOW LISTS", "how many there are of everything"),
    (
        "SHOW POOLS",
        "clients and upstream connections by database and user",
    ),
    ("SHOW SERVERS", "the open upstream connections"),
    ("SHOW STATS", "what each database has done since the start"),
    (
        "SHOW STATS_TOTALS",
        "the same, with the column names of PgBouncer's STATS_TOTALS",
    ),
    (
        "SHOW TRANSACTIONS",
        "the open transactions of MongoDB clients",
    ),
    ("SHOW USERS", "users, their limits and connections"),
    ("SHOW VERSION", "the version of this server"),
    (
        "RECONNECT [database]",
        "close upstream connections as they become free",
    ),
    ("RELOAD", "read the settings again"),
    (
        "SHUTDOWN",
        "accept nobody any more, let what runs finish, end",
    ),
];

const SUBJECTS: [(&str, Subject); 13] = [
    ("CLIENTS", Subject::Clients),
    ("CONFIG", Subject::Config),
    ("CURSORS", Subject::Cursors),
    ("DATABASES", Subject::Databases),
    ("HELP", Subject::Help),
    ("LISTS", Subject::Lists),
    ("POOLS", Subject::Pools),
    ("SERVERS", Subject::Servers),
    ("STATS", Subject::Stats),
    ("STATS_TOTALS", Subject::StatsTotals),
    ("TRANSACTIONS", Subject::Transactions),
    ("USERS", Subject::Users),
    ("VERSION", Subject::Version),
];

/// What drivers set when they connect.
const DRIVERS_OWN: [&str; 7] = [
    "application_name",
    "bytea_output",
    "client_encoding",
    "datestyle",
    "extra_float_digits",
    "intervalstyle",
    "timezone",
];

#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// In double quotes, without them.
    Name(String),
    Other,
}

/// The commands of a text, up to and with the first that is none.
pub(super) fn parse(text: &str) -> Vec<Result<Command, Fault>> {
    let mut commands = Vec::new();
    let mut rest = text;
    loop {
        let (tokens, after) = statement(rest);
        if !tokens.is_empty() {
            commands.push(command(&tokens));
        }
        match after {
            Some(after) if !commands.last().is_some_and(Result::is_err) => rest = after,
            _ => return commands,
        }
    }
}

/// The tokens up to a semicolon, and what follows it.
fn statement(text: &str) -> (Vec<Token<'_>>, Option<&str>) {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end =
            |from: &str, mark: &str, len: usize| from.find(mark).map_or(from.len(), |at| at + len);
        let len = if first == ';' {
            return (tokens, rest.get(1..));
        } else if rest.starts_with("--") {
            end(rest, "\n", 1)
        } else if rest.starts_with("/*") {
            end(rest, "*/", 2)
        } else if first == '"' || first == '\'' {
            let mark = if first == '"' { "\"" } else { "'" };
            let inner = rest.get(1..).unwrap_or_default();
            let len = end(inner, mark, 0);
            let text = inner.get(..len).unwrap_or_default();
            tokens.push(if first == '"' {
                Token::Name(text.to_owned())
            } else {
                Token::Other
            });
            (len + 2).min(rest.len())
        } else if is_word(first) {
            let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest.get(..len).unwrap_or_default()));
            len
        } else {
            tokens.push(Token::Other);
            first.len_utf8()
        };
        rest = rest.get(len..).unwrap_or_default().trim_start();
    }
    (tokens, None)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$')
}

fn command(tokens: &[Token<'_>]) -> Result<Command, Fault> {
    let upper: Vec<_> = tokens
        .iter()
        .map(|token| match token {
            Token::Word(word) => word.to_uppercase(),
            Token::Name(_) | Token::Other => String::new(),
        })
        .collect();
    let words: Vec<&str> = upper.iter().map(String::as_str).collect();
    let found = match words.as_slice() {
        ["SHOW", subject] => SUBJECTS
            .iter()
            .find(|(name, _)| name == subject)
            .map(|(_, subject)| Command::Show(*subject)),
        ["SHOW"] | ["HELP"] => Some(Command::Show(Subject::Help)),
        ["RELOAD"] => Some(Command::Reload),
        ["SHUTDOWN"] => Some(Command::Shutdown),
        ["RECONNECT"] => Some(Command::Reconnect(None)),
        ["RECONNECT", _] => match tokens.last() {
            Some(Token::Word(name)) => Some(Command::Reconnect(Some((*name).to_owned()))),
            Some(Token::Name(name)) => Some(Command::Reconnect(Some(name.clone()))),
            _ => None,
        },
        ["BEGIN", ..] | ["START", "TRANSACTION", ..] => Some(Command::Begin),
        ["COMMIT" | "END", ..] => Some(Command::Commit),
        ["ROLLBACK" | "ABORT", ..] => Some(Command::Rollback),
        ["SET", "SESSION", name, ..] | ["SET", name, ..] => return set(name),
        _ => None,
    };
    found.ok_or_else(|| unknown(&words))
}

fn set(name: &str) -> Result<Command, Fault> {
    if DRIVERS_OWN.contains(&name.to_lowercase().as_str()) {
        return Ok(Command::Set);
    }
    Err(Fault::error("42601", "settings are not changed by SET")
        .hint("Change the settings file; RELOAD reads it again."))
}

fn unknown(words: &[&str]) -> Fault {
    let said = words.join(" ");
    let said: String = said.chars().take(60).collect();
    let nearest = COMMANDS
        .iter()
        .map(|(name, _)| (jaro_winkler(name, said.trim()), *name))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let known = COMMANDS.map(|(name, _)| name).join(", ");
    let fault = Fault::error("42601", "the admin console does not know this command");
    match nearest {
        Some((_, name)) => fault.hint(format_args!("Did you mean {name}? Known are {known}.")),
        None => fault.hint(format_args!("It runs no SQL. Known are {known}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Command, Fault> {
        let mut commands = parse(text);
        assert_eq!(commands.len(), 1, "{text}");
        commands.remove(0)
    }

    #[test]
    fn commands_in_any_case_and_with_comments() {
        assert_eq!(one("SHOW POOLS"), Ok(Command::Show(Subject::Pools)));
        assert_eq!(
            one("  show /* by hand */ pools -- now\n ;"),
            Ok(Command::Show(Subject::Pools))
        );
        assert_eq!(one("reload;"), Ok(Command::Reload));
        assert_eq!(one("RECONNECT"), Ok(Command::Reconnect(None)));
        assert_eq!(
            one("RECONNECT app-1"),
            Ok(Command::Reconnect(Some("app-1".into())))
        );
        assert_eq!(
            one("RECONNECT \"My App\""),
            Ok(Command::Reconnect(Some("My App".into())))
        );
        assert_eq!(one("SET extra_float_digits = 3"), Ok(Command::Set));
        assert_eq!(one("SET SESSION TimeZone TO 'UTC;'"), Ok(Command::Set));
    }

    #[test]
    fn every_command_that_is_offered_is_known() {
        for (name, _) in COMMANDS {
            assert!(one(&name.replace("[database]", "app")).is_ok(), "{name}");
        }
        assert_eq!(
            SUBJECTS.len(),
            COMMANDS
                .iter()
                .filter(|(name, _)| name.starts_with("SHOW"))
                .count()
        );
    }

    #[test]
    fn several_commands_end_at_the_first_wrong_one() {
        let commands = parse("SHOW STATS; ;SHOW LISTS; SELECT 1; SHOW POOLS");
        assert_eq!(commands.len(), 3);
        assert!(commands[2].is_err());
        assert_eq!(parse(" ; -- nothing").len(), 0);
    }

    #[test]
    fn a_wrong_command_is_answered_with_the_nearest() {
        let hint = |text: &str| {
            let fault = one(text).unwrap_err();
            assert_eq!(
                (fault.code.as_str(), fault.fatal),
                ("42601", false),
                "{text}"
            );
            fault.hint.unwrap()
        };
        assert!(hint("SHOW POOL").starts_with("Did you mean SHOW POOLS?"));
        assert!(hint("shutdwon").starts_with("Did you mean SHUTDOWN?"));
        assert!(hint("SELECT * FROM pg_class").starts_with("It runs no SQL."));
        assert!(hint("SET work_mem = 1").contains("RELOAD"));
        assert!(hint("SHOW POOLS 'x'").contains("SHOW POOLS"));
        hint("\"SHOW\" POOLS");
        hint("'unended");
        hint("€");
    }
}
