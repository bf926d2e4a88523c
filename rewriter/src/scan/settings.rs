//! Names of custom settings in a text. The server lists none of them, so that it must be asked for each by its name.

use super::{BEGINS_WORD, IN_WORD, belongs};

/// So many names are taken from one text.
const MOST: usize = 64;

/// What of a text may be names of custom settings.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CustomNames {
    /// The names, in lower case.
    pub names: Vec<String>,
    /// Whether there may be names that are not among them: too many, or not as they are written.
    pub more: bool,
}

/// Finds whatever looks like the name of a custom setting, quoted or not, in strings as well as outside of them: two
/// words or more with dots between. Most are names of other things, which does no harm.
///
/// ```
/// use twinport_rewriter::scan::custom_names;
/// let found = custom_names(br#"SET "App".tenant = 'x'; SELECT set_config('job.id', $1, false)"#);
/// assert_eq!(found.names, ["app.tenant", "job.id"]);
/// ```
#[must_use]
pub fn custom_names(text: &[u8]) -> CustomNames {
    let mut found = CustomNames {
        // What an escape stands for is not looked at.
        more: memchr::memchr(b'\\', text).is_some() || !text.is_ascii(),
        ..CustomNames::default()
    };
    let mut rest = text;
    while !rest.is_empty() {
        let Some((first, after)) = part(rest) else {
            // A number is no beginning of a name, and neither is its end.
            let skip = rest.iter().position(|&b| !belongs(b, IN_WORD));
            rest = rest
                .get(skip.unwrap_or(rest.len()).max(1)..)
                .unwrap_or_default();
            continue;
        };
        let mut name = String::new();
        push(&mut name, first);
        rest = after;
        while let Some(after) = dot(rest) {
            let Some((next, after)) = part(after) else {
                break;
            };
            name.push('.');
            push(&mut name, next);
            rest = after;
        }
        // Of what is not ASCII the bytes were read, and not the letters: that there is more is said.
        if name.is_ascii() && is_custom_name(name.as_bytes()) && !found.names.contains(&name) {
            if found.names.len() == MOST {
                found.more = true;
                return found;
            }
            found.names.push(name);
        }
    }
    found
}

/// Whether the server would take this for the name of a custom setting. Letters that are not ASCII may be in it, in
/// whatever encoding.
#[must_use]
pub fn is_custom_name(name: &[u8]) -> bool {
    name.contains(&b'.')
        && name.split(|&b| b == b'.').all(|part| {
            part.first().is_some_and(|&b| belongs(b, BEGINS_WORD))
                && part.iter().all(|&b| belongs(b, IN_WORD))
        })
}

fn push(name: &mut String, part: &[u8]) {
    name.extend(part.iter().map(|b| char::from(b.to_ascii_lowercase())));
}

/// A word, or several with dots between in one pair of quotes, and what follows.
fn part(text: &[u8]) -> Option<(&[u8], &[u8])> {
    match text {
        [b'"', quoted @ ..] => {
            let end = memchr::memchr(b'"', quoted)?;
            let (inside, after) = quoted.split_at_checked(end)?;
            let plain = |b: &u8| belongs(*b, IN_WORD) || *b == b'.';
            (!inside.is_empty() && inside.iter().all(plain))
                .then(|| (inside, after.get(1..).unwrap_or_default()))
        }
        [first, ..] if belongs(*first, BEGINS_WORD) => {
            let end = text.iter().position(|&b| !belongs(b, IN_WORD));
            text.split_at_checked(end.unwrap_or(text.len()))
        }
        _ => None,
    }
}

/// What follows a dot and the blanks and comments around it.
fn dot(text: &[u8]) -> Option<&[u8]> {
    let after = skip_blanks(text).strip_prefix(b".")?;
    Some(skip_blanks(after))
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let mut rest = text;
    loop {
        rest = match rest {
            [b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, after @ ..] => after,
            [b'-', b'-', after @ ..] => {
                let end = memchr::memchr2(b'\n', b'\r', after).unwrap_or(after.len());
                after.get(end..).unwrap_or_default()
            }
            [b'/', b'*', after @ ..] => match memchr::memmem::find(after, b"*/") {
                Some(end) => after.get(end + 2..).unwrap_or_default(),
                None => return rest,
            },
            _ => return rest,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        custom_names(text.as_bytes()).names
    }

    #[test]
    fn names_are_found_however_they_are_written() {
        for text in [
            "SET app.tenant TO '42'",
            "set \"app.tenant\" = 1",
            "set \"App\".\"Tenant\" = 1",
            "SET SESSION app /* c */ . -- d\n tenant = 1",
            "RESET APP.TENANT",
            "SELECT set_config('app.tenant', $1, false)",
            "do 'begin perform set_config(''app.tenant'', ''x'', false); end'",
            "do $$ begin execute 'set app.tenant = 5\" 1.5'; end $$",
        ] {
            assert_eq!(of(text), ["app.tenant"], "{text}");
        }
        assert_eq!(of("SET a.b.c = 1, d.e"), ["a.b.c", "d.e"]);
        assert!(of("SELECT 1.5, 'x, y', 1a.b FROM \"a b\".c WHERE x = .5").is_empty());
    }

    #[test]
    fn letters_of_any_alphabet_make_a_name() {
        for name in ["app.t\u{e9}".as_bytes(), b"\xe9.a", b"_a.b$1.c"] {
            assert!(is_custom_name(name), "{name:?}");
        }
        for name in ["app", "app.", ".a", "1a.b", "a b.c", "a.b c", "a.-"] {
            assert!(!is_custom_name(name.as_bytes()), "{name}");
        }
        assert!(of("SET app.t\u{e9} = 1").is_empty());
    }

    #[test]
    fn what_may_be_missing_is_said() {
        assert!(custom_names(b"SELECT set_config(E'app\\x2etenant', 'x', false)").more);
        assert!(custom_names("SET app.\u{e4} = 1".as_bytes()).more);
        assert!(!custom_names(b"SET app.a = 1").more);
        let many: String = (0..100).map(|n| format!("a.b{n} ")).collect();
        let found = custom_names(many.as_bytes());
        assert!(found.more && found.names.len() == MOST);
    }
}
