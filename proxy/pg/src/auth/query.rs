//! Secrets that an upstream knows: the `auth_query`.

use tokio::io::{AsyncRead, AsyncWrite};
use twinport_wire::pg::backend::{self, Fields, Values};
use twinport_wire::pg::frontend::build;

use super::{Secret, Unavailable};
use crate::handshake::channel::{Broken, Channel};

/// A query for servers where we log in as a superuser. Everything in it is
/// qualified: no `search_path` decides what it reads. An expired password is
/// none at all.
pub const DEFAULT: &str = "SELECT rolname::pg_catalog.text, \
     CASE WHEN rolvaliduntil OPERATOR(pg_catalog.<) pg_catalog.now() \
     THEN NULL ELSE rolpassword END \
     FROM pg_catalog.pg_authid \
     WHERE rolname OPERATOR(pg_catalog.=) $1 AND rolcanlogin";

/// The longest message accepted in an answer.
const MAX_MESSAGE: usize = 64 * 1024;

/// The most messages accepted in an answer: one row makes six.
const MAX_MESSAGES: usize = 100;

/// Runs an `auth_query` on an upstream connection that is ready for queries,
/// with `user` as `$1`, and gives the secret it finds. After an error the
/// connection MUST NOT be used again.
///
/// The connection MUST be one on which no client's setting was ever applied: a
/// `search_path` from outside would decide which functions a query calls. It
/// MUST be bounded in time by the caller.
///
/// # Errors
/// [`Unavailable`] if the query fails or gives anything but at most one row of
/// the user's name and secret.
pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    sql: &str,
    user: &str,
) -> Result<Option<Secret>, Unavailable> {
    let mut channel = Channel::new(stream);
    build::parse(&mut channel.out, b"", sql.as_bytes(), &[]);
    build::bind_text(&mut channel.out, b"", b"", &[Some(user.as_bytes())]);
    build::execute(&mut channel.out, b"", 2);
    build::sync(&mut channel.out);
    let rows = rows(&mut channel).await.map_err(|reason| wrong(&reason))?;
    secret(user, &rows)
}

async fn rows<S: AsyncRead + AsyncWrite + Unpin>(
    channel: &mut Channel<S>,
) -> Result<Vec<Vec<Option<String>>>, String> {
    let broken = |broken: Broken| broken.to_string();
    channel.flush().await.map_err(broken)?;
    let mut rows = Vec::new();
    let mut failed = None;
    for _ in 0..MAX_MESSAGES {
        let message = channel.message(MAX_MESSAGE).await.map_err(broken)?;
        match message.tag {
            backend::DATA_ROW => rows.push(row(message.body()).map_err(|why| why.to_string())?),
            backend::ERROR_RESPONSE => {
                let text = Fields::new(message.body()).get(b'M').unwrap_or_default();
                failed = Some(String::from_utf8_lossy(text).into_owned());
            }
            backend::READY_FOR_QUERY => return failed.map_or(Ok(rows), Err),
            _ => {}
        }
    }
    Err("it gave more messages than one row makes".to_owned())
}

fn row(body: &[u8]) -> Result<Vec<Option<String>>, twinport_wire::Error> {
    Values::new(body)?
        .map(|value| Ok(value?.map(|bytes| String::from_utf8_lossy(bytes).into_owned())))
        .collect()
}

fn wrong(reason: &str) -> Unavailable {
    Unavailable {
        code: "58000",
        message: "the login cannot be checked".to_owned(),
        reason: format!("auth_query: {reason}"),
    }
}

/// The secret in the rows that an `auth_query` gave for `user`: name and
/// secret, as text.
///
/// # Errors
/// [`Unavailable`] if the rows are not of that form, or are those of somebody
/// else: then the query is wrong, and nobody may get in by it.
pub fn secret(user: &str, rows: &[Vec<Option<String>>]) -> Result<Option<Secret>, Unavailable> {
    match rows {
        [] => Ok(None),
        [row] => match row.as_slice() {
            [Some(name), secret] if name == user => Ok(secret
                .as_deref()
                .filter(|secret| !secret.is_empty())
                .map(Secret::parse)),
            [_, _] => Err(wrong("it gave the row of another user")),
            _ => Err(wrong("it must give two columns: name and secret")),
        },
        _ => Err(wrong("it gave more than one row")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[Option<&str>]) -> Vec<Option<String>> {
        values
            .iter()
            .map(|value| value.map(str::to_owned))
            .collect()
    }

    #[test]
    fn one_row_of_the_user_counts() {
        let rows = [row(&[Some("ann"), Some("pw")])];
        assert_eq!(
            secret("ann", &rows).unwrap(),
            Some(Secret::Plain("pw".to_owned()))
        );
        assert_eq!(secret("ann", &[]).unwrap(), None);
    }

    #[test]
    fn expired_password_is_no_secret() {
        assert!(DEFAULT.contains("rolvaliduntil"));
        let rows = [row(&[Some("ann"), None])];
        assert_eq!(secret("ann", &rows).unwrap(), None);
        let rows = [row(&[Some("ann"), Some("")])];
        assert_eq!(secret("ann", &rows).unwrap(), None);
    }

    #[test]
    fn rows_of_others_and_of_another_shape_let_nobody_in() {
        let bob = row(&[Some("bob"), Some("pw")]);
        for rows in [
            vec![bob.clone()],
            vec![row(&[None, Some("pw")])],
            vec![row(&[Some("ann")])],
            vec![row(&[Some("ann"), Some("pw"), None])],
            vec![row(&[Some("ann"), Some("pw")]), bob],
        ] {
            assert!(secret("ann", &rows).is_err(), "{rows:?}");
        }
    }
}
