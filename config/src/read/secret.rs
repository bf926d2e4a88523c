//! Secrets: inline, from the environment, or from a file.

use crate::error::Place;
use crate::read::Section;
use crate::secret::Secret;

impl Section<'_> {
    /// The secret that `name`, `name_env` or `name_file` gives, and the key that gave it.
    pub(crate) fn secret(&self, name: &str) -> Option<(Secret, String)> {
        let spellings = [
            name.to_owned(),
            format!("{name}_env"),
            format!("{name}_file"),
        ];
        let mut set = spellings.iter().filter(|spelling| self.has(spelling));
        let first = set.next()?;
        for other in set {
            self.refuse(
                other,
                format!("is set together with `{first}`"),
                "keep one of them",
            );
        }
        let text = if first.ends_with("_env") {
            self.variable(first)?
        } else if first.ends_with("_file") {
            self.content(first)?
        } else {
            self.text(first)?
        };
        Some((Secret::new(text), first.clone()))
    }

    /// Whether a key was set by environment or flag, which go before the file.
    pub(crate) fn overrides_file(&self, name: &str) -> bool {
        let place = self.item(name).map(|item| &item.place);
        matches!(place, Some(Place::Environment(_) | Place::Flag(_)))
    }

    fn variable(&self, name: &str) -> Option<String> {
        let variable = self.text(name)?;
        match self.reader.environment.get(&variable) {
            Some(value) if !value.is_empty() => {
                Some(value.trim_end_matches(['\r', '\n']).to_owned())
            }
            found => {
                // The name stays unsaid: some write the secret itself here.
                let state = if found.is_some() { "empty" } else { "not set" };
                self.refuse(
                    name,
                    format!("names an environment variable that is {state}"),
                    "set it before the server starts; the key takes a variable's name",
                );
                None
            }
        }
    }

    fn content(&self, name: &str) -> Option<String> {
        let path = self.path(name)?;
        self.reader.files.borrow_mut().push(path.clone());
        let shown = path.display();
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                // Editors and `echo` end a file with a newline that is no part of the secret.
                let text = text.trim_end_matches(['\r', '\n']).to_owned();
                if text.is_empty() {
                    self.refuse(
                        name,
                        format!("{shown} is empty"),
                        "write the secret into it",
                    );
                    return None;
                }
                Some(text)
            }
            Err(error) => {
                self.refuse(
                    name,
                    format!("can't read {shown}: {error}"),
                    "name a file that this user can read; relative paths start at the settings file",
                );
                None
            }
        }
    }
}
