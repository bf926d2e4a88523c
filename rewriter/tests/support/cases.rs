//! Reading case files.
//!
//! A file holds cases, each begun by `# case: name`, followed by settings (`# path:`, `# version:`, `# strings:`,
//! `# params:`, `# json:`), the annotated statement and, for cases that succeed, sections for the run on a server:
//!
//! - `# expect`: a plain statement that gives the same rows;
//! - `# after` and `# state`: a query to run afterwards, and a plain statement that gives what it must find.

use twinport_rewriter::pg::JsonColumns;

/// One case.
#[derive(Debug, Default, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) statement: String,
    /// The search path, `public` if empty.
    pub(crate) path: Vec<String>,
    pub(crate) version: Option<u32>,
    pub(crate) legacy_strings: bool,
    /// How JSON comes out, if not as `json`.
    pub(crate) json: Option<JsonColumns>,
    /// Values for the parameters, as SQL.
    pub(crate) params: Option<String>,
    pub(crate) expect: Option<String>,
    pub(crate) after: Option<String>,
    pub(crate) state: Option<String>,
}

/// All cases of a file, or what is wrong with it.
pub(crate) fn read(file: &str) -> Result<Vec<Case>, String> {
    let mut cases: Vec<Case> = Vec::new();
    let mut section = "";
    for line in file.lines() {
        let Some(mark) = line.strip_prefix("# ") else {
            let Some(case) = cases.last_mut() else {
                continue;
            };
            let text = match section {
                "expect" => case.expect.get_or_insert_default(),
                "after" => case.after.get_or_insert_default(),
                "state" => case.state.get_or_insert_default(),
                _ => &mut case.statement,
            };
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(line);
            continue;
        };
        let (key, value) = mark.split_once(": ").unwrap_or((mark, ""));
        if key == "case" {
            cases.push(Case {
                name: value.to_owned(),
                ..Case::default()
            });
            section = "statement";
            continue;
        }
        let case = cases.last_mut().ok_or("a case begins with \"# case:\"")?;
        match key {
            "path" => case.path = value.split(", ").map(str::to_owned).collect(),
            "version" => {
                case.version = Some(value.parse().map_err(|_| format!("version {value}"))?);
            }
            "strings" => case.legacy_strings = value == "legacy",
            "json" => {
                case.json = match value {
                    "text" => Some(JsonColumns::Text),
                    "packed" => Some(JsonColumns::Packed),
                    other => return Err(format!("json {other}")),
                };
            }
            "params" => case.params = Some(value.to_owned()),
            "expect" | "after" | "state" => section = key,
            other => return Err(format!("unknown mark \"{other}\"")),
        }
    }
    for case in &mut cases {
        let trimmed = case.statement.trim_end_matches('\n').len();
        case.statement.truncate(trimmed);
        if case.path.is_empty() {
            case.path.push("public".to_owned());
        }
    }
    Ok(cases)
}
