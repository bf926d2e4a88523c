//! The startup parameter `options`: a command line in one string.
//!
//! Split as `pg_split_opts` does and read as `process_postgres_switches` does,
//! for the two switches that set a parameter; the others are for developers of
//! the server and are refused with a clear text.

use crate::Error;

/// The settings in `text`, in the order given: from `-c name=value`,
/// `-cname=value` and `--name=value`. In names, `-` stands for `_`.
///
/// # Errors
/// [`Error::is_malformed`] if a switch lacks its name or value,
/// [`Error::is_unsupported`] for other switches.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, Error> {
    let mut settings = Vec::new();
    let mut words = split(text).into_iter();
    while let Some(word) = words.next() {
        let setting = if let Some(long) = word.strip_prefix("--") {
            assignment(long, &word)?
        } else if let Some(short) = word.strip_prefix("-c") {
            if short.is_empty() {
                let next = words
                    .next()
                    .ok_or_else(|| fault("-c requires a value".to_owned()))?;
                assignment(&next, &next)?
            } else {
                assignment(short, &word)?
            }
        } else {
            return Err(Error::unsupported(format!(
                "command-line switch \"{word}\" in the startup parameter \"options\" is not \
                 supported; use \"-c name=value\""
            )));
        };
        settings.push(setting);
    }
    Ok(settings)
}

fn assignment(text: &str, word: &str) -> Result<(String, String), Error> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.replace('-', "_"), value.to_owned())),
        Some(_) => Err(fault(format!("\"{word}\" has no name before the \"=\""))),
        None => Err(fault(format!("\"{word}\" requires a value"))),
    }
}

fn fault(why: String) -> Error {
    Error::malformed_owned("startup parameter \"options\"", why)
}

/// Words between blanks; a backslash takes the next character as it is.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => words.extend(word.take()),
            '\\' => {
                let word = word.get_or_insert_default();
                word.extend(letters.next());
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn the_three_forms() {
        assert_eq!(
            pairs("-c search_path=a,b -cwork_mem=4MB --statement-timeout=5s"),
            [
                pair("search_path", "a,b"),
                pair("work_mem", "4MB"),
                pair("statement_timeout", "5s"),
            ]
        );
    }

    #[test]
    fn backslashes_escape_blanks_and_themselves() {
        assert_eq!(
            pairs(r"-c application_name=my\ app\\x"),
            [pair("application_name", r"my app\x")]
        );
        assert_eq!(pairs("-c a=b\\"), [pair("a", "b")]);
    }

    #[test]
    fn values_may_be_empty_or_hold_signs() {
        assert_eq!(
            pairs("-c a= \t\n --b=c=d"),
            [pair("a", ""), pair("b", "c=d")]
        );
        assert_eq!(pairs(""), []);
        assert_eq!(pairs("  \t "), []);
    }

    #[test]
    fn odd_startup_options_are_refused() {
        for text in [
            "-c", "-c a", "-ca", "--", "--a", "--=b", "-c =b", "-c=b", "-c -c",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.is_malformed(), "{text}: {error}");
        }
        for text in ["-e", "-O", "-", "a=b", "-v 196608", "-C x=y", "\\"] {
            let error = parse(text).unwrap_err();
            assert!(error.is_unsupported(), "{text}: {error}");
        }
    }
}
