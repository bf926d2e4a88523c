use super::*;

/// An object of one member.
fn one(value: Value) -> Object {
    Object::new([("v".to_owned(), value)])
}

fn text(fold: &Fold, packed: &[u8]) -> Result<String, Error> {
    let mut out = Vec::new();
    fold.json(Some(packed), &mut out)?;
    Ok(String::from_utf8(out).expect("what was packed is UTF-8"))
}

/// The JSON of one value.
fn shown(value: Value, packed: &[u8]) -> String {
    let fold = Fold::One(one(value));
    let json = text(&fold, &[&[1], packed].concat()).expect("well formed");
    json.strip_prefix("{\"v\":")
        .and_then(|rest| rest.strip_suffix('}'))
        .expect("an object")
        .to_owned()
}

fn numeric(digits: &[i16], weight: i16, sign: u16, scale: u16) -> Vec<u8> {
    let mut out = u16::try_from(digits.len()).unwrap().to_be_bytes().to_vec();
    out.extend(weight.to_be_bytes());
    out.extend(sign.to_be_bytes());
    out.extend(scale.to_be_bytes());
    out.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
    out
}

#[test]
fn plain_values() {
    assert_eq!(shown(Value::Bool, &[1]), "true");
    assert_eq!(shown(Value::Bool, &[2]), "null");
    assert_eq!(shown(Value::Int, &(-7_i64).to_be_bytes()), "-7");
    assert_eq!(shown(Value::Int, &i64::MIN.to_be_bytes()), "null");
    assert_eq!(
        shown(Value::BigInt, &[&[1][..], &i64::MIN.to_be_bytes()].concat()),
        "-9223372036854775808"
    );
    assert_eq!(shown(Value::BigInt, &[0]), "null");
    assert_eq!(shown(Value::Raw, b"[1, 2]\0\x01"), "[1, 2]");
    assert_eq!(shown(Value::Raw, b"\0\0"), "null");
    assert_eq!(shown(Value::Number, b"1e+300\0\x01"), "1e+300");
    assert_eq!(shown(Value::Number, b"-Infinity\0\x01"), "\"-Infinity\"");
    assert_eq!(
        shown(
            Value::Uuid,
            &[
                &[1][..],
                &0x0123_4567_89ab_cdef_0011_2233_4455_6677_u128.to_be_bytes()
            ]
            .concat()
        ),
        "\"01234567-89ab-cdef-0011-223344556677\""
    );
}

#[test]
fn strings_are_escaped_and_end_where_they_end() {
    assert_eq!(shown(Value::String, b"\0\x01"), "\"\"");
    assert_eq!(shown(Value::String, b"\0\0"), "null");
    assert_eq!(
        shown(
            Value::String,
            "a\"\\\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}é\0\u{1}".as_bytes()
        ),
        "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\u{7f}é\""
    );
    let odd = Object::new([("a\"\n".to_owned(), Value::Bool)]);
    assert_eq!(
        text(&Fold::One(odd), &[1, 0]).unwrap(),
        r#"{"a\"\n":false}"#
    );
}

#[test]
fn numerics_are_written_in_full() {
    let shown = |digits: &[i16], weight, sign, scale| {
        shown(Value::Numeric, &numeric(digits, weight, sign, scale))
    };
    assert_eq!(shown(&[], 0, 0, 0), "0");
    assert_eq!(shown(&[], 0, 0, 2), "0.00");
    assert_eq!(shown(&[123, 4500], 0, 0, 4), "123.4500");
    assert_eq!(shown(&[123, 4500], 0, 0, 2), "123.45");
    assert_eq!(shown(&[1, 2, 3], 2, 0x4000, 0), "-100020003");
    assert_eq!(shown(&[1], 2, 0, 1), "100000000.0");
    assert_eq!(shown(&[500], -2, 0x4000, 6), "-0.000005");
    assert_eq!(shown(&[], 0, 0xc000, 0), "\"NaN\"");
    assert_eq!(shown(&[], 0, 0xd000, 0x20), "\"Infinity\"");
    assert_eq!(shown(&[], 0, 0xf000, 0x20), "\"-Infinity\"");
    assert_eq!(shown(&[], 0, 0xffff, 0), "null");
}

