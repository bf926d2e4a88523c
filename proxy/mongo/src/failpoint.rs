//! Fail points: a test says which of the next commands fail, and how.
//!
//! Source: <https://github.com/mongodb/mongo/wiki/The-failCommand-Fail-Point>. Understood only where
//! `mongo.test_commands` is set. As of mongos, a fail point belongs to one process, and a command that it makes fail
//! was never begun: an open transaction stays open.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use twinport_wire::mongo::bson::{RawArray, RawBsonRef, RawDocument, RawDocumentBuf};
use twinport_wire::mongo::document::{integer, truth};

use crate::fault::{Fault, known};

/// All fail points of a process.
#[derive(Default)]
pub(crate) struct FailPoints {
    /// Whether any is set: all that commands look at where none is.
    armed: AtomicBool,
    points: Mutex<Points>,
}

#[derive(Default)]
struct Points {
    fail_command: Point,
    max_time: Point,
}

#[derive(Default)]
struct Point {
    mode: Mode,
    /// How often it has struck.
    entered: i64,
    aim: Aim,
    failure: Failure,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Mode {
    #[default]
    Off,
    Always,
    Times(i64),
    /// So many are let through first.
    Skip(i64),
    Probability(f64),
}

/// Which commands a fail point is for.
#[derive(Default)]
struct Aim {
    commands: Vec<String>,
    all: bool,
    application: Option<String>,
    namespace: Option<String>,
}

/// What becomes of a command.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Failure {
    /// It waits first.
    pub(crate) block: Option<Duration>,
    /// The connection is closed, without an answer.
    pub(crate) close: bool,
    /// It fails with this code.
    pub(crate) code: Option<i32>,
    /// In place of the labels that the code has by itself.
    pub(crate) labels: Option<Vec<String>>,
    /// It is carried out, and this is added to its answer.
    pub(crate) write_concern_error: Option<RawDocumentBuf>,
}

impl Failure {
    /// Whether it strikes before the command is carried out.
    fn strikes_first(&self) -> bool {
        self.block.is_some() || self.close || self.code.is_some()
    }
}

/// A command, as fail points see it.
pub(crate) struct Target<'a> {
    pub(crate) command: &'a str,
    pub(crate) database: &'a str,
    pub(crate) collection: Option<&'a str>,
    pub(crate) application: &'a str,
    /// It allows itself only so much time.
    pub(crate) bounded: bool,
}

impl FailPoints {
    /// Carries out `configureFailPoint`; how often the point has struck since the last time.
    ///
    /// # Errors
    /// When there is no such point, or a field is not what it must be.
    pub(crate) fn configure(&self, command: &RawDocument) -> Result<i64, Fault> {
        let name = command.get_str("configureFailPoint").map_err(|_| {
            Fault::field("configureFailPoint", "configureFailPoint", "must be a name")
        })?;
        let mode = mode(command)?;
        let data = command.get_document("data").ok();
        let mut points = self.points.lock();
        let point = match name {
            "failCommand" => &mut points.fail_command,
            "maxTimeAlwaysTimeOut" => &mut points.max_time,
            other => {
                return Err(Fault::new(
                    known::FAIL_POINT_SET_FAILED,
                    format_args!("{other} not found"),
                )
                .hint("There are failCommand and maxTimeAlwaysTimeOut"));
            }
        };
        let entered = point.entered;
        *point = match (data, mode) {
            (_, Mode::Off) => Point::default(),
            (None, mode) => Point {
                mode,
                ..Point::default()
            },
            (Some(data), mode) => Point {
                mode,
                entered: 0,
                aim: aim(data),
                failure: failure(data)?,
            },
        };
        let armed = points.fail_command.mode != Mode::Off || points.max_time.mode != Mode::Off;
        self.armed.store(armed, Ordering::Relaxed);
        Ok(entered)
    }

    /// Takes away all of them.
    pub(crate) fn clear(&self) {
        *self.points.lock() = Points::default();
        self.armed.store(false, Ordering::Relaxed);
    }

    /// Whether any is set.
    pub(crate) fn armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    /// What becomes of a command before it is carried out.
    pub(crate) fn before(&self, target: &Target<'_>) -> Option<Failure> {
        let mut points = self.points.lock();
        if target.bounded && points.max_time.strikes() {
            return Some(Failure {
                code: Some(known::MAX_TIME_MS_EXPIRED),
                ..Failure::default()
            });
        }
        let point = &mut points.fail_command;
        (point.failure.strikes_first() && point.aim.at(target) && point.strikes())
            .then(|| point.failure.clone())
    }

