//! English plurals and singulars, as far as table names need them.
//!
//! The rules are few on purpose: a relation's name has to be guessable. Only the last word of a
//! `snake_case` or `camelCase` name changes.

/// Words whose plural follows no rule: (singular, plural).
const IRREGULAR: &[(&str, &str)] = &[
    ("person", "people"),
    ("child", "children"),
    ("man", "men"),
    ("woman", "women"),
    ("datum", "data"),
    ("medium", "media"),
    ("foot", "feet"),
    ("goose", "geese"),
    ("mouse", "mice"),
    ("tooth", "teeth"),
    ("criterion", "criteria"),
    ("index", "indices"),
    ("vertex", "vertices"),
    ("leaf", "leaves"),
    ("life", "lives"),
    ("half", "halves"),
    ("shelf", "shelves"),
    ("movie", "movies"),
    ("cookie", "cookies"),
];

/// Words that are their own plural.
const INVARIANT: &[&str] = &[
    "news",
    "series",
    "species",
    "sheep",
    "fish",
    "equipment",
    "information",
    "metadata",
    "staff",
];

/// The plural of a name; a name that looks plural already stays as it is.
///
/// ```
/// assert_eq!(orm_schema::plural("book"), "books");
/// assert_eq!(orm_schema::plural("books"), "books");
/// assert_eq!(orm_schema::plural("order_category"), "order_categories");
/// ```
pub fn plural(name: &str) -> String {
    let (head, word) = split_last_word(name);
    let lower = word.to_ascii_lowercase();
    if INVARIANT.contains(&lower.as_str()) || IRREGULAR.iter().any(|(_, many)| *many == lower) {
        return name.to_owned();
    }
    if let Some((_, many)) = IRREGULAR.iter().find(|(one, _)| *one == lower) {
        return format!("{head}{}", with_first_of(word, many));
    }
    if looks_plural(&lower) {
        return name.to_owned();
    }
    if let Some(stem) = word.strip_suffix('y')
        && !stem.ends_with(['a', 'e', 'i', 'o', 'u'])
        && !stem.is_empty()
    {
        return format!("{head}{stem}ies");
    }
    if ["s", "x", "z", "ch", "sh"]
        .iter()
        .any(|end| lower.ends_with(end))
    {
        return format!("{name}es");
    }
    format!("{name}s")
}

/// The singular of a name; a name that looks singular already stays as it is.
///
/// ```
/// assert_eq!(orm_schema::singular("books"), "book");
/// assert_eq!(orm_schema::singular("user_addresses"), "user_address");
/// assert_eq!(orm_schema::singular("status"), "status");
/// ```
pub fn singular(name: &str) -> String {
    let (head, word) = split_last_word(name);
    let lower = word.to_ascii_lowercase();
    if INVARIANT.contains(&lower.as_str()) || IRREGULAR.iter().any(|(one, _)| *one == lower) {
        return name.to_owned();
    }
    if let Some((one, _)) = IRREGULAR.iter().find(|(_, many)| *many == lower) {
        return format!("{head}{}", with_first_of(word, one));
    }
    if !looks_plural(&lower) {
        return name.to_owned();
    }
    let cut = |count: usize| word.get(..word.len().saturating_sub(count)).unwrap_or(word);
    let word = if lower.ends_with("ies") && lower.len() > 4 {
        format!("{}y", cut(3))
    } else if [
        "sses", "shes", "ches", "xes", "zzes", "statuses", "aliases", "buses",
    ]
    .iter()
    .any(|end| lower.ends_with(end))
    {
        cut(2).to_owned()
    } else {
        cut(1).to_owned()
    };
    format!("{head}{word}")
}

/// Whether a lower-case word reads as a regular plural.
fn looks_plural(word: &str) -> bool {
    word.len() > 2
        && word.ends_with('s')
        && !["ss", "us", "is"].iter().any(|end| word.ends_with(end))
}

/// The name up to its last word, and that word.
fn split_last_word(name: &str) -> (&str, &str) {
    let after_underscore = name.rfind('_').map(|at| at + 1);
    let camel = name
        .char_indices()
        .rev()
        .find(|(at, letter)| letter.is_ascii_uppercase() && *at > 0)
        .map(|(at, _)| at);
    let at = after_underscore.max(camel).unwrap_or(0);
    name.split_at_checked(at).unwrap_or(("", name))
}

/// `replacement` for `word`, keeping an upper-case first letter.
fn with_first_of(word: &str, replacement: &str) -> String {
    if word.starts_with(|first: char| first.is_ascii_uppercase()) {
        let mut letters = replacement.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase())
            .into_iter()
            .chain(letters)
            .collect()
    } else {
        replacement.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{plural, singular};

    #[test]
    fn plurals_and_singulars_undo_each_other() {
        for (one, many) in [
            ("book", "books"),
            ("category", "categories"),
            ("day", "days"),
            ("box", "boxes"),
            ("address", "addresses"),
            ("status", "statuses"),
            ("house", "houses"),
            ("branch", "branches"),
            ("sales_person", "sales_people"),
            ("Person", "People"),
            ("orderItem", "orderItems"),
            ("UserAddress", "UserAddresses"),
            ("news", "news"),
            ("cookie", "cookies"),
        ] {
            assert_eq!(plural(one), many);
            assert_eq!(singular(many), one);
            assert_eq!(plural(many), many, "already plural");
            assert_eq!(singular(one), one, "already singular");
        }
    }

    #[test]
    fn odd_names_do_not_break() {
        assert_eq!(plural(""), "s");
        assert_eq!(plural("y"), "ys");
        assert_eq!(plural("größe"), "größes");
        assert_eq!(singular("é"), "é");
        assert_eq!(plural("trailing_"), "trailing_s");
    }
}
