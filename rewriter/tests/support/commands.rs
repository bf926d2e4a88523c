//! Reading files of commands.
//!
//! A file holds cases, each begun by `# case: name`, followed by the command as extended JSON and, after a line
//! `# documents`, the documents of a section of kind 1, one on each line. `# index: { … }` before the command is
//! an index of the collection as `listIndexes` tells it.

use bson::{Document, RawDocumentBuf};

/// One case.
#[derive(Debug, Default, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) command: String,
    pub(crate) indexes: Vec<String>,
    pub(crate) documents: Option<Vec<String>>,
}

impl Case {
    pub(crate) fn body(&self) -> RawDocumentBuf {
        raw(&self.command)
    }

    /// The section of kind 1, if there is one.
    pub(crate) fn section(&self) -> Option<Vec<u8>> {
        let documents = self.documents.as_ref()?;
        Some(
            documents
                .iter()
                .flat_map(|text| raw(text).into_bytes())
                .collect(),
        )
    }
}

/// A document from extended JSON.
pub(crate) fn raw(text: &str) -> RawDocumentBuf {
    let document: Document =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    RawDocumentBuf::try_from(document).expect("keys have no zero byte")
}

/// All cases of a file.
pub(crate) fn read(file: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in file.lines().filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("# case: ") {
            cases.push(Case {
                name: name.to_owned(),
                ..Case::default()
            });
            continue;
        }
        let case = cases.last_mut().expect("a case begins with \"# case:\"");
        if let Some(index) = line.strip_prefix("# index: ") {
            case.indexes.push(index.to_owned());
        } else if line == "# documents" {
            case.documents = Some(Vec::new());
        } else if let Some(documents) = &mut case.documents {
            documents.push(line.to_owned());
        } else {
            case.command.push_str(line);
            case.command.push('\n');
        }
    }
    cases
}
