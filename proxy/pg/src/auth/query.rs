//! Secrets that an upstream knows: the `auth_query`.

use super::{Secret, Unavailable};

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
    fn no_password_is_no_secret() {
        for password in [None, Some("")] {
            let rows = [row(&[Some("ann"), password])];
            assert_eq!(secret("ann", &rows).unwrap(), None);
        }
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
