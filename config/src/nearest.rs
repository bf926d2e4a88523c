//! The right name for a wrong one.

/// The candidate that begins with the word, else the most similar one, if it is similar at all.
pub(crate) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let longer = candidates
        .iter()
        .find(|name| word.len() >= 3 && name.starts_with(&word));
    if let Some(longer) = longer {
        return Some(longer);
    }
    let distance = |candidate: &&'a str| {
        let plain = candidate.to_lowercase().replace('-', "_");
        (strsim::damerau_levenshtein(&word, &plain), *candidate)
    };
    let (distance, candidate) = candidates.iter().map(distance).min()?;
    let bound = (word.chars().count().max(candidate.chars().count()) / 3).max(1);
    (distance <= bound).then_some(candidate)
}

/// Names for a sentence.
pub(crate) fn list(names: &[&str]) -> String {
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_similar_names_are_offered() {
        assert_eq!(nearest("sise", &["mode", "size"]), Some("size"));
        assert_eq!(
            nearest("max-clients", &["max_clients"]),
            Some("max_clients")
        );
        assert_eq!(
            nearest("cert", &["mode", "certificate"]),
            Some("certificate")
        );
        assert_eq!(nearest("colour", &["mode", "size"]), None);
    }
}
