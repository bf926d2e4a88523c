//! From file, environment and flags to [`Settings`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Errors, Place, Problem};
use crate::layer::{self, FILE_VARIABLE, Overrides};
use crate::read::Reader;
use crate::settings::Settings;
use crate::source::Source;
use crate::{build, judge, unknown};

/// Where the file is looked for if nobody names it, in this order.
const PLACES: &[&str] = &["twinport.toml", "/etc/twinport/twinport.toml"];

impl Settings {
    /// Loads the settings: flags go before environment variables, these before the file, this
    /// before the defaults. The file is the one that [`locate`] finds.
    ///
    /// # Errors
    ///
    /// All that is wrong, at once.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &Overrides,
    ) -> Result<Self, Errors> {
        let environment: BTreeMap<String, String> = environment.into_iter().collect();
        let path = locate(path, &environment);
        let text = match &path {
            Some(path) => Some(read(path)?),
            None => None,
        };
        let name = path.as_ref().map(|path| path.display().to_string());
        let input = Input {
            file: text.as_deref().zip(name.as_deref()),
            folder: path
                .as_deref()
                .and_then(Path::parent)
                .unwrap_or(Path::new("")),
            environment: &environment,
            flags,
        };
        let mut settings = input.settle()?;
        settings.files.splice(0..0, path);
        Ok(settings)
    }

    /// Reads settings from a text alone, without environment. Errors call it `name`; relative
    /// paths start at the current folder.
    ///
    /// # Errors
    ///
    /// All that is wrong, at once.
    pub fn parse(text: &str, name: &str) -> Result<Self, Errors> {
        Input {
            file: Some((text, name)),
            folder: Path::new(""),
            environment: &BTreeMap::new(),
            flags: &Overrides::new(),
        }
        .settle()
    }
}

/// The settings file: `path`, else `TWINPORT_CONFIG`, else `twinport.toml` here, else
/// `/etc/twinport/twinport.toml`; `None`: there is none.
pub fn locate(path: Option<&Path>, environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let named = || {
        let file = environment.get(FILE_VARIABLE)?;
        (!file.is_empty()).then(|| PathBuf::from(file))
    };
    let found = || {
        PLACES
            .iter()
            .map(PathBuf::from)
            .find(|place| place.exists())
    };
    path.map(Path::to_owned).or_else(named).or_else(found)
}

/// The environment of this process, as far as it is text.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn read(path: &Path) -> Result<String, Errors> {
    std::fs::read(path)
        .map_err(|error| error.to_string())
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned()))
        .map_err(|reason| {
            let place = Place::File {
                name: path.display().to_string(),
                position: None,
            };
            let problem = Problem::new(place, "", format!("can't read the settings: {reason}"));
            Errors::new(vec![problem.hint("name a readable TOML file")])
        })
}

/// All that settings are made of.
struct Input<'a> {
    file: Option<(&'a str, &'a str)>,
    folder: &'a Path,
    environment: &'a BTreeMap<String, String>,
    flags: &'a Overrides,
}

impl Input<'_> {
    fn settle(&self) -> Result<Settings, Errors> {
        let (mut source, mut problems) = match self.file {
            Some((text, name)) => Source::file(text, name),
            None => Default::default(),
        };
        // Half a file would only give problems that follow from the first ones.
        let whole = problems.is_empty();
        if whole {
            layer::environment(self.environment, &mut source, &mut problems);
            self.flags.apply(&mut source, &mut problems);
        }
        unknown::check(&source, &mut problems);
        let reader = Reader {
            source: &source,
            environment: self.environment,
            folder: self.folder,
            problems: RefCell::new(problems),
            files: RefCell::new(Vec::new()),
        };
        if !whole {
            return Err(sorted(reader.problems.into_inner()));
        }
        let mut settings = build::settings(&reader);
        judge::judge(&reader.root(), &settings);
        let problems = reader.problems.into_inner();
        if !problems.is_empty() {
            return Err(sorted(problems));
        }
        settings.files = reader.files.into_inner();
        Ok(settings)
    }
}

fn sorted(mut problems: Vec<Problem>) -> Errors {
    problems.sort_by_key(|problem| match problem.place() {
        Place::File { position, .. } => (0, *position),
        Place::Environment(_) => (1, None),
        Place::Flag(_) => (2, None),
        Place::Document { .. } | Place::Default => (3, None),
    });
    problems.dedup();
    Errors::new(problems)
}