    /// What is added to the answer of a command that was carried out.
    pub(crate) fn after(&self, target: &Target<'_>) -> Option<Failure> {
        let point = &mut self.points.lock().fail_command;
        let adds = point.failure.write_concern_error.is_some();
        (adds && point.aim.at(target) && point.strikes()).then(|| point.failure.clone())
    }
}

impl Point {
    /// Whether it strikes this time; counts it.
    fn strikes(&mut self) -> bool {
        let strikes = match &mut self.mode {
            Mode::Off => false,
            Mode::Always => true,
            Mode::Times(left) => {
                *left -= 1;
                let strikes = *left >= 0;
                if *left <= 0 {
                    self.mode = Mode::Off;
                }
                strikes
            }
            Mode::Skip(left) if *left > 0 => {
                *left -= 1;
                false
            }
            Mode::Skip(_) => true,
            Mode::Probability(probability) => rand::random::<f64>() < *probability,
        };
        self.entered += i64::from(strikes);
        strikes
    }
}

impl Aim {
    fn at(&self, target: &Target<'_>) -> bool {
        let named = |name: &String| name.eq_ignore_ascii_case(target.command);
        let elsewhere = |namespace: &String| {
            let (database, collection) = namespace.split_once('.').unwrap_or((namespace, ""));
            database != target.database || collection != target.collection.unwrap_or_default()
        };
        target.command != "configureFailPoint"
            && (self.all || self.commands.iter().any(named))
            && self
                .application
                .as_ref()
                .is_none_or(|name| name == target.application)
            && !self.namespace.as_ref().is_some_and(elsewhere)
    }
}

fn mode(command: &RawDocument) -> Result<Mode, Fault> {
    let wrong = || {
        Fault::new(
            known::BAD_VALUE,
            "'mode' must be 'off', 'alwaysOn', or one of {times: n}, {skip: n}, {activationProbability: p}",
        )
    };
    match command.get("mode") {
        Ok(Some(RawBsonRef::String("off"))) => Ok(Mode::Off),
        Ok(Some(RawBsonRef::String("alwaysOn"))) => Ok(Mode::Always),
        Ok(Some(RawBsonRef::Document(mode))) => {
            let first = mode.into_iter().next().and_then(Result::ok);
            let (name, value) = first.ok_or_else(wrong)?;
            let count = integer(value).filter(|count| *count >= 0);
            match (name.as_str(), count, value) {
                ("times", Some(0), _) => Ok(Mode::Off),
                ("times", Some(count), _) => Ok(Mode::Times(count)),
                ("skip", Some(count), _) => Ok(Mode::Skip(count)),
                ("activationProbability", _, RawBsonRef::Double(probability)) => {
                    Ok(Mode::Probability(probability))
                }
                _ => Err(wrong()),
            }
        }
        _ => Err(wrong()),
    }
}

fn texts(array: &RawArray) -> Vec<String> {
    let texts = array.into_iter().flatten().filter_map(RawBsonRef::as_str);
    texts.map(str::to_owned).collect()
}

fn aim(data: &RawDocument) -> Aim {
    let text = |name: &str| data.get_str(name).ok().map(str::to_owned);
    Aim {
        commands: data
            .get_array("failCommands")
            .map(texts)
            .unwrap_or_default(),
        all: is_true(data, "failAllCommands"),
        application: text("appName"),
        namespace: text("namespace"),
    }
}

fn is_true(data: &RawDocument, name: &str) -> bool {
    matches!(data.get(name), Ok(Some(value)) if truth(value))
}

fn failure(data: &RawDocument) -> Result<Failure, Fault> {
    let number = |name: &str| data.get(name).ok().flatten().and_then(integer);
    let block = if is_true(data, "blockConnection") {
        let millis = number("blockTimeMS").and_then(|millis| u64::try_from(millis).ok());
        let millis = millis.ok_or_else(|| {
            Fault::new(
                known::INVALID_OPTIONS,
                "must specify 'blockTimeMS' when 'blockConnection' is true",
            )
        })?;
        Some(Duration::from_millis(millis))
    } else {
        None
    };
    Ok(Failure {
        block,
        close: is_true(data, "closeConnection"),
        code: number("errorCode").and_then(|code| i32::try_from(code).ok()),
        labels: data.get_array("errorLabels").ok().map(texts),
        write_concern_error: data
            .get_document("writeConcernError")
            .ok()
            .map(RawDocument::to_owned),
    })
}

#[cfg(test)]
mod tests;
