//! Arrays in Postgres's binary form (`array_recv` in its `arrayfuncs.c`).

/// `bytea`, by its number in the catalog of types.
pub(crate) const BYTEA: i32 = 17;

/// `bigint`.
pub(crate) const BIGINT: i32 = 20;

/// An array of one dimension, of values in their binary form; `None` is NULL.
pub(crate) fn array<'a>(
    kind: i32,
    values: impl ExactSizeIterator<Item = Option<&'a [u8]>> + Clone,
) -> Vec<u8> {
    let number = |size: usize| i32::try_from(size).unwrap_or(i32::MAX);
    let size = |value: Option<&[u8]>| 4 + value.map_or(0, <[u8]>::len);
    let mut out = Vec::with_capacity(20 + values.clone().map(size).sum::<usize>());
    let nulls = i32::from(values.clone().any(|value| value.is_none()));
    // Its dimensions, whether there are NULLs, the type; its length and its lower bound.
    for head in [1, nulls, kind, number(values.len()), 1] {
        out.extend_from_slice(&head.to_be_bytes());
    }
    for value in values {
        let length = value.map_or(-1, |value| number(value.len()));
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(value.unwrap_or_default());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_as_postgres_reads_it() {
        let values = [Some(&b"ab"[..]), None];
        let expected = [
            0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 17, 0, 0, 0, 2, 0, 0, 0, 1, // the header
            0, 0, 0, 2, b'a', b'b', 255, 255, 255, 255,
        ];
        assert_eq!(array(BYTEA, values.iter().copied()), expected);
        let none = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(array(BIGINT, [].into_iter()), none);
    }
}
