//! The nearest known name to one that is not known, for hints.

/// The name most like `name`, if any is near enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| {
            *distance <= 1 + candidate.chars().count().min(lower.len()) / 3
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A hint: the nearest name, or all of them if none is near.
pub(crate) fn suggestion<'a>(
    name: &str,
    what: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    if let Some(near) = nearest(name, known.clone()) {
        return format!("Did you mean \"{near}\"?");
    }
    let all: Vec<&str> = known.into_iter().take(20).collect();
    match all.is_empty() {
        true => format!("There are no {what}."),
        false => format!("The {what} are: {}.", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{nearest, suggestion};

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert_eq!(nearest("inclde", ["include", "upsert"]), Some("include"));
        assert_eq!(nearest("Bokos", ["books", "author"]), Some("books"));
        assert_eq!(nearest("zzzzzz", ["include", "upsert"]), None);
        assert_eq!(suggestion("x", "relations", []), "There are no relations.");
        assert_eq!(
            suggestion("zzzzzz", "names", ["ab", "cd"]),
            "The names are: ab, cd."
        );
    }
}
