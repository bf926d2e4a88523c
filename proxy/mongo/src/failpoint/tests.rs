use twinport_wire::mongo::bson::rawdoc;

use super::*;

fn target(command: &str) -> Target<'_> {
    Target {
        command,
        database: "shop",
        collection: Some("books"),
        application: "till",
        bounded: false,
    }
}

fn set(points: &FailPoints, mode: RawDocumentBuf, data: RawDocumentBuf) {
    let command = rawdoc! { "configureFailPoint": "failCommand", "mode": mode, "data": data };
    points.configure(&command).unwrap();
}

fn off(points: &FailPoints) -> i64 {
    let command = rawdoc! { "configureFailPoint": "failCommand", "mode": "off" };
    points.configure(&command).unwrap()
}

#[test]
fn a_point_strikes_so_many_times_and_tells_how_often() {
    let points = FailPoints::default();
    assert!(!points.armed());
    set(
        &points,
        rawdoc! { "times": 2 },
        rawdoc! { "failCommands": ["find"], "errorCode": 91 },
    );
    assert!(points.armed());
    assert_eq!(points.before(&target("insert")), None);
    for _ in 0..2 {
        assert_eq!(points.before(&target("find")).unwrap().code, Some(91));
    }
    assert_eq!(points.before(&target("find")), None);
    assert_eq!(off(&points), 2);
    assert!(!points.armed());
    assert_eq!(off(&points), 0);
}

#[test]
fn a_point_lets_so_many_through_first() {
    let points = FailPoints::default();
    set(
        &points,
        rawdoc! { "skip": 1 },
        rawdoc! { "failCommands": ["hello"], "closeConnection": true },
    );
    assert_eq!(points.before(&target("hello")), None);
    assert!(points.before(&target("hello")).unwrap().close);
    assert!(points.before(&target("hello")).unwrap().close);
}

#[test]
fn a_point_is_for_some_commands_of_some_clients_only() {
    let points = FailPoints::default();
    let always = rawdoc! {
        "configureFailPoint": "failCommand",
        "mode": "alwaysOn",
        "data": {
            "failCommands": ["findAndModify", "configureFailPoint"],
            "appName": "till",
            "namespace": "shop.books",
            "errorCode": 6,
        },
    };
    points.configure(&always).unwrap();
    let strikes = |target: &Target<'_>| points.before(target).is_some();
    assert!(strikes(&target("findAndModify")));
    // An old name of the same command.
    assert!(strikes(&target("findandmodify")));
    assert!(!strikes(&target("configureFailPoint")));
    let application = Target {
        application: "other",
        ..target("findAndModify")
    };
    assert!(!strikes(&application));
    let collection = Target {
        collection: Some("authors"),
        ..target("findAndModify")
    };
    assert!(!strikes(&collection));
}

#[test]
fn a_write_concern_error_comes_after_the_write() {
    let points = FailPoints::default();
    set(
        &points,
        rawdoc! { "times": 1 },
        rawdoc! {
            "failCommands": ["insert"],
            "writeConcernError": { "code": 91 },
            "errorLabels": ["RetryableWriteError"],
        },
    );
    assert_eq!(points.before(&target("insert")), None);
    let failure = points.after(&target("insert")).unwrap();
    let error = failure.write_concern_error.unwrap();
    assert_eq!(error.get_i32("code").unwrap(), 91);
    assert_eq!(failure.labels.unwrap(), ["RetryableWriteError"]);
    assert_eq!(points.after(&target("insert")), None);
}

#[test]
fn a_point_for_time_strikes_commands_that_bound_theirs() {
    let points = FailPoints::default();
    let on = rawdoc! { "configureFailPoint": "maxTimeAlwaysTimeOut", "mode": "alwaysOn" };
    points.configure(&on).unwrap();
    assert_eq!(points.before(&target("find")), None);
    let bounded = Target {
        bounded: true,
        ..target("find")
    };
    let failure = points.before(&bounded).unwrap();
    assert_eq!(failure.code, Some(known::MAX_TIME_MS_EXPIRED));
    points.clear();
    assert!(!points.armed());
    assert_eq!(points.before(&bounded), None);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let points = FailPoints::default();
    let refused = |command: RawDocumentBuf| points.configure(&command).unwrap_err().code;
    assert_eq!(
        refused(rawdoc! { "configureFailPoint": "nope", "mode": "off" }),
        known::FAIL_POINT_SET_FAILED
    );
    assert_eq!(
        refused(rawdoc! { "configureFailPoint": 1, "mode": "off" }),
        known::TYPE_MISMATCH
    );
    for mode in [rawdoc! {}, rawdoc! { "times": -1 }, rawdoc! { "often": 1 }] {
        let command = rawdoc! { "configureFailPoint": "failCommand", "mode": mode };
        assert_eq!(refused(command), known::BAD_VALUE);
    }
    let block = rawdoc! {
        "configureFailPoint": "failCommand",
        "mode": "alwaysOn",
        "data": { "failCommands": ["find"], "blockConnection": true },
    };
    assert_eq!(refused(block), known::INVALID_OPTIONS);
    assert!(!points.armed());
}