#[test]
fn dates_and_times_are_iso() {
    let date = |days: i32| shown(Value::Date, &days.to_be_bytes());
    assert_eq!(date(0), "\"2000-01-01\"");
    assert_eq!(date(59), "\"2000-02-29\"");
    assert_eq!(date(-1), "\"1999-12-31\"");
    assert_eq!(date(-730_119), "\"0001-01-01\"");
    assert_eq!(date(-730_120), "\"0001-12-31 BC\"");
    assert_eq!(date(2_921_940), "\"10000-01-01\"");
    assert_eq!(date(i32::MIN), "\"-infinity\"");
    assert_eq!(date(i32::MIN + 1), "null");
    let time = |micros: i64| shown(Value::Time, &micros.to_be_bytes());
    assert_eq!(time(86_400_000_000), "\"24:00:00\"");
    assert_eq!(time(3_723_000_400), "\"01:02:03.0004\"");
    assert_eq!(time(-1), "null");
    let timestamp = |micros: i64| shown(Value::Timestamp, &micros.to_be_bytes());
    assert_eq!(timestamp(-1), "\"1999-12-31T23:59:59.999999\"");
    assert_eq!(timestamp(i64::MAX), "\"infinity\"");
    assert_eq!(timestamp(i64::MIN + 1), "null");
    let zoned = |utc: i64, local: i64| {
        shown(
            Value::TimestampTz,
            &[utc.to_be_bytes(), local.to_be_bytes()].concat(),
        )
    };
    assert_eq!(zoned(0, 0), "\"2000-01-01T00:00:00+00:00\"");
    assert_eq!(zoned(0, 20_700_000_000), "\"2000-01-01T05:45:00+05:45\"");
    assert_eq!(
        zoned(0, -17_776_000_000),
        "\"1999-12-31T19:03:44-04:56:16\""
    );
    let written = [&(i64::MIN + 1).to_be_bytes()[..], b"\"infinity\"\0\x01"].concat();
    assert_eq!(shown(Value::TimestampTz, &written), "\"infinity\"");
}

/// Authors' books, each with a publisher and reviews.
fn nested() -> Fold {
    let publisher = one(Value::String);
    let reviews = one(Value::Int);
    Fold::Many(Object::new([
        ("id".to_owned(), Value::Int),
        ("publisher".to_owned(), Value::One(publisher)),
        ("reviews".to_owned(), Value::Many(reviews)),
    ]))
}

fn nested_bytes() -> Vec<u8> {
    let number = |value: i64| value.to_be_bytes();
    [
        &[1][..],
        &number(1),
        b"\x01Ace\0\x01",
        &[1],
        &number(5),
        &[1],
        &number(3),
        &[0],
        &[1],
        &number(2),
        &[0],
        &[0],
    ]
    .concat()
}

#[test]
fn lists_and_rows_nest() {
    assert_eq!(
        text(&nested(), &nested_bytes()).unwrap(),
        r#"[{"id":1,"publisher":{"v":"Ace"},"reviews":[{"v":5},{"v":3}]},{"id":2,"publisher":null,"reviews":[]}]"#
    );
    let empty = Object::new([]);
    assert_eq!(text(&Fold::Many(empty), &[1, 1]).unwrap(), "[{},{}]");
}

#[test]
fn nothing_is_an_empty_list_or_null() {
    let mut out = Vec::new();
    assert_eq!(Fold::Many(one(Value::Int)).json(None, &mut out), Ok(true));
    assert_eq!(out, b"[]");
    assert_eq!(Fold::One(one(Value::Int)).json(None, &mut out), Ok(false));
    assert_eq!(out, b"[]");
}

#[test]
fn what_is_cut_off_or_too_long_is_refused() {
    let whole = nested_bytes();
    for end in 0..whole.len() {
        let cut = whole.get(..end).unwrap();
        // Between two rows, and before the first, a list may end.
        let ends = end == 0 || whole.len() - end == 11;
        assert_eq!(text(&nested(), cut).is_ok(), ends, "{end}");
    }
    assert!(text(&nested(), &[&whole[..], &[0]].concat()).is_err());
    assert!(text(&nested(), &[2]).unwrap_err().is_malformed());
    for kind in [
        Value::Numeric,
        Value::Uuid,
        Value::TimestampTz,
        Value::String,
        Value::Bool,
    ] {
        assert!(text(&Fold::One(one(kind)), &[1, 9]).is_err());
    }
    let scale = [&[1][..], &numeric(&[], 0, 0, 0x4000)].concat();
    assert!(text(&Fold::One(one(Value::Numeric)), &scale).is_err());
}
